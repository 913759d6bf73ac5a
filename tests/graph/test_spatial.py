"""Spatial weights (Eq 1) against dense matrices."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lloki.errors import ConfigError
from lloki.graph import spatial_bandwidth, spatial_graph


def dense_graph(near: np.ndarray, coords: np.ndarray, sigma: float) -> np.ndarray:
    n = len(coords)
    w = np.zeros((n, n))
    for i in range(n):
        for j in near[i][near[i] >= 0]:
            w[i, j] = np.exp(-((coords[i] - coords[j]) ** 2).sum() / (2 * sigma**2))
    w = (w + w.T) / 2
    np.fill_diagonal(w, 1.0)
    degree = w.sum(1)
    return w / np.sqrt(degree[:, None] * degree)


def neighbors(n: int, k: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    near = np.array([rng.permutation(np.delete(np.arange(n), i))[:k] for i in range(n)], np.int32)
    near[rng.random((n, k)) < 0.2] = -1
    return near


@given(
    n=st.integers(2, 30),
    k=st.integers(1, 6),
    dims=st.sampled_from([2, 3]),
    sigma=st.floats(0.05, 50) | st.just(np.inf),
    seed=st.integers(0, 99),
)
@settings(max_examples=50, deadline=None)
def test_equals_the_dense_formula(n: int, k: int, dims: int, sigma: float, seed: int) -> None:
    near = neighbors(n, min(k, n - 1), seed)
    coords = np.random.default_rng(seed).normal(size=(n, dims))
    graph = spatial_graph(near, coords, sigma)
    np.testing.assert_allclose(graph.toarray(), dense_graph(near, coords, sigma), atol=2e-7)
    assert (graph != graph.T).nnz == 0
    assert graph.dtype == np.float32
    assert graph.has_canonical_format


def test_spectral_radius_is_one() -> None:
    near, coords = neighbors(200, 10, 0), np.random.default_rng(1).normal(size=(200, 2))
    values = np.linalg.eigvalsh(spatial_graph(near, coords, 0.7).toarray().astype(float))
    assert np.abs(values).max() == pytest.approx(1.0, abs=1e-5)


def test_cell_without_neighbors_keeps_its_self_loop_alone() -> None:
    near = np.array([[1], [0], [-1]], np.int32)
    np.testing.assert_allclose(spatial_graph(near, np.zeros((3, 2)), 1.0).toarray()[2], [0, 0, 1])


def test_far_edges_vanish_without_a_trace() -> None:
    near = np.array([[1], [0]], np.int32)
    graph = spatial_graph(near, np.array([[0.0, 0.0], [1e6, 0.0]]), 1.0)
    np.testing.assert_array_equal(graph.toarray(), np.eye(2))
    assert graph.nnz == 2


def test_bandwidth_is_the_mean_distance() -> None:
    coords = np.random.default_rng(0).random((3000, 2))
    assert spatial_bandwidth(coords, pairs=20_000, seed=1) == pytest.approx(0.5214, rel=0.02)  # unit square
    assert spatial_bandwidth(coords, seed=1) == spatial_bandwidth(coords, seed=1)
    assert spatial_bandwidth(coords, seed=1) != spatial_bandwidth(coords, seed=2)
    assert spatial_bandwidth(coords * 7, seed=1) == pytest.approx(7 * spatial_bandwidth(coords, seed=1))


def test_bandwidth_draws_distinct_cells() -> None:
    assert spatial_bandwidth(np.array([[0.0, 0.0], [3.0, 4.0]]), seed=0) == pytest.approx(5.0)


@pytest.mark.parametrize("coords", [np.zeros((0, 2)), np.zeros((1, 2)), np.ones((9, 2))])
def test_bandwidth_without_any_distance(coords: np.ndarray) -> None:
    assert spatial_bandwidth(coords, seed=0) == 1.0


def test_refuses_bad_parameters() -> None:
    with pytest.raises(ConfigError, match="sigma"):
        spatial_graph(np.array([[-1]], np.int32), np.zeros((1, 2)), 0.0)
    with pytest.raises(ConfigError, match="pairs"):
        spatial_bandwidth(np.zeros((3, 2)), pairs=0, seed=0)
