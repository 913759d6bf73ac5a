"""The scale is inferred from the values, and counts come back exactly wherever the values still hold them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from lloki.io.scale import infer_scale, recover_counts, round_counts, undo_log


def make_counts(seed: int, n: int = 60, g: int = 40, mean: float = 2.0) -> sparse.csr_matrix:
    rng = np.random.default_rng(seed)
    counts = rng.poisson(rng.gamma(0.4, mean / 0.4, (n, g)))
    counts[:, 0] = 1  # every cell has a single count, as sparse cells do
    return sparse.csr_matrix(counts.astype(np.float32))


def per_cell(x: sparse.csr_matrix, factor: np.ndarray) -> sparse.csr_matrix:
    return (sparse.diags(factor) @ x).tocsr().astype(np.float32)


def library_factor(x: sparse.csr_matrix, target: float = 1e4) -> np.ndarray:
    return target / np.asarray(x.sum(1)).ravel()


def log(x: sparse.csr_matrix, base: float = np.e) -> sparse.csr_matrix:
    out = x.copy()
    out.data = (np.log1p(x.data.astype(np.float64)) / np.log(base)).astype(np.float32)
    return out


seeds = st.integers(0, 10_000)
bases = st.sampled_from([np.e, 2.0, 10.0])
means = st.floats(0.3, 30.0)


@settings(max_examples=40, deadline=None)
@given(seed=seeds, mean=means)
def test_counts_are_counts(seed: int, mean: float) -> None:
    x = make_counts(seed, mean=mean)
    assert infer_scale(x) == "counts"
    rounded, fractions = round_counts(x)
    assert fractions == 0
    assert (rounded != x).nnz == 0


@settings(max_examples=40, deadline=None)
@given(seed=seeds, mean=means, low=st.floats(1e-4, 10.0), span=st.floats(1.5, 50.0))
def test_any_factor_per_cell_is_undone(seed: int, mean: float, low: float, span: float) -> None:
    x = make_counts(seed, mean=mean)
    factor = np.random.default_rng(seed).uniform(low, low * span, x.shape[0])
    normalized = per_cell(x, factor)
    assert infer_scale(normalized) == "proportional to counts"
    assert (recover_counts(normalized) != x).nnz == 0


@settings(max_examples=40, deadline=None)
@given(seed=seeds, mean=means, base=bases, target=st.sampled_from([100.0, 1e4, 1e6]))
def test_logarithms_are_undone(seed: int, mean: float, base: float, target: float) -> None:
    x = make_counts(seed, mean=mean)
    logged = log(per_cell(x, library_factor(x, target)), base)
    assert infer_scale(logged) == "log-normalized"
    recovered, how = undo_log(logged)
    assert (recovered != x).nnz == 0
    assert f"base {'e' if base == np.e else f'{base:g}'} " in how


def test_cells_without_a_single_count() -> None:
    x = sparse.csr_matrix(np.array([[2.0, 3.0, 7.0], [1.0, 2.0, 3.0], [4.0, 6.0, 2.0]], dtype=np.float32))
    recovered = recover_counts(per_cell(x, np.array([0.37, 0.2, 1.9])))
    # the last cell's counts share a divisor: its composition is kept, its unit is lost
    np.testing.assert_array_equal(recovered.toarray(), [[2, 3, 7], [1, 2, 3], [2, 3, 1]])


def test_what_never_were_counts_is_not_called_so() -> None:
    rng = np.random.default_rng(0)
    mask = rng.random((100, 30)) < 0.3
    assert infer_scale(sparse.csr_matrix(mask * rng.uniform(0.1, 6, mask.shape))) == "normalized"
    assert infer_scale(sparse.csr_matrix(mask * rng.uniform(20, 900, mask.shape))) == "normalized"
    assert infer_scale(sparse.csr_matrix(mask * rng.normal(0, 1, mask.shape))) == "scaled"


def expected_counts(seed: int, mean: float) -> sparse.csr_matrix:
    """Posterior means: transcripts belong to their cell with some probability, the rest to another cell."""
    rng = np.random.default_rng(seed)
    true = make_counts(seed, n=200, mean=mean).toarray()
    own = true * rng.beta(8, 1, true.shape)
    values = own + np.roll(true - own, 1, axis=0)
    values[values < 0.02] = 0
    return sparse.csr_matrix(values.astype(np.float32))


@pytest.mark.parametrize("mean", [0.3, 1.0, 5.0])
def test_expected_counts_are_not_taken_for_logarithms(mean: float) -> None:
    x = expected_counts(0, mean)
    assert infer_scale(x) == "normalized"


@pytest.mark.parametrize(("base", "name"), [(np.e, "e"), (2.0, "2"), (10.0, "10")])
def test_equal_totals_show_logarithms_of_expected_counts(base: float, name: str) -> None:
    x = expected_counts(0, 1.0)
    linear = per_cell(x, library_factor(x, 1e4))
    logged = log(linear, base)
    assert infer_scale(logged) == "log-normalized"
    undone, how = undo_log(logged)
    np.testing.assert_allclose(undone.toarray(), linear.toarray(), rtol=1e-4)
    assert f"base {name}" in how
    assert infer_scale(linear) == "normalized"


def test_shares_of_a_library_are_not_near_zero_counts() -> None:
    x = make_counts(3, n=200, g=400, mean=40.0)
    assert infer_scale(per_cell(x, library_factor(x, 1.0))) == "proportional to counts"


def test_expected_counts_with_few_fractions_are_counts() -> None:
    x = make_counts(1)
    x.data[::20] += 0.37
    assert infer_scale(x) == "counts"
    rounded, fractions = round_counts(x)
    assert fractions == len(x.data[::20])
    np.testing.assert_array_equal(rounded.data, x.data)


@pytest.mark.parametrize("n", [1, 3])
def test_few_cells_and_empty_ones(n: int) -> None:
    x = make_counts(0, n=n)
    x = sparse.vstack([x, sparse.csr_matrix((2, x.shape[1]), dtype=np.float32)]).tocsr()
    factor = np.linspace(0.3, 0.9, n + 2)
    assert (recover_counts(per_cell(x, factor)) != x).nnz == 0
    assert infer_scale(sparse.csr_matrix((4, 5), dtype=np.float32)) == "counts"
