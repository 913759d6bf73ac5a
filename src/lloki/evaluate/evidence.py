"""Evidence without labels or an embedding: whether genes, and places, go together as they should."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.spatial import cKDTree
from scipy.stats import rankdata

from lloki._parallel import single_threaded
from lloki.fp import root_shares

Doubles = NDArray[np.float64]

CELLS = 5_000  # of a slice, at most
LEAST_CELLS = 20  # that have counts of a gene: of fewer, its correlations are noise
LEAST_GENES = 8  # 28 pairs of genes: with fewer, no permutation test has any power
MOST_GENES = 300  # the most widely seen ones; time grows with their square
PERMUTATIONS = 100
SPATIAL_NEIGHBORS = 6  # a cell's direct neighbors in a tissue


@dataclass(frozen=True)
class GeneCorrelations:
    """How genes go together in one slice.

    Attributes
    ----------
    genes
        Names of the g genes with counts in at least 20 cells.
    cells
        (g,) in how many cells each has counts.
    all, halves
        (g, g) Pearson correlations over all cells, and over two random halves of them, of square roots of
        the genes' shares of a cell's counts.
    """

    genes: tuple[str, ...]
    cells: NDArray[np.int64]
    all: Doubles
    halves: tuple[Doubles, Doubles]


@dataclass(frozen=True)
class GeneStructure:
    """Whether genes go together alike in two slices.

    Attributes
    ----------
    genes
        Number of genes compared.
    correlation
        Spearman correlation of the two slices' gene–gene correlations.
    relative
        The same over the geometric mean of each slice's correlation with itself, between its halves: about 1
        for two slices of one tissue, however noisy.
    z
        Standard deviations above what permuted gene names give.
    """

    genes: int
    correlation: float
    relative: float
    z: float


def gene_correlations(
    counts: sparse.csr_matrix, genes: Sequence[str], *, n_cells: int = CELLS, seed: int = 0
) -> GeneCorrelations:
    """Correlate genes over the cells of a slice.

    Parameters
    ----------
    counts
        (n, g) raw counts.
    genes
        Their names.
    n_cells
        At most so many cells, drawn at random.
    seed
        Draws cells and halves.

    Notes
    -----
    Time grows with n_cells·g² and memory with n_cells·g + g².
    """
    rows = np.random.default_rng(seed).permutation(counts.shape[0])[:n_cells]
    x = root_shares(counts[rows])
    seen = (x > 0).sum(0)
    keep = np.flatnonzero(seen >= LEAST_CELLS)
    x = x[:, keep]
    with single_threaded():
        halves = (_correlations(x[::2]), _correlations(x[1::2]))
        return GeneCorrelations(tuple(genes[int(i)] for i in keep), seen[keep], _correlations(x), halves)


def gene_structure(
    one: GeneCorrelations, other: GeneCorrelations, *, n_permutations: int = PERMUTATIONS, seed: int = 0
) -> GeneStructure | None:
    """Compare how genes go together in two slices, by the genes that both have.

    Genes that mark one type rise and fall together in every slice that holds it, whatever the instrument.
    Of two tissues, or where names of genes are wrong, they do not; where composition differs, in part.

    Parameters
    ----------
    one, other
        Of `gene_correlations`.
    n_permutations
        Permutations of the names of the genes.
    seed
        Draws them.

    Returns
    -------
    ``None`` with fewer than 8 common genes.

    Notes
    -----
    At most 300 genes, those with counts in most cells; time grows with their square times n_permutations.
    """
    places = ({gene: i for i, gene in enumerate(part.genes)} for part in (one, other))
    mine, theirs = places
    common = sorted(set(mine) & set(theirs))
    if len(common) < LEAST_GENES:
        return None
    i, j = (np.array([place[gene] for gene in common]) for place in (mine, theirs))
    if len(common) > MOST_GENES:
        widely = np.minimum(one.cells[i] / one.cells.max(), other.cells[j] / other.cells.max())
        kept = np.sort(np.argsort(-widely, kind="stable")[:MOST_GENES])
        i, j = i[kept], j[kept]
    a, b = one.all[np.ix_(i, i)], other.all[np.ix_(j, j)]
    upper = np.triu_indices(len(i), 1)
    ranks = _ranks(a, upper)
    table = np.zeros_like(b)
    table[upper] = _ranks(b, upper)
    table += table.T
    found = float(np.mean(ranks * table[upper]))
    rng = np.random.default_rng(seed)
    chance = np.empty(n_permutations)
    for k in range(n_permutations):
        order = rng.permutation(len(i))
        chance[k] = np.mean(ranks * table[np.ix_(order, order)][upper])
    itself = [
        float(np.mean(_ranks(h[0][np.ix_(r, r)], upper) * _ranks(h[1][np.ix_(r, r)], upper)))
        for h, r in ((one.halves, i), (other.halves, j))
    ]
    ceiling = math.sqrt(max(itself[0], 0.0) * max(itself[1], 0.0))
    spread = float(chance.std())
    return GeneStructure(
        genes=len(i),
        correlation=found,
        relative=found / ceiling if ceiling > 0.05 else float("nan"),
        z=(found - float(chance.mean())) / spread if spread > 1e-12 else 0.0,
    )


def spatial_coherence(
    counts: sparse.csr_matrix,
    spatial: NDArray[np.floating],
    *,
    n_cells: int = CELLS,
    seed: int = 0,
) -> float:
    """Measure whether neighbors in the tissue are alike: standard deviations above shuffled places.

    The mean over genes and cells of the product of a cell's expression and its 6 neighbors' (Moran's I),
    against the same with the neighbors of other cells. Tens in a tissue; near 0 if coordinates belong to
    other cells.

    Parameters
    ----------
    counts
        (n, g) raw counts.
    spatial
        (n, 2) coordinates.
    n_cells
        Cells whose neighbors are looked at, drawn at random.
    seed
        Draws them.

    Returns
    -------
    float
        NaN with fewer than 50 cells.

    Notes
    -----
    Time grows with n log n and with n_cells·g²; memory with n_cells·g.
    """
    n = counts.shape[0]
    if n < 50:
        return float("nan")
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.permutation(n)[:n_cells])
    near = cKDTree(spatial).query(spatial[rows], SPATIAL_NEIGHBORS + 1)[1]
    # a cell that shares its place with others may come second: leave out the cell, not the first column
    own = near == rows[:, None]
    own[~own.any(1), -1] = True
    near = near[~own].reshape(len(rows), SPATIAL_NEIGHBORS)
    x = root_shares(counts[rows])
    mean, sd = x.mean(0), x.std(0)
    keep = sd > 1e-9
    if not keep.any():
        return 0.0

    def standard(values: Doubles) -> Doubles:
        out: Doubles = (values[:, keep] - mean[keep]) / sd[keep]
        return out

    u, v = standard(x), np.zeros((len(rows), int(keep.sum())))
    for k in range(SPATIAL_NEIGHBORS):
        v += standard(root_shares(counts[near[:, k]])) / SPATIAL_NEIGHBORS
    # Mean and variance over all permutations of cells: with U, V centered, the latter is
    # tr(UᵀU VᵀV) / (n² g² (n - 1)), as of any sum over matched rows.
    found, chance = float(np.mean(u * v)), float(np.mean(u.mean(0) * v.mean(0)))
    u, v = u - u.mean(0), v - v.mean(0)
    with single_threaded():
        variance = float(np.sum((u.T @ u) * (v.T @ v))) / (float(u.size) ** 2 * (len(u) - 1))
    return (found - chance) / math.sqrt(variance) if variance > 1e-24 else 0.0


def _correlations(x: Doubles) -> Doubles:
    x = x - x.mean(0)
    norm = np.linalg.norm(x, axis=0)
    x = x / np.where(norm > 1e-12, norm, np.inf)
    out: Doubles = x.T @ x
    return out


def _ranks(correlations: Doubles, upper: tuple[NDArray[np.intp], NDArray[np.intp]]) -> Doubles:
    """Ranks of the pairs of genes, with mean 0 and variance 1."""
    ranks = rankdata(correlations[upper])
    sd = ranks.std()
    out: Doubles = (ranks - ranks.mean()) / (sd if sd > 0 else 1.0)
    return out
