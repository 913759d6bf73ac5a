"""Cells as tokens: bins, ties, truncation, draws that belong to the cell."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import sparse

from lloki.embed._transformer import cell_keys
from lloki.embed.scgpt import bin_values
from lloki.embed.scgpt.tokens import Tokens
from lloki.errors import ConfigError, InputError

N_BINS = 51


def reference_bins(values: np.ndarray, n_bins: int, draws: np.ndarray) -> np.ndarray:
    """The rule in numpy's own words."""
    at = np.flatnonzero(values)
    edges = np.quantile(values[at], np.linspace(0, 1, n_bins - 1))
    left, right = np.digitize(values[at], edges), np.digitize(values[at], edges, right=True)
    bins = np.zeros(len(values), np.int64)
    bins[at] = np.ceil(draws * (right - left) + left)
    return bins


VALUES = st.one_of(
    arrays(np.float32, st.integers(1, 300), elements=st.integers(0, 6).map(float)),
    arrays(np.float32, st.integers(1, 300), elements=st.floats(0, 1e4, width=32)),
    arrays(np.float64, st.integers(1, 300), elements=st.floats(0, 1e4)),
)


@settings(deadline=None)  # the first example compiles
@given(VALUES, st.integers(3, 60), st.integers(0, 9))
def test_bins_are_numpys_to_the_last_bit(values, n_bins, seed):
    draws = np.random.default_rng(seed).random(np.count_nonzero(values))
    bins = bin_values(values, n_bins, np.random.default_rng(seed))
    if values.any():
        np.testing.assert_array_equal(bins, reference_bins(values, n_bins, draws))
        assert bins[values > 0].min() >= 1
        assert bins.max() <= n_bins - 1
    assert (bins[values == 0] == 0).all()


def test_bins_of_all_equal_values_are_any_bin():
    bins = bin_values(np.ones(20_000), N_BINS, np.random.default_rng(0))
    counts = np.bincount(bins, minlength=N_BINS)[1:]
    assert counts.min() > 300  # 400 expected in each of 50
    assert counts.max() < 500


@pytest.mark.parametrize("bad", [-1.0, np.nan, np.inf])
def test_impossible_values_have_no_bin(bad):
    with pytest.raises(InputError, match="1 of 3 values are negative or not finite"):
        bin_values(np.array([1.0, bad, 2.0]), N_BINS, np.random.default_rng(0))


def test_bins_must_be_three_or_more():
    with pytest.raises(ConfigError, match="3 or more"):
        bin_values(np.ones(3), 2, np.random.default_rng(0))


def cells(n: int = 30, genes: int = 80, seed: int = 0) -> sparse.csr_matrix:
    counts = np.random.default_rng(seed).poisson(0.7, (n, genes)).astype(np.float32)
    counts[3] = 0
    return sparse.csr_matrix(counts)


IDS = np.where(np.arange(80) % 7 == 2, -1, 1_000 - 3 * np.arange(80))  # some genes are not in the vocabulary


def make(counts=None, ids=IDS, *, max_tokens: int = 1_200, seed: int = 0, names=None) -> Tokens:
    counts = cells() if counts is None else counts
    names = [f"c{i}" for i in range(counts.shape[0])] if names is None else names
    return Tokens(counts, ids, cell_keys(seed, names), n_bins=N_BINS, max_tokens=max_tokens)


def as_sets(tokens: Tokens) -> list[dict[int, int]]:
    """Vocabulary id → bin of each cell, from one batch of all."""
    numbers, bins, *keep = (part.numpy() for part in tokens.batch(np.arange(len(tokens.lengths))))
    keep = keep[0] if keep else np.ones(numbers.shape, bool)
    assert (numbers[:, 0] == 0).all()
    assert (bins[:, 0] == N_BINS).all()
    assert (bins[~keep] == N_BINS).all()
    np.testing.assert_array_equal(keep.sum(1), tokens.lengths)
    ids = np.array([-9, *tokens.ids])
    return [
        dict(zip(ids[numbers[i, 1:n]].tolist(), bins[i, 1:n].tolist())) for i, n in enumerate(tokens.lengths)
    ]


def test_tokens_are_the_known_non_zero_genes():
    x = cells().toarray()
    for i, found in enumerate(as_sets(make())):
        assert set(found) == {IDS[j] for j in np.flatnonzero(x[i]) if IDS[j] >= 0}
        values = np.array([x[i, np.flatnonzero(name == IDS)[0]] for name in found])
        if len(values):  # bins lie between those of the lowest and the highest draw
            low, high = (reference_bins(values, N_BINS, np.full(len(values), u)) for u in (1 - 1e-9, 0.0))
            assert (low <= list(found.values())).all()
            assert (list(found.values()) <= high).all()
    assert make().lengths[3] == 1


def test_stored_zeros_are_no_tokens():
    counts = cells()
    counts.data[::3] = 0
    clean = counts.copy()
    clean.eliminate_zeros()
    assert as_sets(make(counts)) == as_sets(make(clean))


def test_draws_do_not_depend_on_the_order_of_genes_or_cells():
    genes, rows = np.random.default_rng(1).permutation(80), np.random.default_rng(2).permutation(30)
    counts = cells()[rows][:, genes].tocsr()
    counts.sort_indices()  # the order in which values are stored is then another, too
    moved = make(counts, IDS[genes], names=[f"c{i}" for i in rows])
    plain = as_sets(make())
    assert as_sets(moved) == [plain[i] for i in rows]


def test_draws_belong_to_seed_and_cell():
    same = sparse.csr_matrix(np.ones((40, 80), np.float32))
    found = as_sets(make(same))
    assert len({tuple(cell.values()) for cell in found}) == 40
    assert found != as_sets(make(same, seed=1))
    assert found == as_sets(make(same))


def test_truncation_keeps_the_highest_bins():
    whole, cut = as_sets(make()), as_sets(make(max_tokens=11))
    longer = 0
    for all_of, kept in zip(whole, cut):
        assert len(kept) == min(len(all_of), 10)
        assert kept.items() <= all_of.items()
        left = [all_of[name] for name in all_of if name not in kept]
        if left:
            longer += 1
            assert max(left) <= min(kept.values())
    assert longer > 20


def test_truncation_draws_among_equals():
    same = sparse.csr_matrix(np.tile(np.arange(1.0, 81.0, dtype=np.float32), (400, 1)) // 41 + 1)
    tokens = Tokens(same, np.arange(80), cell_keys(0, list(map(str, range(400)))), n_bins=3, max_tokens=11)
    numbers = tokens.batch(np.arange(400))[0].numpy()
    often = np.bincount(numbers[:, 1:].ravel(), minlength=81)[1:]
    assert often.sum() == 4_000
    assert often[:40].sum() == 0  # the lower of the two values
    assert often[40:].min() > 60  # 100 expected of each
    assert often[40:].max() < 145
