"""What people look at first: a UMAP and clusters of the joint embedding; nothing is computed from them."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

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
        sample = Sample.of(n, embedding.__getitem__, layout=layout, resolution=resolution, seed=seed)
        return sample.join(*sample.anchors.place(embedding))
    near, distance = _neighbors(embedding, min(NEIGHBORS, n - 1))
    clusters = leiden(near, resolution=resolution, seed=seed)
    return _umap(embedding, near, distance, seed) if layout else None, clusters


@dataclass(frozen=True)
class Anchors:
    """Cells of a view that place others.

    Attributes
    ----------
    rows
        (m, d) of the joint embedding.
    clusters
        (m,) their clusters.
    umap
        (m, 2), or None where no layout is wanted.
    """

    rows: NDArray[np.floating]
    clusters: NDArray[np.int64]
    umap: NDArray[np.float32] | None

    def place(self, x: NDArray[np.floating]) -> tuple[NDArray[np.float32] | None, NDArray[np.int64]]:
        """Position (n, 2) and cluster (n,) of cells (n, d): time grows with n x m, memory is bounded."""
        clusters = np.empty(len(x), np.int64)
        umap = None if self.umap is None else np.empty((len(x), 2), np.float32)
        kinds = np.eye(int(self.clusters.max()) + 1, dtype=np.float64)[self.clusters]
        for part in blocks(len(x), PIECE):
            weights = nearest(x[part], self.rows, min(NEIGHBORS, len(self.rows))).weights()
            clusters[part] = np.argmax(weights @ kinds, axis=1)
            if umap is not None and self.umap is not None:
                umap[part] = _mean_of_own(weights, self.clusters, clusters[part], self.umap)
        return umap, clusters


@dataclass(frozen=True)
class Sample:
    """View of `MOST` cells that were drawn: their sorted indices, positions and clusters, and the anchors."""

    drawn: NDArray[np.int64]
    umap: NDArray[np.float32] | None
    clusters: NDArray[np.int64]
    anchors: Anchors

    @classmethod
    def of(
        cls,
        n: int,
        take: Callable[[NDArray[np.int64]], NDArray[np.floating]],
        *,
        layout: bool,
        resolution: float,
        seed: int,
    ) -> Sample:
        """Draw from ``n`` cells; ``take`` gives the (k, d) rows of sorted indices (k,)."""
        rng = np.random.default_rng(seed)
        drawn = np.sort(rng.permutation(n)[:MOST])
        x = take(drawn)
        umap, clusters = view(x, layout=layout, resolution=resolution, seed=seed)
        chosen = np.sort(rng.permutation(len(drawn))[:ANCHORS])
        anchors = Anchors(x[chosen], clusters[chosen], None if umap is None else umap[chosen])
        return cls(drawn, umap, clusters, anchors)

    def join(
        self, umap: NDArray[np.float32] | None, clusters: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32] | None, NDArray[np.int64]]:
        """Put the drawn cells' own values among those (n, ...) that the anchors gave; in place."""
        clusters[self.drawn] = self.clusters
        if umap is not None and self.umap is not None:
            umap[self.drawn] = self.umap
        return umap, clusters


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
