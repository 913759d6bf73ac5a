"""LLOKI-FP as a whole on made-up slices; every real file is in ``test_fp_real_slices.py``."""

from __future__ import annotations

import inspect
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from lloki.errors import ConfigError, InputError
from lloki.fp import PASSES, PRESETS, FPConfig, FPResult, align_features, log_normalize, wasserstein


def made_up(n: int, g: int, seed: int, rate: float = 0.3) -> tuple[sparse.csr_matrix, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    counts = rng.poisson(rng.gamma(0.5, rate, (4, g))[rng.integers(4, size=n)])
    return sparse.csr_matrix(counts.astype(np.float32)), rng.random((n, 2)) * 100, 1 - rng.beta(4, 8, 200)


def check(result: FPResult, counts: sparse.csr_matrix) -> None:
    observed, dense = log_normalize(counts).toarray(), result.expression.toarray()
    np.testing.assert_array_equal(dense[observed > 0], observed[observed > 0])
    assert ((dense > 0).sum(1) - (observed > 0).sum(1) <= result.budgets).all()
    assert np.isfinite(dense).all()
    np.testing.assert_allclose(result.sparsity_after, (dense == 0).mean(1))
    order = np.lexsort((result.targets, result.sparsity_before))
    assert (np.diff(result.targets[order]) >= 0).all()
    np.testing.assert_array_equal(result.flagged, np.asarray(counts.sum(1)).ravel() == 0)
    assert (dense[result.flagged] == 0).all()


@given(
    n=st.integers(1, 70),
    g=st.integers(1, 20),
    seed=st.integers(0, 10_000),
    rate=st.sampled_from([0.0, 0.05, 0.5]),
    preset=st.sampled_from(["default", "paper"]),
)
@settings(max_examples=40, deadline=None)
def test_invariants_hold_for_any_slice(n: int, g: int, seed: int, rate: float, preset: str) -> None:
    counts, coords, reference = made_up(n, g, seed, rate)
    check(align_features(counts, coords, reference, config=FPConfig.preset(preset, n_neighbors=5)), counts)


def test_sparsity_approaches_its_target() -> None:
    counts, coords, reference = made_up(800, 60, 0)
    result = align_features(counts, coords, reference)
    assert result.w1_after < 0.1 * result.w1_before
    before = np.asarray((counts.toarray() == 0).mean(1))
    assert result.w1_reference == pytest.approx(wasserstein(before, reference))
    assert result.w1_before == pytest.approx(wasserstein(before, result.targets))
    reached = result.sparsity_after <= result.targets + 1e-9
    assert reached.mean() > 0.95


def test_a_denser_slice_is_left_alone() -> None:
    counts, coords, _reference = made_up(300, 30, 1, rate=3.0)
    result = align_features(counts, coords, np.full(50, 0.99))
    assert (result.budgets == 0).all()
    assert (result.expression != log_normalize(counts)).nnz == 0


def test_same_result_for_any_number_of_threads() -> None:
    counts, coords, reference = made_up(1500, 40, 2)
    a, b = (align_features(counts, coords, reference, threads=t).expression for t in (1, 3))
    np.testing.assert_array_equal(a.data, b.data)
    np.testing.assert_array_equal(a.indices, b.indices)


def test_the_seed_matters_only_where_something_is_drawn() -> None:
    counts, coords, reference = made_up(300, 30, 3)
    runs = [
        align_features(
            counts, coords, reference, config=FPConfig.preset("paper", seed=seed)
        ).expression.toarray()
        for seed in (0, 0, 1)
    ]
    np.testing.assert_array_equal(runs[0], runs[1])
    assert (runs[0] != runs[2]).any()


def test_input_is_not_changed() -> None:
    counts, coords, reference = made_up(200, 20, 4)
    before = counts.copy()
    align_features(counts, coords, reference)
    assert (counts != before).nnz == 0
    np.testing.assert_array_equal(counts.data, before.data)


def test_published_code_fills_the_matrix() -> None:
    counts, coords, reference = made_up(400, 40, 5)
    published = align_features(counts, coords, reference, config=FPConfig.preset("published-code"))
    ours = align_features(counts, coords, reference)
    assert published.sparsity_after.mean() < ours.sparsity_after.mean() - 0.1
    observed = log_normalize(counts).toarray()
    assert (published.expression.toarray()[observed > 0] != observed[observed > 0]).any()


def test_without_spatial_weights_places_do_not_matter() -> None:
    counts, coords, reference = made_up(300, 30, 8)
    elsewhere = np.random.default_rng(0).random((300, 2))
    bare, moved = (
        align_features(counts, xy, reference, config=FPConfig(spatial=False)).expression.toarray()
        for xy in (coords, elsewhere)
    )
    np.testing.assert_array_equal(bare, moved)
    # as with all cells in one place, where every weight is 1
    same = align_features(counts, np.zeros((300, 2)), reference).expression.toarray()
    np.testing.assert_array_equal(bare, same)
    assert (bare != align_features(counts, coords, reference).expression.toarray()).any()


def test_without_transport_nothing_bounds_what_a_cell_gains() -> None:
    counts, coords, _ = made_up(300, 30, 9)
    dense_enough = np.full(50, 0.99)  # of which no cell may gain anything
    bare = align_features(counts, coords, dense_enough, config=FPConfig(transport=False))
    assert (bare.budgets == 30).all()
    assert bare.sparsity_after.mean() < 0.5 * bare.sparsity_before.mean()
    bound = align_features(counts, coords, dense_enough)
    assert (bound.sparsity_after == bound.sparsity_before).all()
    np.testing.assert_array_equal(bare.targets, bound.targets)


def test_three_dimensions_and_identical_places() -> None:
    counts, coords, reference = made_up(200, 20, 6)
    flat = align_features(counts, coords, reference)
    deep = align_features(counts, np.column_stack([coords, np.zeros(200)]), reference)
    np.testing.assert_array_equal(flat.expression.toarray(), deep.expression.toarray())
    check(align_features(counts, np.zeros((200, 2)), reference), counts)


@pytest.mark.parametrize("joint", [False, True])
def test_progress_sums_to_the_stated_passes(joint: bool) -> None:
    counts, coords, reference = made_up(300, 20, 7)
    done: list[int] = []
    config = FPConfig().for_embedder(joint=joint)
    align_features(counts, coords, reference, config=config, advance=done.append)
    assert sum(done) == PASSES * 300


@pytest.mark.parametrize(
    ("coords", "message"),
    [
        (np.zeros((9, 2)), "shape"),
        (np.zeros(10), "shape"),
        (np.zeros((10, 4)), "shape"),
        (np.full((10, 2), np.nan), "NaN"),
    ],
)
def test_refuses_bad_coordinates(coords: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        align_features(sparse.csr_matrix(np.ones((10, 3))), coords, np.array([0.5]))


def test_no_cells() -> None:
    result = align_features(sparse.csr_matrix((0, 5)), np.zeros((0, 2)), np.array([0.5]))
    assert result.expression.shape == (0, 5)


@pytest.mark.parametrize(
    "bad",
    [
        dict(n_neighbors=0),
        dict(alpha=1.5),
        dict(alpha=float("nan")),
        dict(tol=-1.0),
        dict(keep="all"),
        dict(reference_genes="x"),
    ],
)
def test_refuses_bad_parameters(bad: dict) -> None:
    with pytest.raises(ConfigError, match=next(iter(bad))):
        FPConfig(**bad)


def test_presets() -> None:
    with pytest.raises(ConfigError, match="published-code"):
        FPConfig.preset("none")
    with pytest.raises(ConfigError, match="neighbors"):
        FPConfig.preset("default", neighbors=3)
    assert FPConfig.preset("default", n_neighbors=7).n_neighbors == 7
    assert FPConfig.preset("default") == FPConfig()
    documented = inspect.getdoc(FPConfig) or ""
    assert all(
        f"\n{field.name}\n" in documented or f"{field.name}," in documented for field in fields(FPConfig)
    )
    assert {"default", "paper", "published-code"} == set(PRESETS)
