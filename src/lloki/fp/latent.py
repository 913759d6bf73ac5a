r"""Propagation in the latent space: cells borrow from near cells of their kind.

A cell's embedding is blended with those of its nearest cells by expression, weighted by how near they lie in
the tissue:

.. math:: z_i \leftarrow (1 - α) z_i + α \frac{\sum_j w_{ij} z_j}{\sum_j w_{ij}}, \qquad
          w_{ij} = \exp\!\big(-d_{ij}^2 / 2 (b\,h)^2\big), \quad j \in N_k(i)

with :math:`N_k` the k nearest cells of the same slice by cosine, :math:`d_{ij}` their distance in space and h
the tissue's own spacing. Both kinds of nearness are needed: neighbors in space alone blur types that are
intermingled, neighbors in expression alone ignore the tissue.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.spatial import cKDTree

from lloki._parallel import blocks, single_threaded
from lloki.errors import ConfigError, InputError
from lloki.graph import cosine_neighbors, nearest

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

NEIGHBORS, BANDWIDTH = 100, 4.0  # the defaults, see `FPConfig`
BLOCK = 8_192  # cells whose neighbors are weighted at a time
SPACING_NEIGHBOR = 6  # cells of a sheet have about six around them
# Cells whose held-out genes are predicted to choose the share of neighbors, and the shares tried.
SAMPLE = 2_000
FOLDS = 5
ENOUGH = 0.3  # of the greatest gain
SHARES = np.round(np.arange(0.0, 0.95, 0.1), 1)


@dataclass(frozen=True)
class Propagation:
    """Parameters of the propagation of an embedding; see `FPConfig`.

    ``alpha`` is the share of the neighbors; ``None`` lets held-out genes choose it.
    """

    alpha: float | None
    n_neighbors: int
    bandwidth: float


def spacing(coords: NDArray[np.floating]) -> float:
    """Distance between neighboring cells: median over cells of the distance to the sixth nearest.

    0 where it does not exist: fewer than two cells, or most of them in one place.
    """
    n = len(coords)
    if n < 2:
        return 0.0
    near, _ = cKDTree(coords).query(coords, min(SPACING_NEIGHBOR, n - 1) + 1)
    return float(np.median(near[:, -1]))


def propagate_embedding(
    rows: Floats,
    coords: NDArray[np.floating],
    alpha: float,
    n_neighbors: int = NEIGHBORS,
    bandwidth: float = BANDWIDTH,
    *,
    known: NDArray[np.bool_] | None = None,
    cells: NDArray[np.integer] | None = None,
    threads: int | None = None,
) -> Floats:
    """Blend each cell of a slice with near cells of its kind.

    Parameters
    ----------
    rows
        (n, d) embedding of one slice.
    coords
        (n, 2) or (n, 3) centroids, in any unit.
    alpha
        Share of the neighbors, in [0, 1]; at 0 the result is ``rows``.
    n_neighbors, bandwidth
        k and b of the equation; b in units of `spacing`.
    known
        (n,) cells that have counts; the others keep their rows and give to nobody. Default: all.
    cells
        (m,) known cells whose rows are wanted, of n; their neighbors are sought among all. Default: all.
    threads
        Threads; the result does not depend on it.

    Returns
    -------
    (n, d) float32, or (m, d).

    Raises
    ------
    ConfigError
        If ``alpha`` is not a share.
    InputError
        If the coordinates do not fit the rows.

    Notes
    -----
    Time is that of the neighbor search, n²·d, or m·n·d; memory n·(k + d).
    """
    own = np.flatnonzero(known) if known is not None else np.arange(len(rows))
    if not 0 <= alpha <= 1:
        raise ConfigError(f"alpha must lie between 0 and 1, got {alpha}")
    if coords.ndim != 2 or len(coords) != len(rows):
        raise InputError(
            f"coordinates of shape {coords.shape} for {len(rows)} cells", hint="Pass (n, 2) or (n, 3)."
        )
    if alpha == 0 or len(own) < 2:
        return rows if cells is None else rows[cells]
    x, xy = rows[own], np.asarray(coords, np.float64)[own]
    if cells is not None:
        asked = np.searchsorted(own, cells)
        near = _nearest_of(asked, x, n_neighbors, threads)
        return _blend(x[asked], _mean(near, asked, xy, bandwidth * spacing(xy), x), near, alpha)
    near = cosine_neighbors(x, min(n_neighbors, len(own) - 1), threads=threads)
    mean = _mean(near, np.arange(len(own)), xy, bandwidth * spacing(xy), x)
    out = rows.copy()
    out[own] = _blend(x, mean, near, alpha)
    return out


def _nearest_of(
    asked: NDArray[np.integer], x: Floats, n_neighbors: int, threads: int | None
) -> NDArray[np.integer]:
    """Nearest cells of some of the cells (n, d) with a positive cosine, as `cosine_neighbors` gives them."""
    if np.array_equal(asked, np.arange(len(x))):  # every pair is compared once there, and twice below
        return cosine_neighbors(x, min(n_neighbors, len(x) - 1), threads=threads)
    found = nearest(x[asked], x, min(n_neighbors, len(x) - 1), exclude=asked, threads=threads)
    return np.where(found.distance < 1, found.index, -1)


def _blend(x: Floats, mean: Floats, near: NDArray[np.integer], alpha: float) -> Floats:
    """Rows and the means of their neighbors, where they have any."""
    lonely = (near < 0).all(axis=1, keepdims=True)
    return np.where(lonely, x, np.float32(1 - alpha) * x + np.float32(alpha) * mean)


def choose_alpha(
    folds: Iterable[tuple[Floats, Doubles, Floats]],
    coords: NDArray[np.floating],
    n_neighbors: int = NEIGHBORS,
    bandwidth: float = BANDWIDTH,
    *,
    known: NDArray[np.bool_] | None = None,
    seed: int = 0,
    threads: int | None = None,
) -> float:
    r"""Choose the share of neighbors by genes that the embedding has not seen.

    Cells are embedded without a fold of genes, blended, and the fold's genes predicted from that. The share
    with the highest mean squared correlation between predicted and measured genes would say most of a slice
    by itself, but also makes cells of a slice more alike, which slices then have to be freed from again: the
    smallest share with three tenths of the greatest gain is taken. Noisy cells ask for more of their
    neighbors; where neighbors say nothing, or differ, the choice is 0.

    Parameters
    ----------
    folds
        Of each fold, the embedding (n, d) without its h genes, loadings (h, d) that predict them, and their
        measured values (n, h).
    coords, n_neighbors, bandwidth, known, threads
        As of `propagate_embedding`.
    seed
        Draws at most 2,000 cells whose genes are predicted; their neighbors are sought among all.

    Notes
    -----
    Time grows with folds x min(n, 2,000) x n x d.
    """
    own = np.flatnonzero(known) if known is not None else np.arange(len(coords))
    if len(own) < 2:
        return 0.0
    xy = np.asarray(coords, np.float64)[own]
    width = bandwidth * spacing(xy)
    rng = np.random.default_rng(seed)
    asked = np.sort(rng.permutation(len(own))[:SAMPLE])
    score = np.zeros(len(SHARES))
    for rows, predict, values in folds:
        x = rows[own]
        mean = _mean(_nearest_of(asked, x, n_neighbors, threads), asked, xy, width, x)
        with single_threaded():
            alone, borrowed = x[asked] @ predict.T, mean @ predict.T
        score += _explained(alone, borrowed, values[own[asked]])
    gain = score - score[0]
    return float(SHARES[int((gain >= ENOUGH * gain.max()).argmax())])


def gene_folds(genes: Sequence[str], *, n_folds: int = FOLDS, seed: int = 0) -> list[list[str]]:
    """Part genes at random into folds of nearly equal size, whatever their order."""
    ordered = np.array(sorted(genes), dtype=object)
    shuffled = ordered[np.random.default_rng(seed).permutation(len(ordered))]
    return [list(shuffled[i::n_folds]) for i in range(min(n_folds, len(ordered)))]


def _explained(alone: Doubles, borrowed: Doubles, values: NDArray[np.floating]) -> Doubles:
    """Sum over genes of the squared correlation with the measured values, for each of `SHARES`."""
    a, b, x = (part - part.mean(0) for part in (alone, borrowed, values))
    xa, xb, aa, ab, bb, xx = ((p * q).mean(0) for p, q in ((x, a), (x, b), (a, a), (a, b), (b, b), (x, x)))
    out = np.zeros(len(SHARES))
    for i, share in enumerate(SHARES):
        cross = (1 - share) * xa + share * xb
        variance = (1 - share) ** 2 * aa + 2 * share * (1 - share) * ab + share**2 * bb
        out[i] = (np.sign(cross) * cross**2 / np.maximum(variance * xx, 1e-12)).sum()
    return out


def _mean(
    near: NDArray[np.integer], cells: NDArray[np.integer], coords: Doubles, width: float, x: Floats
) -> Floats:
    """(m, d) weighted mean of the rows of x (n, d) over the neighbors of ``cells`` (m,), some at a time."""
    mean = np.empty((len(cells), x.shape[1]), np.result_type(x, np.float32))
    for part in blocks(len(cells), BLOCK):
        mean[part] = _average(near[part], cells[part], coords, width) @ x
    return mean


def _average(
    near: NDArray[np.integer], cells: NDArray[np.integer], coords: Doubles, width: float
) -> sparse.csr_matrix:
    """(m, n) weights of the neighbors of ``cells`` (m,), of sum one; all equal where there is no width."""
    there = near >= 0
    flat = np.where(there, near, 0)
    distance = np.where(there, np.square(coords[flat] - coords[cells][:, None]).sum(2), np.inf)
    # relative to the nearest: far from all its kind, a cell still has neighbors
    least = np.where(there.any(1, keepdims=True), distance.min(1, keepdims=True), 0.0)
    near_enough = np.exp(-(distance - least) / (2 * width**2)) if width > 0 else 1.0
    weight = np.where(there, near_enough, 0.0)
    weight /= np.maximum(weight.sum(1, keepdims=True), 1e-300)
    start = np.arange(len(near) + 1) * near.shape[1]
    values = weight.astype(np.float32).ravel()
    return sparse.csr_matrix((values, flat.ravel(), start), shape=(len(near), len(coords)))
