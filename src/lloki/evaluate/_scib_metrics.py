"""scib-metrics, called: one method a metric, with what it needs of the package kept in order."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray

from lloki._parallel import single_threaded
from lloki.errors import MissingExtraError
from lloki.evaluate.sampling import stratified

NEIGHBORS = 90  # of the LISI scores, as in scib-metrics; the others take fewer of the same
# kBET diffuses over the graph of every type and has been seen to ask for terabytes at 220,000 cells. Above
# this number it is computed from a sample.
KBET_CELLS = 20_000
_CHUNK = 2_048  # rows of distances at a time in the batch silhouettes, where each further chunk is compiled


@dataclass(frozen=True)
class Cells:
    """Labeled cells, and the metrics of them: a method each, named as in `lloki.evaluate.METRICS`."""

    x: NDArray[np.float32]  # (n, d)
    labels: NDArray[np.str_]
    batches: NDArray[np.str_]
    pre: NDArray[np.float32] | None
    seed: int

    @cached_property
    def near(self) -> Any:
        return _neighbors(self.x, NEIGHBORS)

    @cached_property
    def kmeans(self) -> dict[str, float]:
        found: dict[str, float] = package().nmi_ari_cluster_labels_kmeans(self.x, self.labels)
        return found

    def isolated_labels(self) -> float:
        return float(package().isolated_labels(self.x, self.labels, self.batches))

    def kmeans_nmi(self) -> float:
        return float(self.kmeans["nmi"])

    def kmeans_ari(self) -> float:
        return float(self.kmeans["ari"])

    def silhouette_label(self) -> float:
        return float(package().silhouette_label(self.x, self.labels))

    def clisi(self) -> float:
        return float(package().clisi_knn(self.near, self.labels))

    def silhouette_batch(self) -> float:
        return float(package().silhouette_batch(self.x, self.labels, self.batches, chunk_size=_CHUNK))

    def bras(self) -> float:
        return float(package().bras(self.x, self.labels, self.batches, chunk_size=_CHUNK))

    def ilisi(self) -> float:
        return float(package().ilisi_knn(self.near, self.batches))

    def kbet(self) -> float:
        rows = self.kbet_rows
        near = _first(self.near, 50) if len(rows) == len(self.x) else _neighbors(self.x[rows], 50)
        with _same_start(self.seed):
            return float(package().kbet_per_label(near, self.batches[rows], self.labels[rows]))

    def graph_connectivity(self) -> float:
        return float(package().graph_connectivity(_first(self.near, 15), self.labels))

    def pcr(self) -> float:
        return float(package().pcr_comparison(self.pre, self.x, self.batches, categorical=True))

    @cached_property
    def kbet_rows(self) -> NDArray[np.int64]:
        """Cells that kBET is computed from: all, unless these are too many."""
        if len(self.x) <= KBET_CELLS:
            return np.arange(len(self.x))
        return stratified(self.batches, KBET_CELLS, seed=self.seed)


def package() -> Any:
    """Import scib-metrics; its jax computes on the CPU unless the environment says otherwise.

    Raises
    ------
    MissingExtraError
        If it is not installed.
    """
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    try:
        import scib_metrics
    except ImportError as error:
        raise MissingExtraError("scib-metrics", "benchmark", "Scoring an integration") from error
    return scib_metrics


@contextmanager
def quiet() -> Iterator[None]:
    """Keep what scib-metrics says of labels that it skips, and its loggers, to itself."""
    package()
    logger, root, nothing = logging.getLogger("scib_metrics"), logging.getLogger(), logging.NullHandler()
    level = logger.level
    logger.setLevel(logging.ERROR)
    # it calls logging.info, which would give a root logger without handlers one, for good
    root.addHandler(nothing)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        root.removeHandler(nothing)
        logger.setLevel(level)


@contextmanager
def _same_start(seed: int) -> Iterator[None]:
    """Give the eigensolver inside kBET a start vector.

    Left to itself it takes another one at every call, and so much hangs on the rounding of the largest
    eigenvalue that the same cells get another score each time (0.61 and 0.65 were seen).
    """
    from scipy.sparse import linalg

    def eigsh(matrix: Any, *args: Any, **rest: Any) -> Any:
        start = np.random.default_rng(seed).standard_normal(matrix.shape[0])
        return solve(matrix, *args, **(rest | {"v0": start}))

    solve = linalg.eigsh
    with patch.object(linalg, "eigsh", eigsh), single_threaded():
        yield


def _neighbors(x: NDArray[np.float32], k: int) -> Any:
    """Exact Euclidean neighbors, the cell itself first, as scib-metrics takes them."""
    from scib_metrics.nearest_neighbors import NeighborsResults
    from sklearn.neighbors import NearestNeighbors

    with single_threaded():  # so that the number of threads does not decide between equal distances
        search = NearestNeighbors(n_neighbors=min(k, len(x)), algorithm="brute").fit(x)
        distances, indices = search.kneighbors(x)
    return NeighborsResults(indices=indices.astype(np.int32), distances=distances.astype(np.float32))


def _first(near: Any, k: int) -> Any:
    return near.subset_neighbors(min(k, near.n_neighbors))
