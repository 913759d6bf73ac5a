"""`align_features` as a whole against the dense recipe in ``dense.py``, for every preset and switch."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import dense
import numpy as np
import pytest
from scipy import sparse

from lloki.fp import PRESETS, FPConfig, FPResult, align_features, average_neighbors, log_normalize
from lloki.graph import cosine_neighbors, spatial_bandwidth, spatial_graph
from lloki.graph.knn import _index
from lloki.graph.knn._kernels import LAST

NEAR = {"n_neighbors": 6}


def slice_(dims: int = 2) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cells of three types, one of them empty; amounts are continuous, so that no two candidates tie."""
    rng = np.random.default_rng(0)
    n, g = 70, 24
    rate = rng.gamma(0.6, 1.0, (3, g))[rng.integers(3, size=n)]
    counts = np.where(rng.random((n, g)) < 0.12 + 0.25 * np.minimum(rate, 1), rng.gamma(2.0, rate), 0.0)
    counts[5] = 0
    counts = counts.astype(np.float32).astype(float)
    return counts, rng.random((n, dims)) * 100, 1 - rng.beta(6, 6, 50)


CASES: dict[str, dict[str, Any]] = {
    "no space": {"spatial": False},
    "no transport": {"transport": False},
    "random": {"keep": "random"},
    "random, no transport": {"keep": "random", "transport": False},
    "observed are smoothed": {"preserve_observed": False},
    "no budget after": {"respect_budget": False},
    "Eq 5 bare": {"preserve_observed": False, "respect_budget": False},
    "neighbors alone": {"alpha": 1.0, "preserve_observed": False},
    "few neighbors": {"alpha": 0.2},
    "no step": {"iterations": 0},
    "one step": {"iterations": 1},
    "all steps": {"tol": 0.0},
    "few steps": {"tol": 0.2},
    "nearest two": {"n_neighbors": 2},
    "all cells are neighbors": {"n_neighbors": 500},
    "few pairs for sigma": {"sigma_pairs": 2},
    "another seed": {"seed": 11},
    "another lottery": {"seed": 11, "keep": "random"},
}


def test_an_embedder_that_learns_from_slices_gets_equation_5_alone() -> None:
    """Three tenths of the 10 neighbors that cells' own expression finds: no imputation, and no budget."""
    alone = FPConfig().for_embedder(joint=True)
    counts, coords, reference = slice_()
    agrees(found(alone), dense.align(counts, coords, reference, alone))
    observed = log_normalize(sparse.csr_matrix(counts))
    graph = spatial_graph(
        cosine_neighbors(observed, 10), coords, spatial_bandwidth(coords, pairs=100, seed=0)
    )
    want = 0.7 * observed.toarray() + 0.3 * (graph @ observed).toarray()
    got = average_neighbors(observed, coords, config=alone)
    np.testing.assert_allclose(got.toarray(), want, atol=2e-6)
    np.testing.assert_array_equal(got.toarray(), found(alone).expression.toarray())
    assert np.abs(want - observed.toarray()).max() > 0.1


def test_what_the_average_is_made_of_follows_the_configuration() -> None:
    counts, coords, _ = slice_()
    observed = log_normalize(sparse.csr_matrix(counts))
    usual = FPConfig().for_embedder(joint=True)
    default = average_neighbors(observed, coords).toarray()
    np.testing.assert_array_equal(default, average_neighbors(observed, coords, config=usual).toarray())
    for change in ({"alpha": 0.6}, {"n_neighbors": 3}, {"spatial": False}, {"sigma_pairs": 2}):
        other = average_neighbors(observed, coords, config=replace(usual, **change))
        assert np.abs(other.toarray() - default).max() > 1e-3, change
    assert average_neighbors(observed, coords, config=replace(usual, alpha=0.0)) is observed


def test_a_given_share_is_that_of_the_same_method() -> None:
    """`alpha` says how much and `impute` whether values are imputed, where given, for any embedder."""
    for joint in (True, False):
        usual = FPConfig(n_neighbors=9).for_embedder(joint=joint)
        assert FPConfig(n_neighbors=9, alpha=0.2).for_embedder(joint=joint) == replace(usual, alpha=0.2)
        for impute in (True, False):
            want = FPConfig(keep="random").for_embedder(joint=not impute)
            assert FPConfig(keep="random", impute=impute).for_embedder(joint=joint) == want
    for preset in ("paper", "published-code"):
        given = FPConfig.preset(preset)
        for joint in (True, False):
            assert given.for_embedder(joint=joint) == replace(given, n_neighbors=40)


