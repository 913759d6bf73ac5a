"""Small slices with planted metagenes, in domains that have a place in space."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import linear_sum_assignment

from lloki.analysis import spatial_neighbors


@dataclass(frozen=True)
class Planted:
    metagenes: NDArray
    features: list[NDArray]
    states: list[NDArray]
    xy: list[NDArray]
    graphs: list[sparse.csr_matrix]


def planted(
    *, k: int = 4, n: int = 150, d: int = 20, slices: int = 2, noise: float = 0.2, seed: int = 0
) -> Planted:
    """Stripes of one metagene each, mixed with others by a little."""
    rng = np.random.default_rng(seed)
    metagenes = rng.dirichlet(np.full(d, 0.3), k).T
    features, states, places, graphs = [], [], [], []
    for _ in range(slices):
        xy = rng.random((n, 2)) * 100
        z = 0.8 * np.eye(k)[np.minimum((xy[:, 0] / 100 * k).astype(int), k - 1)]
        z += 0.2 * rng.dirichlet(np.ones(k), n)
        x = z * rng.gamma(10, 1, (n, 1))
        y = x @ metagenes.T
        features.append(np.maximum(y + noise * y.std() * rng.normal(size=y.shape), 0))
        states.append(x)
        places.append(xy)
        graphs.append(spatial_neighbors(xy))
    return Planted(metagenes, features, states, places, graphs)


def matched(truth: NDArray, found: NDArray) -> tuple[NDArray, NDArray]:
    """Cosine of each planted metagene with the one matched to it, and which that is."""
    cosine = (truth / np.linalg.norm(truth, axis=0)).T @ (found / np.linalg.norm(found, axis=0))
    rows, columns = linear_sum_assignment(-cosine)
    return cosine[rows, columns], columns
