"""Leiden clusters of a neighbor graph."""

from __future__ import annotations

import random

import numpy as np
from numpy.typing import NDArray


def leiden(near: NDArray[np.integer], *, resolution: float = 1.0, seed: int = 0) -> NDArray[np.int64]:
    """Clusters of highest modularity, numbered from the largest.

    Parameters
    ----------
    near
        (n, k) neighbors of each cell; -1, and a cell itself, count as none. An edge that both ends list
        counts twice.
    resolution
        Higher finds more and smaller clusters.
    seed
        Random seed.

    Returns
    -------
    (n,) int64.
    """
    import igraph

    n, k = near.shape
    source, target = np.repeat(np.arange(n), k), near.ravel()
    linked = (source != target) & (target >= 0)
    source, target = source[linked], target[linked].astype(np.int64)
    # one number a pair: rows of two are sorted ten times as slowly
    pairs = np.minimum(source, target) * n + np.maximum(source, target)
    pairs, counts = np.unique(pairs, return_counts=True)
    graph = igraph.Graph(n=n, edges=np.stack(np.divmod(pairs, n), axis=1))
    igraph.set_random_number_generator(random.Random(seed))
    try:
        found = graph.community_leiden("modularity", weights=counts, resolution=resolution, n_iterations=4)
    finally:
        igraph.set_random_number_generator(random)
    labels = np.asarray(found.membership)
    sizes = np.bincount(labels)
    rank = np.empty(len(sizes), np.int64)
    rank[np.argsort(-sizes, kind="stable")] = np.arange(len(sizes))
    return rank[labels]