def found(config: FPConfig, dims: int = 2) -> FPResult:
    counts, coords, reference = slice_(dims)
    return align_features(sparse.csr_matrix(counts), coords, reference, config=config)


def agrees(result: FPResult, expected: dense.Dense) -> None:
    got = result.expression.toarray()
    np.testing.assert_array_equal(got > 0, expected.expression > 0)
    np.testing.assert_allclose(got, expected.expression, atol=2e-6)
    np.testing.assert_array_equal(result.budgets, expected.budgets)
    np.testing.assert_allclose(result.targets, expected.targets)
    assert (result.iterations, result.converged) == (expected.steps, expected.converged)
    np.testing.assert_allclose(
        [result.w1_reference, result.w1_before, result.w1_after], expected.w1, atol=1e-9
    )


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_every_preset_is_the_dense_recipe(preset: str) -> None:
    config = FPConfig.preset(preset, **NEAR)
    agrees(found(config), dense.align(*slice_(), config))


@pytest.mark.parametrize("case", CASES)
def test_every_switch_is_the_dense_recipe_with_it(case: str) -> None:
    config = FPConfig(**(NEAR | CASES[case]))
    agrees(found(config), dense.align(*slice_(), config))


def test_sections_in_three_dimensions_are_the_dense_recipe() -> None:
    agrees(found(FPConfig(**NEAR), 3), dense.align(*slice_(3), FPConfig(**NEAR)))


def test_without_neighbors_the_slice_is_as_it_was() -> None:
    config = FPConfig(alpha=0.0, **NEAR)
    expected = dense.align(*slice_(), config)
    agrees(found(config), expected)
    assert expected.w1[1] == expected.w1[2]


def test_every_switch_matters_on_this_slice() -> None:
    """Otherwise the comparisons above would say nothing of them."""
    plain = dense.align(*slice_(), FPConfig(**NEAR)).expression
    for name, settings in CASES.items():
        other = dense.align(*slice_(), FPConfig(**(NEAR | settings))).expression
        if name != "all steps":  # propagation has found its neighbors by then
            assert np.abs(other - plain).max() > 1e-3, name


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_so_do_the_second_graph_the_bandwidth_and_the_budgets(preset: str) -> None:
    config = FPConfig.preset(preset, **NEAR)
    got = found(config).expression.toarray()
    for departure in ({"second": "observed"}, {"wider": 0.5}, {"wider": 2.0}, {"budgets_after": False}):
        other = dense.align(*slice_(), config, **departure).expression
        if not (departure.keys() == {"budgets_after"} and not config.respect_budget):
            assert np.abs(other - got).max() > 1e-3, departure


def test_a_large_slice_takes_its_neighbors_from_the_approximate_index(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[tuple[int, int]] = []

    def first(rows: Any, c: int, *, seed: int, **options: Any) -> np.ndarray:
        """Of each row the first others as candidates, which are ranked exactly; tells what was asked."""
        asked.append((c, seed))
        others = np.arange(c) + (np.arange(c) >= np.arange(rows.n)[:, None])
        return np.where(others < rows.n, LAST - others + (1 << 32), 0)

    monkeypatch.setattr(_index, "candidates", first)
    exact = found(FPConfig(**NEAR, approximate_above=70)).expression
    assert asked == []
    approximate = found(FPConfig(**NEAR, approximate_above=69, seed=5)).expression
    assert asked == [(NEAR["n_neighbors"] + 40, 5)] * 2  # the graph of observed and that of imputed values
    assert (exact != approximate).nnz > 0


def test_presets_are_what_they_are_documented_as() -> None:
    default = FPConfig().to_dict()
    changed = {
        name: {field: value for field, value in preset.to_dict().items() if value != default[field]}
        for name, preset in PRESETS.items()
    }
    assert changed == {
        "default": {},
        "paper": {"impute": True, "keep": "random", "alpha": 0.5, "latent_alpha": 0.0},
        "published-code": {
            "impute": True,
            "keep": "random",
            "alpha": 1.0,
            "preserve_observed": False,
            "respect_budget": False,
            "reference_genes": "all",
            "tol": 0.0,
            "latent_alpha": 0.0,
        },
    }
