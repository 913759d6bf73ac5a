"""What people look at first: a UMAP and clusters of the joint embedding; nothing is computed from them."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from lloki._parallel import blocks, single_threaded
from lloki.graph import cosine_neighbors, leiden, nearest, unit_rows

NEIGHBORS = 15
MOST = 200_000  # cells that are laid out and clustered themselves
ANCHORS = 50_000  # of these, among which the others find their neighbors
PIECE = 50_000


def view(
    embedding: NDArray[np.floating], *, layout: bool = True, resolution: float = 1.0, seed: int = 0
) -> tuple[NDArray[np.float32] | None, NDArray[np.int64]]:
    """UMAP coordinates and Leiden clusters from one neighbor graph.

    Of more than `MOST` cells, as many are drawn, laid out and clustered. Each other cell gets the cluster
    that most of its nearest cells among `ANCHORS` of these have, by their weights, and the mean position of
    those.

    Parameters
    ----------
    embedding
        (n, d) joint embedding.
    layout
        Whether UMAP coordinates are wanted.
    resolution
        Leiden resolution.
    seed
        Random seed.

    Returns
    -------
    umap, clusters
        (n, 2), or None, and (n,) numbered from the largest cluster, of those that were drawn.

    Notes
    -----
    The same seed gives the same result, whatever the number of threads: UMAP therefore runs on one. Time
    grows a little faster than n, about 20 s for 20,000 cells, up to `MOST` cells, then with n.
    """
    n = len(embedding)
    if n <= 3:  # nothing to lay out
        return np.zeros((n, 2), np.float32) if layout else None, np.zeros(n, np.int64)
    if n > MOST:
        return _drawn(embedding, layout=layout, resolution=resolution, seed=seed)
    near, distance = _neighbors(embedding, min(NEIGHBORS, n - 1))
    clusters = leiden(near, resolution=resolution, seed=seed)
    return _umap(embedding, near, distance, seed) if layout else None, clusters


def _drawn(
    x: NDArray[np.floating], *, layout: bool, resolution: float, seed: int
) -> tuple[NDArray[np.float32] | None, NDArray[np.int64]]:
    """View of a sample, in which all other cells are placed by their neighbors."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(x))
    drawn = np.sort(order[:MOST])
    umap, clusters = view(x[drawn], layout=layout, resolution=resolution, seed=seed)
    anchors = np.sort(rng.permutation(len(drawn))[:ANCHORS])
    known, kinds = x[drawn[anchors]], clusters[anchors]
    xy = None if umap is None else umap[anchors]
    all_clusters = np.empty(len(x), np.int64)
    all_clusters[drawn] = clusters
    all_xy = None if umap is None else np.empty((len(x), 2), np.float32)
    if umap is not None and all_xy is not None:
        all_xy[drawn] = umap
    others = np.sort(order[MOST:])
    for part in blocks(len(others), PIECE):
        rows = others[part]
        near = nearest(x[rows], known, min(NEIGHBORS, len(known)))
        weights = near.weights()
        one = np.eye(int(kinds.max()) + 1, dtype=np.float64)[kinds]
        all_clusters[rows] = np.argmax(weights @ one, axis=1)
        if all_xy is not None and xy is not None:
            all_xy[rows] = _mean_of_own(weights, kinds, all_clusters[rows], xy)
    return all_xy, all_clusters


def _mean_of_own(
    weights: sparse.csr_matrix, kinds: NDArray[np.int64], own: NDArray[np.int64], xy: NDArray[np.float32]
) -> NDArray[np.float32]:
    """(n, 2) mean position of the neighbors of each cell's own cluster: not between two islands."""
    w = weights.copy()
    w.data[kinds[w.indices] != np.repeat(own, np.diff(w.indptr))] = 0
    return np.asarray(w @ xy / w.sum(axis=1), np.float32)


def _neighbors(x: NDArray[np.floating], k: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Cosine neighbors, the cell itself first, as umap-learn wants them; a cell without any is its own."""
    near = cosine_neighbors(x, k, approximate_above=MOST).astype(np.int64)
    own = np.arange(len(x))[:, None]
    near = np.hstack([own, np.where(near < 0, own, near)])
    unit = unit_rows(np.asarray(x, np.float32))
    distance = np.empty(near.shape, np.float32)
    for column in range(near.shape[1]):
        distance[:, column] = 1 - np.einsum("nd,nd->n", unit, unit[near[:, column]])
    distance[near == own] = 0
    return near, np.maximum(distance, 0)


def _umap(
    x: NDArray[np.floating], near: NDArray[np.int64], distance: NDArray[np.float32], seed: int
) -> NDArray[np.float32]:
    with warnings.catch_warnings(), single_threaded():
        # umap-learn's remarks on its own precomputed neighbors, and on packages that it can do without
        warnings.simplefilter("ignore")
        from umap import UMAP

        model = UMAP(
            n_neighbors=near.shape[1],
            metric="cosine",
            min_dist=0.3,
            precomputed_knn=(near, distance, None),
            random_state=seed,
            n_jobs=1,
            # the spectral start fails on tiny graphs
            init="spectral" if len(x) > 100 else "random",
        )
        return np.asarray(model.fit_transform(x), np.float32)
