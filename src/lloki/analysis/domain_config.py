"""Parameters of spatial domains, and their result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypedDict

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lloki._config import Config
from lloki.errors import ConfigError

METHODS = ("mixture", "leiden")


@dataclass(frozen=True, kw_only=True)
class DomainConfig(Config):
    """Parameters of spatial domains.

    Attributes
    ----------
    method
        ``"mixture"`` of Gaussians, or ``"leiden"`` on the neighbor graph of all cells.
    n_domains
        Number of domains; None chooses among ``candidates`` by stability. Leiden comes as close as its
        resolution allows.
    candidates
        Numbers of domains to choose from.
    scales
        Neighborhood sizes, in steps over the spatial graph, over which the embedding is averaged: 0 is the
        cell alone, 1 adds its neighbors, each further step theirs.
    n_components
        Number of principal components of these means, over all slices.
    repeats
        Number of fits, with different seeds and halves of the cells, from which stability is computed.
    leiden_neighbors
        Number of neighbors of a cell in the graph that Leiden clusters.
    sample
        Maximum number of cells to fit; others are assigned the most likely, or nearest, domain.
    seed
        Random seed.
    """

    method: Literal["mixture", "leiden"] = "mixture"
    n_domains: int | None = None
    candidates: tuple[int, ...] = tuple(range(4, 13))
    scales: tuple[int, ...] = (1, 3, 8)
    n_components: int = 15
    repeats: int = 4
    leiden_neighbors: int = 15
    sample: int = 20_000
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "candidates", tuple(int(c) for c in self.candidates))
        object.__setattr__(self, "scales", tuple(sorted({int(s) for s in self.scales})))
        if self.method not in METHODS:
            raise ConfigError(f"method must be one of {', '.join(METHODS)}, got {self.method!r}")
        if self.n_domains is None and (not self.candidates or min(self.candidates) < 2):
            raise ConfigError(f"candidates must be at least 2, got {self.candidates}")
        if not self.scales or self.scales[0] < 0:
            raise ConfigError(f"scales must be non-negative numbers of steps, got {self.scales}")
        self._at_least(n_domains=2, n_components=1, repeats=2, leiden_neighbors=2, sample=10, seed=0)


class DomainOptions(TypedDict, total=False):
    """Fields of :class:`DomainConfig`, as keywords."""

    method: Literal["mixture", "leiden"]
    n_domains: int | None
    candidates: tuple[int, ...]
    scales: tuple[int, ...]
    n_components: int
    repeats: int
    leiden_neighbors: int
    sample: int
    seed: int


@dataclass(frozen=True, eq=False)
class Domains:
    """Domains of cells.

    Attributes
    ----------
    labels
        Per slice, (n_i,) integers from 0; 0 is the largest domain.
    confidence
        Per slice, (n_i,) in [0, 1]: posterior probability, or share of nearest cells that agree.
    stability
        For each number of domains tried, the mean adjusted Rand index of repeated fits; None if
        ``n_domains`` was given.
    config
        Parameters.
    """

    labels: tuple[NDArray[np.int64], ...]
    confidence: tuple[NDArray[np.float64], ...]
    stability: pd.Series | None
    config: DomainConfig
