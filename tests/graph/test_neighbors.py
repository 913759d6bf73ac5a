"""Exact neighbors against a plain dense search, and what must not change them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import sparse

from lloki.errors import ConfigError, InputError
from lloki.graph import cosine_neighbors
from lloki.graph.knn import _index


def dense_neighbors(x: np.ndarray, k: int) -> np.ndarray:
    """All pairs in float64; ties (to 2^-40) by index; a neighbor shares a gene."""
    x = np.asarray(x, np.float64)
    norm = np.linalg.norm(x, axis=1)
    cosine = (x @ x.T) / np.where(norm, norm, 1)[:, None] / np.where(norm, norm, 1)
    rounded = np.rint(cosine * 2.0**40)
    np.fill_diagonal(rounded, 0)
    order = np.argsort(-rounded, axis=1, kind="stable")[:, :k]
    order = np.where(np.take_along_axis(rounded, order, 1) > 0, order, -1)
    return np.pad(order, ((0, 0), (0, k - order.shape[1])), constant_values=-1)


def counts(n: int, g: int, seed: int, rate: float = 0.4) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.poisson(rng.gamma(0.5, rate, (5, g))[rng.integers(5, size=n)]).astype(np.float32)


@pytest.mark.parametrize(("n", "g", "rate"), [(1500, 60, 0.4), (400, 300, 2.0), (700, 12, 0.3)])
def test_equals_the_dense_search(n: int, g: int, rate: float) -> None:
    x = np.log1p(counts(n, g, 1, rate))
    np.testing.assert_array_equal(cosine_neighbors(sparse.csr_matrix(x), 20), dense_neighbors(x, 20))


@given(
    x=arrays(
        np.float32,
        st.tuples(st.integers(1, 40), st.integers(1, 12)),
        elements=st.sampled_from([0, 0, 1, 2, 3]),
    ),
    k=st.integers(1, 45),
    block=st.integers(1, 50),
)
@settings(max_examples=60, deadline=None)
def test_small_integers_with_many_ties(x: np.ndarray, k: int, block: int) -> None:
    # More candidates than cells: nothing but the exact ranking decides.
    expected = dense_neighbors(x, k)
    for rows_of in (x, sparse.csr_matrix(x)):
        found = cosine_neighbors(rows_of, k, block=block)
        rows, places = np.nonzero(found != expected)
        # One cosine may be rounded to either side of a multiple of 2^-40, by the last bit of its sum.
        assert all(
            _between(x, i, found[i, j]) and _between(x, i, expected[i, j]) for i, j in zip(rows, places)
        )


def _between(x: np.ndarray, i: int, j: int) -> bool:
    """Whether a cosine lies midway between two multiples of 2^-40."""
    if j < 0:
        return False
    scaled = float(x[i] @ x[j] / np.linalg.norm(x[i]) / np.linalg.norm(x[j])) * 2.0**40
    return abs(scaled - np.floor(scaled) - 0.5) < 0.01


@pytest.mark.parametrize(("threads", "block"), [(1, 1024), (2, 1024), (3, 100), (2, 37)])
def test_threads_and_blocks_change_nothing(threads: int, block: int) -> None:
    x = counts(1300, 40, 2, 0.2)  # sparse: many exact ties and duplicates
    expected = cosine_neighbors(x, 15, threads=1, block=2000)
    np.testing.assert_array_equal(cosine_neighbors(x, 15, threads=threads, block=block), expected)


def test_all_cells_alike_take_the_lowest_indices() -> None:
    near = cosine_neighbors(np.ones((300, 7)) * np.arange(1, 301)[:, None], 5)
    np.testing.assert_array_equal(near[10], [0, 1, 2, 3, 4])
    np.testing.assert_array_equal(near[0], [1, 2, 3, 4, 5])


def test_cells_without_counts_have_no_neighbors_and_are_none() -> None:
    x = counts(200, 30, 3, 2.0)
    x[[5, 70]] = 0
    near = cosine_neighbors(x, 10)
    assert (near[[5, 70]] == -1).all()
    assert not np.isin(near, [5, 70]).any()
    assert not (near == np.arange(200)[:, None]).any()


def test_follows_a_permutation_of_the_cells() -> None:
    x = np.random.default_rng(4).gamma(1.0, 1.0, (500, 50))  # continuous: no ties
    order = np.random.default_rng(5).permutation(500)
    there = cosine_neighbors(x, 10)
    np.testing.assert_array_equal(order[cosine_neighbors(x[order], 10)], there[order])


def test_scale_of_rows_does_not_matter() -> None:
    x = counts(300, 40, 6, 1.0).astype(np.float64)
    scale = 2.0 ** np.random.default_rng(7).integers(-200, 200, 300)
    np.testing.assert_array_equal(cosine_neighbors(x * scale[:, None], 10), cosine_neighbors(x, 10))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_a_dense_array_gives_what_the_same_rows_give_as_a_sparse_matrix(dtype: type) -> None:
    x = counts(700, 30, 12, 1.0)
    if dtype is not np.int64:
        x = x - np.random.default_rng(0).normal(size=x.shape)  # embeddings have negative values
        x[5] = 0
    x = x.astype(dtype)
    np.testing.assert_array_equal(cosine_neighbors(x, 12), cosine_neighbors(sparse.csr_matrix(x), 12))
    turned = np.asfortranarray(x)
    np.testing.assert_array_equal(cosine_neighbors(turned, 12), cosine_neighbors(x, 12))


def test_explicit_zeros_and_unsorted_input_are_harmless() -> None:
    x = counts(100, 20, 8, 1.0)
    rows, cols = np.indices(x.shape)
    shuffle = np.random.default_rng(0).permutation(x.size)
    messy = sparse.csr_matrix(
        sparse.coo_matrix((x.ravel()[shuffle], (rows.ravel()[shuffle], cols.ravel()[shuffle])), x.shape)
    )
    np.testing.assert_array_equal(cosine_neighbors(messy, 10), cosine_neighbors(x, 10))
    assert messy.nnz == x.size  # the input was not changed


def test_advance_sums_to_the_cells() -> None:
    done: list[int] = []
    cosine_neighbors(counts(500, 20, 9), 5, advance=done.append, block=64)
    assert sum(done) == 500
    assert len(done) > 2


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_matrix])
def test_the_index_recalls_most_neighbors_and_repeats_itself(
    monkeypatch: pytest.MonkeyPatch, form: Callable
) -> None:
    monkeypatch.setattr(_index, "LIST", 20)
    monkeypatch.setattr(_index, "PROBES", 10)
    x = np.random.default_rng(10).gamma(1.0, size=(600, 12))
    x[3] = 0
    exact, looked = cosine_neighbors(x, 15), {"approximate_above": 100, "seed": 1}
    found = cosine_neighbors(form(x), 15, threads=2, **looked)
    monkeypatch.setattr(_index, "BLOCK", 70)
    np.testing.assert_array_equal(found, cosine_neighbors(x, 15, threads=1, **looked))
    recall = np.mean([np.isin(a, b).mean() for a, b in zip(exact, found)])
    assert 0.8 < recall < 1  # of a third of the rows
    assert (found[3] == -1).all()
    assert not (found == np.arange(600)[:, None]).any()
    other = cosine_neighbors(x, 15, approximate_above=100, seed=2)
    assert (other != found).any()


def test_the_index_is_exact_where_it_looks_through_all_lists() -> None:
    x, done = counts(400, 30, 11), []
    np.testing.assert_array_equal(
        cosine_neighbors(x, 8, approximate_above=0, advance=done.append), cosine_neighbors(x, 8)
    )
    assert sum(done) == 400
    assert (cosine_neighbors(np.zeros((5, 3)), 2, approximate_above=0) == -1).all()


@pytest.mark.parametrize("bad", [dict(k=0), dict(k=3, block=0)])
def test_refuses_bad_parameters(bad: dict) -> None:
    with pytest.raises(ConfigError, match="at least 1"):
        cosine_neighbors(np.ones((4, 2)), **bad)


def test_refuses_bad_expression() -> None:
    with pytest.raises(InputError, match="two-dimensional"):
        cosine_neighbors(np.ones(4), 1)
    with pytest.raises(InputError, match="NaN"):
        cosine_neighbors(np.array([[1.0, np.nan]]), 1)


def test_no_cells() -> None:
    assert cosine_neighbors(np.zeros((0, 5)), 3).shape == (0, 3)
