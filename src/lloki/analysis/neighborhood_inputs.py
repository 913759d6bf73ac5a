"""Configuration and input of the neighborhood program."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from lloki._config import Config

Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class NeighborhoodConfig(Config):
    """Parameters of the neighborhood program; defaults are the paper's where it states them.

    Attributes
    ----------
    n_neighbors
        Number of nearest cells in space among which the neighbor type is counted.
    resolution
        Leiden resolution, for clusters of focal cells.
    graph_neighbors
        Number of neighbors in the graph of focal cells in the joint embedding that Leiden clusters.
    expressed, fold
        First stage: minimum share of focal cells that express a gene, and minimum log2 fold change over all
        other cells.
    spill_guard
        First stage: leave out genes that the neighbor type expresses more than the focal type. Its
        transcripts can be assigned to focal cells next to it, and then look like a program. The paper has no
        such rule.
    q
        Second stage: maximum false discovery rate of the difference between the two groups of focal cells,
        and of the correlation with the neighbor share.
    agreement
        Minimum share of the data sets, by weight, in which a gene must change in the same direction.
    permutations
        Number of times that positions are shuffled; p-values are at least 1 / (1 + permutations).
    alpha
        Maximum p-value of a neighborhood program.
    seed
        Random seed.
    """

    n_neighbors: int = 100
    resolution: float = 1.0
    graph_neighbors: int = 15
    expressed: float = 0.05
    fold: float = 0.3
    spill_guard: bool = True
    q: float = 0.05
    agreement: float = 1.0
    permutations: int = 200
    alpha: float = 0.05
    seed: int = 0

    def __post_init__(self) -> None:
        self._above_zero("n_neighbors", "graph_neighbors", "resolution", "permutations")
        self._share("expressed", "q", "agreement", "alpha")


class NeighborhoodOptions(TypedDict, total=False):
    """Fields of :class:`NeighborhoodConfig`, as keywords."""

    n_neighbors: int
    resolution: float
    graph_neighbors: int
    expressed: float
    fold: float
    spill_guard: bool
    q: float
    agreement: float
    permutations: int
    alpha: float
    seed: int


@dataclass(frozen=True, eq=False)
class Tissue:
    """One slice of n cells.

    Attributes
    ----------
    name, dataset
        Name of the slice, and of the data set that it belongs to.
    expression
        (n, g) log-normalized.
    genes
        (g,).
    xy
        (n, 2 or 3).
    embedding
        (n, d) in the joint space.
    focal, neighbor
        (n,) bool: cells of the focal and of the neighbor type.
    """

    name: str
    dataset: str
    expression: sparse.csr_matrix
    genes: tuple[str, ...]
    xy: Doubles
    embedding: NDArray[np.floating]
    focal: NDArray[np.bool_]
    neighbor: NDArray[np.bool_]
