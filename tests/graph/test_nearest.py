"""Neighbors between two sets of cells."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from lloki.errors import ConfigError
from lloki.graph import cosine_neighbors, mutual_nearest, nearest
from lloki.graph.knn import search


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 30), st.integers(2, 40), st.integers(1, 12), st.integers(0, 2**32 - 1))
def test_they_are_those_of_all_pairs(n, m, k, seed):
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(n, 5)).astype(np.float32), rng.normal(size=(m, 5)).astype(np.float32)
    near = nearest(a, b, k)
    unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a.astype(float), b.astype(float))]
    distance = np.sort(1 - unit[0] @ unit[1].T, axis=1)[:, : min(k, m)]
    np.testing.assert_allclose(near.distance, distance, atol=1e-6)
    assert all(len(set(row)) == len(row) for row in near.index)
    weights = near.weights()
    assert weights.shape == (n, m)
    np.testing.assert_allclose(weights[0].toarray()[0, near.index[0, -1]], np.exp(-0.5), rtol=1e-6)


def test_neither_blocks_nor_threads_matter(monkeypatch):
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(500, 6)), rng.normal(size=(300, 6))
    whole = nearest(a, b, 7, threads=1)
    for threads in (1, 3):
        for rounded in (0, 300):  # targets rounded for each block of queries, or once
            monkeypatch.setattr(search, "ROUNDED", rounded)
            again = nearest(a, b, 7, threads=threads, block=37)
            np.testing.assert_array_equal(whole.index, again.index)
            np.testing.assert_array_equal(whole.distance, again.distance)


@pytest.mark.parametrize("spare", [0, 5])
def test_with_few_candidates_the_neighbors_are_hardly_farther(spare):
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=(200, 30)), rng.normal(size=(3000, 30))
    exact, near = nearest(a, b, 15), nearest(a, b, 15, spare=spare)
    np.testing.assert_allclose(near.distance, exact.distance, atol=3e-4)
    assert (near.index != exact.index).mean() < 0.02 * (1 if spare else 5)


def test_a_cell_is_not_its_own_neighbor():
    x = np.random.default_rng(0).normal(size=(9, 3))
    near = nearest(x, x, 20, exclude=np.arange(9))
    assert near.index.shape == (9, 8)
    assert not (near.index == np.arange(9)[:, None]).any()


def test_nobody_to_find_is_an_error():
    x = np.ones((1, 3))
    with pytest.raises(ConfigError, match="neighbors"):
        nearest(x, x, 5, exclude=np.arange(1))
    with pytest.raises(ConfigError, match="neighbors"):
        nearest(x, x, 0)


def test_a_search_among_the_same_cells_is_the_search_within_them():
    x = np.random.default_rng(1).poisson(0.5, (400, 12)).astype(np.float32) + 0.25  # many equal cosines
    x[::7] = x[0]
    for rows in (x, sparse.csr_matrix(x)):
        near = nearest(rows, rows, 10, exclude=np.arange(400))
        np.testing.assert_array_equal(near.index, cosine_neighbors(rows, 10))


def test_of_equal_cosines_the_lower_index_comes_first_whatever_the_sign():
    targets = np.array([[-1, 0], [0, 3], [2, 0], [0, 1], [5, 0], [0, 0]], np.float32)
    near = nearest(np.array([[1, 0]], np.float32), targets, 6)
    np.testing.assert_array_equal(near.index, [[2, 4, 1, 3, 5, 0]])
    np.testing.assert_array_equal(near.distance, [[0, 0, 1, 1, 1, 2]])


def test_mutual_neighbors():
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=(60, 4)), rng.normal(size=(50, 4))
    i, j = mutual_nearest(a, b)
    unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b)]
    cosine = unit[0] @ unit[1].T
    pairs = {(r, c) for r, c in enumerate(cosine.argmax(1)) if cosine[:, c].argmax() == r}
    assert set(zip(i.tolist(), j.tolist())) == pairs
    np.testing.assert_array_equal(*mutual_nearest(a, a))
    empty, some = np.empty((0, 3), np.float32), np.ones((4, 3), np.float32)
    for one, other in ((empty, some), (some, empty), (empty, empty)):
        assert len(mutual_nearest(one, other)[0]) == 0
