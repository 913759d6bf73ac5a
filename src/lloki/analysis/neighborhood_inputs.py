"""What an analysis of neighborhoods is told: settings, and slices."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from lloki._config import Config

Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class NeighborhoodConfig(Config):
    """Settings of :func:`neighborhood_program`; the paper's where it states them.

    Parameters
    ----------
    k
        Nearest cells in space among which the neighbor type is counted.
    resolution, graph_neighbors
        Of the Leiden clusters of focal cells, and of the graph in the joint embedding.
    expressed, fold
        First stage: least share of focal cells with a gene, and least log2 fold over all other cells.
    spill_guard
        First stage: leave out genes that the neighbor type expresses more than the focal type. Where its
        transcripts are assigned to focal cells beside it, they look like a program. The paper has no such
        rule.
    q
        Second stage: highest false discovery rate, of the difference between the two kinds of focal cells and
        of the correlation with the neighbor share.
    agreement
        Least share of the data sets, by weight, in which a gene must go the same way.
    permutations
        How often positions are shuffled; p-values are at least 1 / (1 + permutations).
    alpha
        Highest p-value at which a program counts as found.
    seed
        Of clusters, control genes and permutations.
    """

    k: int = 100
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
        self._above_zero("k", "graph_neighbors", "resolution", "permutations")
        self._share("expressed", "q", "agreement", "alpha")


@dataclass(frozen=True, eq=False)
class Tissue:
    """One slice of n cells.

    Attributes
    ----------
    name, dataset
        Of the slice, and of the data set that it belongs to.
    expression
        (n, g) log-normalized.
    genes
        (g,).
    xy
        (n, 2 or 3).
    embedding
        (n, d) in the joint space.
    focal, neighbor
        (n,) bool: cells of either type.
    """

    name: str
    dataset: str
    expression: sparse.csr_matrix
    genes: tuple[str, ...]
    xy: Doubles
    embedding: NDArray[np.floating]
    focal: NDArray[np.bool_]
    neighbor: NDArray[np.bool_]
