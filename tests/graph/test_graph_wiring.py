"""Bandwidth, weights and clusters against their definitions, on cells that show each part of them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from lloki.graph import cosine_neighbors, leiden, spatial_bandwidth, spatial_graph


def test_the_bandwidth_is_the_mean_of_the_pairs_drawn() -> None:
    # a third of the pairs of distinct cells are 0 apart, the others 5: mean and median differ
    coords = np.array([[0.0, 0.0], [0.0, 0.0], [3.0, 4.0]])
    assert spatial_bandwidth(coords, pairs=30_000, seed=0) == pytest.approx(10 / 3, rel=0.02)
    single = {spatial_bandwidth(coords, pairs=1, seed=seed) for seed in range(20)}
    assert single == {1.0, 5.0}  # 1 stands for no distance
    # by default a hundred: fewer would scatter more
    scatter = np.std([spatial_bandwidth(coords, seed=seed) for seed in range(200)])
    assert scatter == pytest.approx(5 * np.sqrt(2 / 9 / 100), rel=0.2)


def test_the_bandwidth_counts_every_dimension() -> None:
    coords = np.array([[0.0, 0.0, 0.0], [2.0, 3.0, 6.0]])
    assert spatial_bandwidth(coords, seed=0) == pytest.approx(7.0)


def test_one_edge_by_hand() -> None:
    """A lists B, B lists nobody: half of the weight, then each row over the root of its sum."""
    graph = spatial_graph(np.array([[1], [-1]], np.int32), np.array([[0.0, 0.0], [0.0, 3.0]]), 1.5)
    w = np.exp(-9 / (2 * 1.5**2)) / 2
    np.testing.assert_allclose(graph.toarray(), np.array([[1, w], [w, 1]]) / (1 + w), rtol=1e-6)


def test_neighbors_are_of_the_direction_and_not_of_the_size() -> None:
    x = np.array([[1, 0, 0], [9, 1, 0], [1, 1, 0], [0, 0, 1], [-1, 0, 0]], np.float64)
    near = cosine_neighbors(x, 3)
    assert near.tolist() == [[1, 2, -1], [0, 2, -1], [1, 0, -1], [-1, -1, -1], [-1, -1, -1]]
    np.testing.assert_array_equal(cosine_neighbors(sparse.csr_matrix(x), 3), near)


def clique(cells: range) -> np.ndarray:
    return np.array([[j for j in cells if j != i][:4] + [-1] * (4 - len(cells) + 1) for i in cells])


def test_clusters_are_numbered_from_the_largest() -> None:
    near = np.concatenate([clique(range(0, 3)), clique(range(3, 8)), clique(range(8, 12))])
    assert leiden(near, seed=3).tolist() == [2] * 3 + [0] * 5 + [1] * 4


def test_an_edge_that_both_ends_list_counts_twice() -> None:
    """A ring of six: the edges that are mutual hold the pairs together."""
    near = np.array([[1, -1], [0, 2], [3, -1], [2, 4], [5, -1], [4, 0]])
    found = leiden(near, resolution=1.0)
    assert [len(set(found[pair])) for pair in ([0, 1], [2, 3], [4, 5])] == [1, 1, 1]
    assert len(set(found.tolist())) == 3
    shifted = np.array([[5, 1], [2, -1], [1, 3], [4, -1], [3, 5], [0, -1]])
    found = leiden(shifted, resolution=1.0)
    assert [len(set(found[pair])) for pair in ([1, 2], [3, 4], [5, 0])] == [1, 1, 1]


def test_a_higher_resolution_finds_more_clusters() -> None:
    near = np.concatenate([clique(range(0, 5)), clique(range(5, 10)), clique(range(10, 15))])
    near[0, 3], near[5, 3], near[10, 3] = 5, 10, 0
    sizes = [len(set(leiden(near, resolution=r).tolist())) for r in (0.05, 1.0, 20.0)]
    assert sizes == [1, 3, 15]


def test_the_seed_decides_among_equal_clusterings() -> None:
    near = np.stack([(np.arange(60) + 1) % 60, (np.arange(60) - 1) % 60], axis=1)  # a ring, cut anywhere
    first = leiden(near, seed=0)
    np.testing.assert_array_equal(first, leiden(near, seed=0))
    assert any((leiden(near, seed=seed) != first).any() for seed in range(1, 6))
