"""The spatial neighbor graph of a slice."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse
from scipy.spatial import Delaunay, QhullError, cKDTree

from lloki.errors import ConfigError, InputError
from lloki.graph import in_plane


def spatial_neighbors(
    positions: ArrayLike, *, longest: float = 94.5, n_neighbors: int | None = None
) -> sparse.csr_matrix:
    """Connect neighboring cells.

    Parameters
    ----------
    positions
        (n, 2 or 3), in any unit. Three coordinates of a flat or thin section, along whichever axis, are
        taken in its plane (:func:`lloki.graph.in_plane`).
    longest
        Percentile of the lengths of all edges of the Delaunay triangulation; longer ones, which cross holes
        and follow the border, are dropped. SpiceMix uses 94.5.
    n_neighbors
        In place of the triangulation, connect each cell to this many nearest cells, symmetrically.

    Returns
    -------
    (n, n) symmetric CSR of ones, float32, no diagonal. Isolated cells have no neighbors. Where there
    are fewer than three cells, or all are on a line, the two nearest cells of each are connected.

    Raises
    ------
    InputError
        If positions are not finite.
    ConfigError
        If a parameter is out of its range.

    Notes
    -----
    Time grows with n log n, memory with n.
    """
    xy = np.asarray(positions, np.float64)
    if xy.ndim != 2 or not np.isfinite(xy).all():
        raise InputError("positions hold NaN, infinity or no coordinates", hint="Leave these cells out.")
    if not 0 < longest <= 100:
        raise ConfigError(f"longest must lie above 0 and be at most 100 percent, got {longest}")
    if n_neighbors is not None and n_neighbors < 1:
        raise ConfigError(f"n_neighbors must be at least 1, got {n_neighbors}")
    section = in_plane(xy)
    xy = xy if section is None else section[:, :2]
    n = len(xy)
    if n < 2:
        return sparse.csr_matrix((n, n), dtype=np.float32)
    pairs = _triangulated(xy, longest) if n_neighbors is None else _nearest(xy, n_neighbors)
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    ones = np.ones(len(pairs), np.float32)
    graph = sparse.csr_matrix((ones, (pairs[:, 0], pairs[:, 1])), shape=(n, n))
    graph = graph.maximum(graph.T).tocsr()
    graph.data[:] = 1.0  # pairs listed twice
    graph.sort_indices()
    return graph


def _triangulated(xy: np.ndarray, longest: float) -> np.ndarray:
    scaled = xy - xy.mean(0)  # qhull loses digits of coordinates far from 0
    try:
        mesh = Delaunay(scaled)
    except (QhullError, ValueError):  # too few cells, or all on a line
        return _nearest(xy, 2)
    corners = mesh.simplices
    count = corners.shape[1]
    pairs = np.concatenate([corners[:, [i, j]] for i in range(count) for j in range(i + 1, count)])
    # cells at the position of another are no corners: connect them to their nearest corner
    pairs = np.concatenate([pairs, mesh.coplanar[:, [0, 2]]]).astype(np.int64)
    pairs = np.unique(np.sort(pairs, axis=1), axis=0)
    length = np.linalg.norm(xy[pairs[:, 0]] - xy[pairs[:, 1]], axis=1)
    return pairs[length <= np.percentile(length, longest)]


def _nearest(xy: np.ndarray, n_neighbors: int) -> np.ndarray:
    n = len(xy)
    _, index = cKDTree(xy).query(xy, k=min(n_neighbors + 1, n))
    index = np.asarray(index).reshape(n, -1)
    return np.stack([np.repeat(np.arange(n), index.shape[1]), index.ravel()], axis=1)
