"""Propagation (Eq 2) and denoising (Eq 5) against dense matrices, and their invariants."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from lloki.fp import denoise, log_normalize, propagate
from lloki.graph import cosine_neighbors, spatial_bandwidth, spatial_graph


def example(n: int, g: int, seed: int, rate: float = 0.5) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
    rng = np.random.default_rng(seed)
    counts = rng.poisson(rng.gamma(0.5, rate, (4, g))[rng.integers(4, size=n)])
    x = log_normalize(sparse.csr_matrix(counts))
    coords = rng.random((n, 2))
    sigma = spatial_bandwidth(coords, seed=seed)
    return spatial_graph(cosine_neighbors(x, min(8, max(n - 1, 1))), coords, sigma), x


def largest(x: np.ndarray, mask: np.ndarray, budgets: np.ndarray) -> np.ndarray:
    """Drop all but the largest unobserved entries of a row; equal ones by gene."""
    place = np.argsort(np.argsort(np.where(mask, np.inf, -x), axis=1, kind="stable"), axis=1, kind="stable")
    return np.where(mask | (place < budgets[:, None]), x, 0)


def test_unlimited_propagation_equals_the_dense_iteration() -> None:
    graph, x0 = example(120, 30, 0)
    a, dense = graph.toarray().astype(float), x0.toarray().astype(float)
    mask, x = dense > 0, dense
    for _step in range(12):
        x = np.where(mask, dense, a @ x)
    imputed, steps, converged = propagate(graph, x0, np.full(120, 30), iterations=12, tol=0.0)
    np.testing.assert_allclose(imputed.toarray(), x, atol=1e-5)
    assert (steps, converged) == (12, False)


@pytest.mark.parametrize("budget", [0, 1, 5])
def test_budgeted_propagation_equals_the_dense_iteration(budget: int) -> None:
    graph, x0 = example(150, 25, 1)
    a, dense, budgets = graph.toarray().astype(float), x0.toarray().astype(float), np.full(150, budget)
    mask, x = dense > 0, dense
    for _step in range(6):
        x = largest(np.where(mask, dense, a @ x), mask, budgets)
    imputed, _steps, _converged = propagate(graph, x0, budgets, iterations=6, tol=0.0)
    np.testing.assert_allclose(imputed.toarray(), x, atol=1e-5)


def test_unlimited_propagation_converges_to_the_harmonic_solution() -> None:
    # There, an unobserved entry is the weighted sum of its neighbors: the least Dirichlet energy.
    graph, x0 = example(80, 15, 2, rate=5.0)
    imputed, _steps, converged = propagate(graph, x0, np.full(80, 15), iterations=2000, tol=1e-5)
    assert converged
    x, mask = imputed.toarray(), x0.toarray() > 0
    np.testing.assert_allclose(x[~mask], (graph.toarray() @ x)[~mask], atol=1e-4)


@pytest.mark.parametrize("preserve", [True, False])
@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_denoising_equals_the_dense_formula(alpha: float, preserve: bool) -> None:
    graph, x0 = example(90, 20, 3)
    dense = x0.toarray().astype(float)
    expected = alpha * graph.toarray().astype(float) @ dense + (1 - alpha) * dense
    if preserve:
        expected = np.where(dense > 0, dense, expected)
    result = denoise(graph, x0, None, alpha=alpha, preserve_observed=preserve)
    np.testing.assert_allclose(result.toarray(), expected, atol=1e-5)
    budgets = np.random.default_rng(0).integers(0, 6, 90)
    cut = denoise(graph, x0, budgets, alpha=alpha, preserve_observed=preserve)
    np.testing.assert_allclose(cut.toarray(), largest(expected, dense > 0, budgets), atol=1e-5)


def check(result: sparse.csr_matrix, x0: sparse.csr_matrix, budgets: np.ndarray) -> None:
    dense, before = result.toarray(), x0.toarray()
    np.testing.assert_array_equal(dense[before > 0], before[before > 0])
    assert ((dense > 0).sum(1) - (before > 0).sum(1) <= budgets).all()
    assert np.isfinite(dense).all()
    assert (result.data > 0).all()
    assert result.has_canonical_format
    assert result.dtype == np.float32


@given(
    n=st.integers(1, 60),
    g=st.integers(1, 25),
    seed=st.integers(0, 10_000),
    keep=st.sampled_from(["largest", "random"]),
    rate=st.sampled_from([0.0, 0.1, 0.5, 3.0]),
)
@settings(max_examples=80, deadline=None)
def test_observed_stay_and_budgets_hold(n: int, g: int, seed: int, keep: str, rate: float) -> None:
    graph, x0 = example(n, g, seed, rate)
    budgets = np.random.default_rng(seed).integers(0, g + 3, n)
    imputed, _steps, _converged = propagate(graph, x0, budgets, iterations=5, keep=keep, seed=seed)  # type: ignore[arg-type]
    check(imputed, x0, budgets)
    check(denoise(graph, x0, budgets, alpha=0.5, keep=keep, seed=seed), x0, budgets)  # type: ignore[arg-type]


@pytest.mark.parametrize("keep", ["largest", "random"])
def test_a_budget_is_used_up_where_there_are_candidates(keep: str) -> None:
    graph, x0 = example(200, 40, 4)
    candidates = ((graph @ x0).toarray() > 0) & (x0.toarray() == 0)
    imputed, _steps, _converged = propagate(graph, x0, np.full(200, 4), iterations=1, keep=keep)  # type: ignore[arg-type]
    np.testing.assert_array_equal((imputed - x0).getnnz(axis=1), np.minimum(candidates.sum(1), 4))


@pytest.mark.parametrize("keep", ["largest", "random"])
def test_threads_chunks_and_cache_change_nothing(keep: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib

    module = importlib.import_module("lloki.fp._propagate")
    graph, x0 = example(500, 30, 5)
    budgets = np.random.default_rng(0).integers(0, 9, 500)

    def run(threads: int) -> list[np.ndarray]:
        x, steps, _converged = propagate(graph, x0, budgets, keep=keep, seed=3, threads=threads)  # type: ignore[arg-type]
        y = denoise(
            graph, x0, budgets, alpha=0.7, keep=keep, seed=3, threads=threads, preserve_observed=False
        )  # type: ignore[arg-type]
        return [np.array(steps), x.indptr, x.indices, x.data, y.indptr, y.indices, y.data]

    expected = run(1)
    for chunk, cache, threads in ((64, 1 << 28, 2), (7, 0, 3), (1024, 0, 1)):
        monkeypatch.setattr(module, "CHUNK", chunk)
        monkeypatch.setattr(module, "CACHE_BYTES", cache)
        for a, b in zip(run(threads), expected):
            np.testing.assert_array_equal(a, b)


def test_order_of_cells_does_not_matter_for_largest() -> None:
    graph, x0 = example(150, 20, 6)
    budgets = np.random.default_rng(0).integers(0, 6, 150)
    order = np.random.default_rng(1).permutation(150)
    there, _steps, _converged = propagate(graph, x0, budgets, iterations=4, tol=0.0)
    here, _steps, _converged = propagate(
        graph[order][:, order], x0[order], budgets[order], iterations=4, tol=0.0
    )
    # Sums run in another order: equal to rounding.
    np.testing.assert_allclose(here.toarray(), there[order].toarray(), atol=1e-5)


def test_random_choice_depends_on_the_seed_and_is_uniform() -> None:
    graph, x0 = example(600, 20, 7, rate=3.0)
    budgets = np.full(600, 1)

    def chosen(seed: int) -> np.ndarray:
        return (propagate(graph, x0, budgets, iterations=1, keep="random", seed=seed)[0] - x0).toarray() > 0

    np.testing.assert_array_equal(chosen(1), chosen(1))
    assert (chosen(1) != chosen(2)).any(axis=1).mean() > 0.3
    candidates = ((graph @ x0).toarray() > 0) & (x0.toarray() == 0)
    share = candidates / np.maximum(candidates.sum(1, keepdims=True), 1)
    often = np.mean([chosen(seed) for seed in range(40)], axis=0)
    # Over genes: the expected number of draws is the sum of the cells' equal shares.
    expected, spread = share.sum(0), np.sqrt((share * (1 - share)).sum(0) / 40)
    assert (np.abs(often.sum(0) - expected) < 5 * spread + 1e-9).all()


def test_random_choice_settles() -> None:
    # Drawn anew at every step, the choice would never converge.
    graph, x0 = example(300, 30, 8, rate=2.0)
    budgets = np.full(300, 3)
    many, steps, converged = propagate(graph, x0, budgets, iterations=200, tol=1e-5, keep="random")
    assert converged
    more, _steps, _converged = propagate(graph, x0, budgets, iterations=steps + 5, tol=0.0, keep="random")
    np.testing.assert_array_equal(many.indices, more.indices)


def test_stops_by_tolerance_and_reports_all_progress() -> None:
    graph, x0 = example(100, 20, 9)
    done: list[int] = []
    _x, steps, converged = propagate(graph, x0, np.full(100, 2), tol=0.1, advance=done.append)
    assert converged
    assert steps < 40
    assert sum(done) == 100
    done.clear()
    _x, steps, converged = propagate(graph, x0, np.full(100, 2), iterations=3, tol=0.0, advance=done.append)
    assert (steps, converged, sum(done)) == (3, False, 100)
    same, steps, _converged = propagate(graph, x0, np.full(100, 2), iterations=0)
    assert steps == 0
    assert (same != x0).nnz == 0
