"""Spatial weights on the edges that expression chose (Eq 1)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from lloki.errors import ConfigError


def spatial_bandwidth(coords: NDArray[np.floating], *, pairs: int = 100, seed: int) -> float:
    r"""Bandwidth σ of Eq 1: mean distance of randomly drawn pairs of distinct cells.

    Parameters
    ----------
    coords
        (n, 2) or (n, 3) centroids; the result has their unit.
    pairs
        How many pairs to draw, with replacement; the paper's 100 gives σ to about 5 %.
    seed
        Random seed.

    Returns
    -------
    sigma
        Positive. 1 where no distance exists (fewer than two cells, or all in one place): every weight is
        then 1, and neighbors in expression count alike.

    Raises
    ------
    ConfigError
        If ``pairs`` is below 1.
    """
    if pairs < 1:
        raise ConfigError(f"sigma needs at least one pair of cells, got pairs={pairs}")
    n = len(coords)
    if n < 2:
        return 1.0
    rng = np.random.default_rng(seed)
    first = rng.integers(n, size=pairs)
    second = (first + rng.integers(1, n, size=pairs)) % n  # never the same cell twice
    x = np.asarray(coords, np.float64)
    sigma = float(np.linalg.norm(x[first] - x[second], axis=1).mean())
    return sigma if sigma > 0 else 1.0


def spatial_graph(
    indices: NDArray[np.int32], coords: NDArray[np.floating], sigma: float
) -> sparse.csr_matrix:
    r"""Build the normalized cell graph of Eq 1 from neighbor lists.

    :math:`W_{ij} = \exp(-d_{ij}^2 / 2\sigma^2)` for each listed neighbor with :math:`d_{ij}` the distance in
    space; :math:`W \leftarrow (W + W^T)/2`; self-loops of weight 1; :math:`A = D^{-1/2} W D^{-1/2}`.

    Parameters
    ----------
    indices
        (n, k) neighbors of each cell, ``-1`` where there is none (see :func:`cosine_neighbors`).
    coords
        (n, 2) or (n, 3) centroids.
    sigma
        Bandwidth in the unit of ``coords``, above 0; infinity makes all neighbors count alike.

    Returns
    -------
    graph
        (n, n) symmetric CSR, float32, at most (2k + 1)·n entries. A cell without neighbors has its self-loop
        alone. Time and memory grow with n·k.

    Raises
    ------
    ConfigError
        If ``sigma`` is not above 0.
    """
    if not sigma > 0:
        raise ConfigError(f"sigma must be above 0, got {sigma}")
    n = len(indices)
    there = indices >= 0
    row = np.repeat(np.arange(n, dtype=np.int32), there.sum(1))
    col = indices[there]
    x = np.asarray(coords, np.float64)
    squared = ((x[row] - x[col]) ** 2).sum(1)
    w = sparse.csr_matrix((np.exp(squared / (-2.0 * sigma**2)), (row, col)), shape=(n, n))
    w = ((w + w.T) * 0.5 + sparse.identity(n, format="csr")).tocsr()
    w.eliminate_zeros()  # weights of very long edges underflow
    w.sort_indices()
    scale = 1.0 / np.sqrt(np.asarray(w.sum(axis=1)).ravel())
    w.data *= np.repeat(scale, np.diff(w.indptr)) * scale[w.indices]
    return w.astype(np.float32)
