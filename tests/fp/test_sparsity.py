"""Sparsity targets, budgets (Eq 3-4) and the expression unit."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from lloki.errors import GeneError, InputError
from lloki.fp import (
    cell_sparsity,
    imputation_budgets,
    log_normalize,
    reference_sparsity,
    sparsity_targets,
    wasserstein,
)

levels = st.lists(st.integers(0, 20), min_size=1, max_size=60).map(lambda v: np.array(v) / 20)


@given(s=levels, ref=levels)
@settings(max_examples=200, deadline=None)
def test_quantile_map_equals_its_definition(s: np.ndarray, ref: np.ndarray) -> None:
    def inverse(p: Fraction) -> float:
        return min(x for x in ref if Fraction(int((ref <= x).sum()), len(ref)) >= p)

    expected = [inverse(Fraction(int((s <= x).sum()), len(s))) for x in s]
    np.testing.assert_array_equal(sparsity_targets(s, ref), expected)


@given(s=levels, ref=levels)
@settings(max_examples=200, deadline=None)
def test_targets_are_monotone_and_ties_share_one(s: np.ndarray, ref: np.ndarray) -> None:
    order = np.argsort(s)
    targets = sparsity_targets(s, ref)[order]
    assert (np.diff(targets) >= 0).all()
    assert (np.diff(targets)[np.diff(s[order]) == 0] == 0).all()


@given(s=levels)
def test_a_slice_like_its_reference_maps_to_itself(s: np.ndarray) -> None:
    np.testing.assert_array_equal(sparsity_targets(s, s), s)


def test_targets_without_ties_have_the_reference_distribution() -> None:
    rng = np.random.default_rng(0)
    s, ref = rng.random(400), rng.beta(5, 2, 400)
    assert wasserstein(sparsity_targets(s, ref), ref) == 0
    assert wasserstein(s, ref) == pytest.approx(np.abs(np.sort(s) - np.sort(ref)).mean())


@given(g=st.integers(1, 1000), data=st.data(), n=st.integers(1, 20))
@settings(max_examples=100, deadline=None)
def test_budgets_reach_the_target_and_no_further(g: int, data: st.DataObject, n: int) -> None:
    wanted = data.draw(st.lists(st.integers(0, g), min_size=n, max_size=n).map(np.array))
    nonzero = data.draw(st.lists(st.integers(0, g), min_size=n, max_size=n).map(np.array))
    budgets = imputation_budgets(1 - wanted / g, nonzero, g)
    np.testing.assert_array_equal(budgets, np.maximum(wanted - nonzero, 0))


def test_budget_rounds_up() -> None:
    np.testing.assert_array_equal(imputation_budgets([0.75, 0.71], [0, 2], 10), [3, 1])


def test_reference_sparsity_over_shared_or_all_genes() -> None:
    counts = sparse.csr_matrix(np.array([[1, 0, 3, 0], [0, 0, 0, 0], [0, 2, 0, 0]]))
    genes = ["a", "b", "c", "d"]
    np.testing.assert_allclose(reference_sparsity(counts, genes, ["c", "a", "x"]), [0, 1, 1])
    np.testing.assert_allclose(reference_sparsity(counts, genes, ["x"], mode="all"), [0.5, 1, 0.75])


def test_reference_sparsity_does_not_count_stored_zeros() -> None:
    counts = sparse.csr_matrix((np.array([0.0, 2.0]), np.array([0, 1]), np.array([0, 2, 2])), shape=(2, 2))
    np.testing.assert_allclose(reference_sparsity(counts, ["a", "b"], ["a", "b"]), [0.5, 1])


def test_reference_sparsity_errors() -> None:
    x = sparse.csr_matrix(np.ones((2, 2)))
    with pytest.raises(GeneError, match="no gene in common"):
        reference_sparsity(x, ["a", "b"], ["A"])
    with pytest.raises(InputError, match="no cells"):
        reference_sparsity(x[:0], ["a", "b"], ["a"])
    with pytest.raises(InputError, match="3 gene names"):
        reference_sparsity(x, ["a", "b", "c"], ["a"])
    with pytest.raises(InputError, match="no cells"):
        sparsity_targets([0.5], [])


def test_log_normalize_equals_the_formula() -> None:
    counts = np.random.default_rng(0).poisson(0.7, (50, 20)).astype(float)
    counts[7] = 0
    totals = counts.sum(1, keepdims=True)
    expected = np.log1p(counts * np.median(totals[totals > 0]) / np.where(totals, totals, 1))
    x = log_normalize(sparse.csr_matrix(counts))
    np.testing.assert_allclose(x.toarray(), expected, rtol=1e-6)
    assert x.dtype == np.float32
    np.testing.assert_allclose(cell_sparsity(x), (counts == 0).mean(1))


def test_log_normalize_leaves_its_input_and_refuses_what_is_not_counts() -> None:
    x = sparse.csr_matrix((np.array([0.0, 4.0]), np.array([0, 1]), np.array([0, 2])), shape=(1, 2))
    assert log_normalize(x).nnz == 1
    assert x.nnz == 2
    for bad in (-1.0, np.nan, np.inf):
        with pytest.raises(InputError, match="negative, NaN"):
            log_normalize(sparse.csr_matrix(np.array([[1.0, bad]])))
    assert log_normalize(sparse.csr_matrix((3, 4))).nnz == 0
