"""Composition apart from platform: parity with the dense model, its rules, and slices cut to one type."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from lloki.embed import Factor, SliceSummary
from lloki.embed.composition import (
    FIXED,
    FREE,
    LEVEL,
    Levels,
    freedom,
    relative_scale,
    shift_of_new,
    solve_shifts,
    within_covariance,
)
from lloki.fp import log_normalize
from lloki.graph import nearest

G, K, SETS = 25, 3, 5


def problem(seed: int = 0) -> tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray], np.ndarray]:
    """Rows, levels and covariances of data sets of different panels, and loadings."""
    rng = np.random.default_rng(seed)
    loadings = rng.normal(0, 0.6, (G, K))
    rows = [np.sort(rng.choice(G - 1, 12, replace=False)) for _ in range(SETS)]
    rows[3] = np.append(rows[3], G - 1)  # a gene of one data set alone
    levels = [rng.normal(1, 0.7, len(r)) for r in rows]
    half = [rng.normal(0, 0.5, (K, K)) for _ in rows]
    return rows, levels, [h @ h.T for h in half], loadings


FLAT = 1e7  # variance of a common level that is left free


def dense(
    rows: list[np.ndarray],
    levels: list[np.ndarray],
    covariances: list[np.ndarray],
    loadings: np.ndarray,
) -> np.ndarray:
    """Conditional expectation of the shifts under the joint Gaussian of all levels, written out."""
    n = len(rows)
    gene = np.concatenate(rows)
    owner = np.repeat(np.arange(n), [len(r) for r in rows])
    noise = FLAT * (gene[:, None] == gene[None]) + LEVEL * np.eye(len(gene))
    prior = np.zeros((n * K, n * K))
    design = np.zeros((len(gene), n * K))
    for i, c in enumerate(covariances):
        part = slice(i * K, (i + 1) * K)
        values, vectors = np.linalg.eigh(np.eye(K) - c)
        prior[part, part] = FREE * (vectors * np.maximum(values, 0)) @ vectors.T + FIXED * np.eye(K)
        design[owner == i, part] = loadings[rows[i]]
    total = design @ prior @ design.T + noise
    return (prior @ design.T @ np.linalg.solve(total, np.concatenate(levels))).reshape(n, K)


@pytest.mark.parametrize("seed", range(3))
def test_parity_with_the_dense_model(seed: int) -> None:
    given = problem(seed)
    expected = dense(*given)
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(solve_shifts(*given), expected, atol=2e-5)


def test_a_new_data_set_gets_its_conditional_expectation() -> None:
    rows, levels, covariances, loadings = problem(4)
    known = Levels.of(rows[:4], levels[:4], [np.zeros(K)] * 4, loadings)
    found = shift_of_new(rows[4], levels[4], covariances[4], loadings, known)
    # the others' shifts are known: their loadings are left out
    gene = np.concatenate(rows)
    noise = FLAT * (gene[:, None] == gene[None]) + LEVEL * np.eye(len(gene))
    design = np.zeros((len(gene), K))
    design[-len(rows[4]) :] = loadings[rows[4]]
    prior = freedom(covariances[4])
    total = design @ prior @ design.T + noise
    expected = prior @ design.T @ np.linalg.solve(total, np.concatenate(levels))
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_levels_are_freed_of_composition() -> None:
    rows, levels, _, loadings = problem()
    shifts = [np.full(K, 0.1 * i) for i in range(SETS)]
    composed = [y + loadings[r] @ z for r, y, z in zip(rows, levels, shifts)]
    plain, freed = (
        Levels.of(rows, given, moved, loadings)
        for given, moved in ((levels, [np.zeros(K)] * SETS), (composed, shifts))
    )
    np.testing.assert_allclose(freed.mean, plain.mean, atol=1e-12)
    np.testing.assert_array_equal(freed.count, np.bincount(np.concatenate(rows), minlength=G))


def test_a_gene_of_one_data_set_has_no_weight() -> None:
    rows, levels, covariances, loadings = problem()
    assert rows[3][-1] == G - 1
    before = solve_shifts(rows, levels, covariances, loadings)
    levels[3] = levels[3].copy()
    levels[3][-1] += 100
    np.testing.assert_allclose(solve_shifts(rows, levels, covariances, loadings), before, atol=1e-6)
    # nor a gene that only the new data set measures
    known = Levels.of(rows[:1], levels[:1], [np.zeros(K)], loadings)
    new = np.setdiff1d(np.arange(G), rows[0])
    alone = shift_of_new(new, np.full(len(new), 5.0), covariances[0], loadings, known)
    np.testing.assert_allclose(alone, 0, atol=1e-12)


def test_a_single_data_set_stays_where_it_is() -> None:
    rows, levels, covariances, loadings = problem()
    found = solve_shifts(rows[:1], levels[:1], covariances[:1], loadings)
    np.testing.assert_allclose(found, 0, atol=1e-12)


def test_the_order_of_data_sets_has_no_effect() -> None:
    rows, levels, covariances, loadings = problem(1)
    found = solve_shifts(rows, levels, covariances, loadings)
    order = [3, 0, 4, 2, 1]
    parts = ([given[i] for i in order] for given in (rows, levels, covariances))
    np.testing.assert_allclose(solve_shifts(*parts, loadings), found[order], atol=1e-7)


def test_equal_data_sets_get_equal_shifts() -> None:
    rows, levels, covariances, loadings = problem(2)
    parts = ([given[i] for i in (0, 0, 2, 3)] for given in (rows, levels, covariances))
    found = solve_shifts(*parts, loadings)
    np.testing.assert_allclose(found[0], found[1], atol=1e-7)


def test_platform_effects_gene_by_gene_move_little_and_composition_is_found() -> None:
    rng = np.random.default_rng(0)
    genes, loadings = np.arange(60), rng.normal(0, 0.7, (60, K))
    level, moved = rng.normal(1, 1, 60), np.array([1.0, -1.0, 0.5])
    everything, one_kind = np.eye(K), 0.1 * np.eye(K)
    platform = level + rng.normal(0, 0.3, 60)
    found = solve_shifts([genes, genes], [level, platform], [everything, everything], loadings)
    assert np.abs(found).max() < 0.2
    composed = [level, platform + loadings @ moved]
    found = solve_shifts([genes, genes], composed, [everything, one_kind], loadings)
    np.testing.assert_allclose(found[1] - found[0], moved, atol=0.25)


def test_covariance_of_factors_within_a_slice() -> None:
    rng = np.random.default_rng(0)
    loadings = rng.normal(0, 0.5, (40, K))
    loadings /= np.sqrt(1.25) * np.linalg.norm(loadings, axis=1, keepdims=True)  # variance 1, noise .2
    truth = np.diag([1.0, 1.0, 0.05])

    def moment(covariance: np.ndarray, noise: float) -> np.ndarray:
        z = rng.multivariate_normal(np.zeros(K), covariance, 5000)
        x = z @ loadings.T + rng.normal(0, np.sqrt(noise), (5000, 40))
        return x.T @ x

    found = within_covariance(moment(truth, 0.2), 5000, loadings)
    spread = np.linalg.eigvalsh(found)
    assert spread[0] < 0.15
    assert spread[1] > 0.8
    # noisy cells vary less along all factors alike, which is no composition
    noisy = within_covariance(moment(0.3 * np.eye(K), 0.8), 5000, loadings)
    np.testing.assert_allclose(np.diag(noisy), 1, atol=0.2)
    # without cells, a slice varies as the whole does
    np.testing.assert_allclose(within_covariance(np.zeros((40, 40)), 0, loadings), np.eye(K), atol=1e-6)
    # a slice that varies as the whole does is scaled as it is, one of one kind is not blown up
    np.testing.assert_allclose(relative_scale(np.eye(K), loadings, np.full(40, 0.2)), 1, atol=1e-6)
    assert relative_scale(0 * np.eye(K), loadings, np.full(40, 0.2)).max() < 0.5


def test_a_slice_that_varies_in_all_directions_may_hardly_move() -> None:
    np.testing.assert_allclose(freedom(np.eye(K)), FIXED * np.eye(K), atol=1e-12)
    np.testing.assert_allclose(freedom(2 * np.eye(K)), FIXED * np.eye(K), atol=1e-12)
    np.testing.assert_allclose(freedom(0 * np.eye(K)), (FREE + FIXED) * np.eye(K), atol=1e-12)


# Whole slices, simulated

GENES = [f"G{i:03d}" for i in range(100)]
TYPES, CELLS = 6, 900


class Tissue:
    """Types with expression of their own; sections see panels, and platforms have detection rates."""

    def __init__(self, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.profiles = np.exp(self.rng.normal(0, 1.2, (TYPES, len(GENES))))
        self.rates = {t: np.exp(self.rng.normal(0, 0.4, len(GENES))) for t in ("M", "X", "")}

    def section(
        self, platform: str, panel: np.ndarray, only: int | None = None
    ) -> tuple[sparse.csr_matrix, np.ndarray, list[str]]:
        types = self.rng.integers(0, TYPES, CELLS)
        if only is not None:
            types[:] = only
        mean = self.profiles[types] * self.rates[platform] * self.rng.gamma(5, 0.2, (CELLS, 1))
        counts = self.rng.poisson(mean)[:, panel].astype(np.float32)
        return log_normalize(sparse.csr_matrix(counts)), types, [GENES[j] for j in panel]


def joint(
    platform: str, only: int | None, *, composition: bool
) -> tuple[Factor, list[np.ndarray], list[np.ndarray], list[SliceSummary], tuple]:
    """A whole section, one that may be cut to a type, and the reference, with rows of both."""
    tissue = Tissue()
    panels = [np.sort(tissue.rng.choice(len(GENES), 50, replace=False)) for _ in range(2)]
    first, second = tissue.section("M", panels[0]), tissue.section(platform, panels[1], only)
    cells = tissue.section("", np.arange(len(GENES)))
    model = Factor(factors=8, composition=composition)
    parts = [model.summarize(s[0], s[2]) for s in (first, second)]
    model.fit(dict(zip("AB", parts)), model.summarize(cells[0], cells[2]))
    rows = [model.embed(s[0], s[2], state=p) for s, p in zip((first, second), parts)]
    return model, rows, [first[1], second[1]], parts, second


def own(rows: list[np.ndarray], types: list[np.ndarray]) -> float:
    near = nearest(rows[1], rows[0], 15).index
    return float((types[0][near] == types[1][:, None]).mean())


@pytest.mark.parametrize("platform", ["M", "X"])
def test_a_slice_of_one_type_lands_where_its_cells_belong(platform: str) -> None:
    shares = {}
    for composition in (False, True):
        found = [own(*joint(platform, kind, composition=composition)[1:3]) for kind in range(3)]
        shares[composition] = np.array(found)
    assert shares[True].min() > 0.85
    assert shares[False].mean() < 0.6
    assert shares[True].mean() > shares[False].mean() + 0.3


@pytest.mark.parametrize("platform", ["M", "X"])
def test_a_whole_slice_stays_where_it_was(platform: str) -> None:
    _, on, types, _, _ = joint(platform, None, composition=True)
    _, off, _, _, _ = joint(platform, None, composition=False)
    assert own(on, types) > own(off, types) - 0.02
    spread = np.sqrt(np.square(off[1] - off[1].mean(0)).sum(1).mean())
    assert np.linalg.norm(on[1].mean(0) - off[1].mean(0)) < 0.25 * spread


def test_a_saved_model_gives_slices_of_the_fit_identical_rows(tmp_path: Path) -> None:
    model, rows, _, parts, second = joint("X", 1, composition=True)
    model.save(tmp_path)
    loaded = Factor.load(tmp_path)
    assert loaded.config == model.config
    np.testing.assert_array_equal(loaded.levels.mean, model.levels.mean)
    np.testing.assert_array_equal(loaded.levels.count, model.levels.count)
    again = loaded.summarize(second[0], second[2])  # as projection makes it, from the cells alone
    np.testing.assert_array_equal(loaded.embed(second[0], second[2], state=again), rows[1])
    assert again.genes == parts[1].genes
    # what the fit found for all slices together is not what it would expect of a further one
    loaded.shifts.clear()
    assert np.abs(loaded.embed(second[0], second[2], state=again) - rows[1]).max() > 1e-3


def test_a_projected_slice_lands_as_one_of_the_fit_does() -> None:
    """Beside a whole slice and beside one of another type, whose composition is taken out of the levels."""
    tissue = Tissue(2)
    panel = np.arange(0, 100, 2)
    whole, cut, new = (tissue.section(t, panel, only) for t, only in (("M", None), ("X", 2), ("X", 0)))
    cells = tissue.section("", np.arange(len(GENES)))
    for fitted in ((whole,), (whole, cut)):
        model = Factor(factors=8)
        states = [model.summarize(s[0], s[2]) for s in fitted]
        model.fit(dict(zip("AB", states)), model.summarize(cells[0], cells[2]))
        rows = model.embed(whole[0], whole[2], state=states[0])
        projected = model.embed(new[0], new[2], state=model.summarize(new[0], new[2]))
        assert own([rows, projected], [whole[1], new[1]]) > 0.85
