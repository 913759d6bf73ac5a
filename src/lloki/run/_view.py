"""What people look at first: a UMAP and clusters of the joint embedding; nothing is computed from them."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

from lloki._parallel import single_threaded
from lloki.graph import cosine_neighbors, leiden, unit_rows

NEIGHBORS = 15


def view(
    embedding: NDArray[np.floating], *, resolution: float = 1.0, seed: int = 0
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """UMAP coordinates and Leiden clusters from one neighbor graph.

    Parameters
    ----------
    embedding
        (n, d) joint embedding.
    resolution
        Leiden resolution.
    seed
        Random seed.

    Returns
    -------
    umap, clusters
        (n, 2), and (n,) numbered from the largest cluster.

    Notes
    -----
    The same seed gives the same result, whatever the number of threads: UMAP therefore runs on one. Time
    grows a little faster than n, about 20 s for 20,000 cells.
    """
    n = len(embedding)
    if n <= 3:  # nothing to lay out
        return np.zeros((n, 2), np.float32), np.zeros(n, np.int64)
    near, distance = _neighbors(embedding, min(NEIGHBORS, n - 1))
    return _umap(embedding, near, distance, seed), leiden(near, resolution=resolution, seed=seed)


def _neighbors(x: NDArray[np.floating], k: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Cosine neighbors, the cell itself first, as umap-learn wants them; a cell without any is its own."""
    near = cosine_neighbors(x, k).astype(np.int64)
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
