"""Parameters of spatial domains, and what a search returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

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
    number
        How many; None chooses among ``candidates`` by stability. Leiden comes as near as its resolution lets
        it.
    candidates
        Numbers to choose from.
    scales
        Steps over the spatial graph whose means are taken: 0 is the cell alone, 1 its neighbors, each
        further step theirs.
    components
        Principal components of the means, over all slices.
    repeats
        Fits with other seeds and halves of the cells from which stability is told.
    neighbors
        Of a cell in the graph that Leiden cuts.
    sample
        Most cells that a fit sees; others are given the domain that is likeliest, or nearest, for them.
    seed
        Of everything random.
    """

    method: Literal["mixture", "leiden"] = "mixture"
    number: int | None = None
    candidates: tuple[int, ...] = tuple(range(4, 13))
    scales: tuple[int, ...] = (1, 3, 8)
    components: int = 15
    repeats: int = 4
    neighbors: int = 15
    sample: int = 20_000
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "candidates", tuple(int(c) for c in self.candidates))
        object.__setattr__(self, "scales", tuple(sorted({int(s) for s in self.scales})))
        if self.method not in METHODS:
            raise ConfigError(f"no method {self.method!r} of domains. Choose one of: {', '.join(METHODS)}")
        if self.number is None and (not self.candidates or min(self.candidates) < 2):
            raise ConfigError(f"candidates must be numbers of 2 or more, got {self.candidates}")
        if not self.scales or self.scales[0] < 0:
            raise ConfigError(f"scales must be numbers of steps of 0 or more, got {self.scales}")
        self._at_least(number=2, components=1, repeats=2, neighbors=2, sample=10, seed=0)


@dataclass(frozen=True, eq=False)
class Domains:
    """Domains of cells.

    Attributes
    ----------
    labels
        Of each slice, (n_i,) numbers from 0; 0 is the largest domain.
    confidence
        Of each slice, (n_i,) in [0, 1]: posterior probability, or share of nearest cells that agree.
    stability
        For each number that was tried, the mean adjusted Rand index of repeated fits; None if the number was
        given.
    config
        Parameters.
    """

    labels: tuple[NDArray[np.int64], ...]
    confidence: tuple[NDArray[np.float64], ...]
    stability: pd.Series | None
    config: DomainConfig
