"""Linear models on units: parity with plain least squares, moderation, and other labelings of the units."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from lloki.compare import Compared, Design, SliceFacts, adjust_tables, compare_conditions, identify, moderate
from lloki.compare.linear import _patterns, _spread
from lloki.compare.multiplicity import benjamini_hochberg, evidence_of_rows


def design(*rows: str) -> Design:
    """Make a design of ``"donor condition technology"``, with the control ``h``."""
    facts = [SliceFacts(f"s{i:02d}", *row.split(), "") for i, row in enumerate(rows)]
    return Design.of(facts, "h")


def donors(n: int, technologies: str = "A") -> Design:
    """n donors a side, each on all technologies."""
    return design(*(f"{c}{i} {c} {t}" for c in "hd" for i in range(n) for t in technologies))


MIXED = design(
    *(
        f"{c}{i} {c} {t}"
        for t, n in (("A", (4, 2)), ("B", (2, 3)))
        for c, k in zip("hd", n)
        for i in range(k)
    ),
    *(f"x{i} x {t}" for i in range(3) for t in "AB"),
    *(f"{c}{i} {c} C" for c in "hd" for i in range(5, 8)),
)


@pytest.mark.filterwarnings("ignore:The design matrix is rank-deficient")
@pytest.mark.parametrize("other", ["d", "x"])
def test_a_difference_is_that_of_weighted_least_squares(other):
    sm = pytest.importorskip("statsmodels.api")
    rng, d = np.random.default_rng(0), MIXED
    n = len(d.unit)
    y, v = rng.normal(0, 1, (n, 3)), rng.uniform(0.5, 2, (n, 3))
    mask = np.ones((n, 3), bool)
    mask[d.token == "C", 1] = False
    for p in _patterns(mask, d, other, adjust=True):
        own = np.ix_(p.rows, p.features)
        w = 1 / v[own]
        unit, condition = d.unit[p.rows], d.condition[p.rows]
        effect, precision, squares = p.differences(y[own], w, (d.condition == other)[None, p.rows])
        there = [c for c in "dx" if (condition == c).any()]
        panels = [d.token[p.rows] == t for t in np.unique(d.token[p.rows])]
        x = np.column_stack([*panels, *(condition == c for c in there)]).astype(float)
        at = len(panels) + there.index(other)
        units = (unit[:, None] == np.unique(unit)).astype(float)
        for j in range(len(p.features)):
            plain = sm.WLS(y[own][:, j], x, weights=w[:, j]).fit()
            both = sm.WLS(y[own][:, j], np.hstack([x, units]), weights=w[:, j]).fit()
            assert effect[0, j] == pytest.approx(plain.params[at])
            variance = plain.cov_params()[at, at] / plain.scale
            assert precision[0, j] == pytest.approx(1 / variance)
            # the part of the residual sum of squares that units explain
            assert squares[0, j] == pytest.approx(plain.ssr - both.ssr)
            assert p.df == plain.df_resid - both.df_resid


def test_correlated_observations_of_a_donor_are_generalized_least_squares():
    rng, d = np.random.default_rng(1), donors(4, "ABC")
    n = len(d.unit)
    donor = dict(zip(np.unique(d.unit), rng.normal(0, 1, (8, 40))))
    y = np.array([donor[u] for u in d.unit]) + rng.normal(0, 0.5, (n, 40))
    v = rng.uniform(0.05, 0.2, (n, 40))
    (p,) = _patterns(np.ones(y.shape, bool), d, "d", adjust=True)
    spread = _spread(y, v, d, [p])
    assert p.whiten is not None
    w = 1 / (spread[:, None] + v)
    effect, precision, _ = p.differences(y, w, (d.condition == "d")[None])
    correlation = np.linalg.inv(p.whiten.T @ p.whiten)
    assert correlation[0, 1] == pytest.approx(0.8, abs=0.15)
    x = np.column_stack([*(d.token == t for t in "ABC"), d.condition == "d"]).astype(float)
    for j in (0, 7):
        inverse = np.linalg.inv(correlation / np.sqrt(w[:, j][:, None] * w[:, j]))
        gram = np.linalg.inv(x.T @ inverse @ x)
        assert effect[0, j] == pytest.approx((gram @ x.T @ inverse @ y[:, j])[-1])
        assert precision[0, j] == pytest.approx(1 / gram[-1, -1])


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10_000), st.booleans(), st.booleans())
def test_other_labelings_give_what_a_comparison_of_them_would(seed, relative, repeated):
    rng, d = np.random.default_rng(seed), donors(4, "AB" if repeated else "A")
    y, v = rng.normal(0, 1, (len(d.unit), 15)), rng.uniform(0.1, 1, (len(d.unit), 15))
    mask = np.ones(y.shape, bool)
    mask[0, :4] = False
    labels = d.relabel("d", adjust=True, most=10, seed=seed)
    found = compare_conditions(y, v, mask, d, relative=relative, labels={"d": labels})
    i = int(rng.integers(1, len(labels)))
    other = Design(d.slices, "h", d.observation, d.unit, d.token, np.where(labels[i], "d", "h"))
    alone = compare_conditions(y, v, mask, other, relative=relative)
    np.testing.assert_allclose(found.relabeled["d"][i], alone.relabeled["d"][0], rtol=1e-6)
    np.testing.assert_allclose(found.relabeled["d"][0], found.table["p_value"], rtol=1e-6)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.floats(0, 2), st.booleans())
def test_moderated_variances_lie_between_their_own_and_the_common_one(seed, scatter, limit):
    rng = np.random.default_rng(seed)
    df = rng.choice([3.0, 6.0], 60)
    s2 = np.exp(rng.normal(0, scatter, 60)) * rng.chisquare(df) / df
    shrunk, total = moderate(s2, df, limit_prior=limit)
    order = np.argsort(s2[df == 6])
    assert (np.diff(shrunk[df == 6][order]) > -1e-9).all()  # the order of variances stays
    assert shrunk.min() >= s2.min() - 1e-9
    assert shrunk.max() <= s2.max() + 1e-9
    assert (total >= df).all()
    assert (total <= df + np.median(df) * (1 if limit else 3) + 1e-9).all()
    both, twice = moderate(np.stack([s2, s2[::-1]]), df, limit_prior=limit)
    np.testing.assert_allclose(both[0], shrunk)  # rows do not know of each other
    np.testing.assert_allclose(twice[0], total)
    np.testing.assert_allclose(moderate(7 * s2, df, limit_prior=limit)[0], 7 * shrunk, rtol=1e-6)


def test_donors_never_vary_less_than_their_counts_do():
    rng, d = np.random.default_rng(0), donors(4)
    v = np.full((8, 30), 0.5)
    y = np.round(rng.normal(0, 0.01, (8, 30)), 3)  # far less than the counts can tell
    found = compare_conditions(y, v, np.ones(y.shape, bool), d).table
    assert (found["se"] >= 0.99 * np.sqrt(0.5 / 4 + 0.5 / 4)).all()


def test_units_are_exchanged_within_the_panels_that_measured_them():
    d = design(
        *(f"{c}{i} {c} {t}" for t, n in (("A", 3), ("B", 2)) for c in "hd" for i in range(n * 10, n * 11))
    )
    labels = d.relabel("d", adjust=True, most=500, seed=0)
    np.testing.assert_array_equal(labels[0], d.condition == "d")
    assert len(labels) == len(np.unique(labels, axis=0)) == 20 * 6
    for token, n in (("A", 3), ("B", 2)):
        assert (labels[:, d.token == token].sum(axis=1) == n).all()
    drawn = d.relabel("d", adjust=True, most=30, seed=1)
    np.testing.assert_array_equal(drawn, d.relabel("d", adjust=True, most=30, seed=1))
    np.testing.assert_array_equal(drawn[0], labels[0])
    assert len(drawn) == 31
    assert (drawn[:, d.token == "A"].sum(axis=1) == 3).all()
    assert len(d.relabel("d", adjust=False, most=500, seed=0)) == 252


def test_donors_are_exchanged_whole_and_only_where_both_conditions_are():
    partly = design(
        *(f"h{i} h {t}" for i in range(4) for t in "AB"), *(f"d{i} d {t}" for i in range(4) for t in "BC")
    )
    labels = partly.relabel("d", adjust=True, most=500, seed=0)
    assert len(labels) == 70
    assert not labels[:, partly.token != "B"].any()
    whole = donors(3, "AB")
    for row in whole.relabel("d", adjust=True, most=500, seed=0):
        assert all(len(set(row[whole.unit == u])) == 1 for u in whole.unit)
    bridged = design(*(f"h{i} h A" for i in range(4)), *(f"d{i} d B" for i in range(4)), "x1 x A", "x1 x B")
    assert len(bridged.relabel("d", adjust=True, most=500, seed=0)) == 1


@pytest.mark.parametrize(("n", "smallest", "said"), [(3, 0.1, True), (4, 2 / 70, False)])
def test_too_few_ways_to_divide_the_units_are_said(n, smallest, said):
    (found,) = identify(donors(n), 3)
    assert found.smallest_q == pytest.approx(smallest)
    assert ("ways to divide units" in found.text) == said
    assert identify(donors(n), 3, n_relabelings=0)[0].smallest_q == 0


@settings(max_examples=40, deadline=None)
@given(st.lists(st.one_of(st.floats(1e-6, 1), st.just(np.nan)), min_size=1, max_size=25))
def test_evidence_is_that_of_adjusted_values(p):
    q = benjamini_hochberg(p)
    largest, total = evidence_of_rows(np.array([p, p[::-1]]))
    known = -np.log(q[np.isfinite(q)])
    np.testing.assert_allclose(largest, known.max(initial=0.0), atol=1e-9)
    np.testing.assert_allclose(total, known.sum(), atol=1e-9)


def findings(p: np.ndarray, rows: list[int], floor: float = 0.0) -> bool:
    """Whether the first of some labelings has a finding beside the others."""
    table = pd.DataFrame({"p_value": p[rows[0]], "condition": "d"})
    return bool(
        (
            adjust_tables({"x": Compared(table, {"d": p[rows]})}, 0.05, {"d": floor})["x"]["q_value"] <= 0.05
        ).any()
    )


def test_groups_of_alike_units_are_no_finding():
    """Anterior and posterior sections: one division of the units is extreme in all features at once."""
    rng, d = np.random.default_rng(0), donors(4)
    level = np.repeat([0.0, 1.0], 4)[rng.permutation(8)]
    y = level[:, None] * rng.normal(0, 2, 60) + rng.normal(0, 0.3, (8, 60))
    labels = d.relabel("d", adjust=True, most=500, seed=0)
    p = compare_conditions(
        y, np.full(y.shape, 0.01), np.ones(y.shape, bool), d, labels={"d": labels}
    ).relabeled["d"]
    every = list(range(len(p)))
    alone = np.mean([findings(p, [i]) for i in every])
    beside = np.mean([findings(p, [i, *every[:i], *every[i + 1 :]]) for i in every])
    assert 0 < beside <= 0.05
    assert alone >= beside


def test_a_real_difference_stands_against_all_other_labelings():
    rng, d = np.random.default_rng(0), donors(4)
    y = rng.normal(0, 0.2, (8, 200))
    y[d.condition == "d", :10] += 1.5
    labels = {"d": d.relabel("d", adjust=True, most=500, seed=0)}
    found = compare_conditions(y, np.full(y.shape, 0.01), np.ones(y.shape, bool), d, labels=labels)
    q = adjust_tables({"x": found}, 0.05, {"d": 2 / 70})["x"]["q_value"].to_numpy()
    assert (q[:10] <= 0.05).all()
    assert (q >= 2 / 70).all()
    assert (q[10:] <= 0.05).sum() <= 3
    bridged = adjust_tables({"x": Compared(found.table, {"d": found.relabeled["d"][:1]})}, 0.05, {"d": 1.0})
    assert (bridged["x"]["q_value"] == 1).all()


def test_a_table_without_a_difference_is_guarded_beside_one_with_some():
    p = np.random.default_rng(0).uniform(0.2, 1, (40, 30))
    p[0, :3] = 1e-9
    q = np.random.default_rng(1).uniform(0.2, 1, (40, 30))
    q[0, 0], q[1:, 0] = 1e-4, 1e-5  # significant, but less so than with other labels
    tables = {
        name: Compared(pd.DataFrame({"p_value": own[0], "condition": "d"}), {"d": own})
        for name, own in (("real", p), ("none", q))
    }
    found = adjust_tables(tables, 0.05)
    assert (found["real"]["q_value"] <= 0.05).sum() == 3
    assert not (found["none"]["q_value"] <= 0.05).any()


def test_all_tables_together_are_guarded():
    p = np.random.default_rng(0).uniform(0.2, 1, (40, 30))
    p[0, :5] = 1e-4  # more evidence in sum than with any other labels,
    p[1:, 0] = 1e-6  # but not in the smallest value
    table = pd.DataFrame({"p_value": p[0], "condition": "d"})
    assert adjust_tables({"x": Compared(table, {"d": p})}, 0.05)["x"]["q_value"].min() == 1


def test_conditions_are_families_of_their_own():
    p = np.array([1e-4, 0.5, 0.6, 0.9])
    table = pd.DataFrame({"p_value": np.tile(p, 2), "condition": np.repeat(["d", "e"], 4)})
    table.loc[4:, "p_value"] = 0.7
    q = adjust_tables({"x": Compared(table, {"d": p[None], "e": np.full((1, 4), 0.7)})}, 0.05)["x"]["q_value"]
    assert q[0] == pytest.approx(1e-4 * 4 * 2)  # two families, one with evidence


def test_all_pairs_of_sections_by_hand():
    d, y = donors(3), np.random.default_rng(0).normal(0, 1, (6, 4))
    labels = d.relabel("d", adjust=True, most=500, seed=0)
    p = compare_conditions(y, np.full(y.shape, 1e-9), np.ones(y.shape, bool), d, labels={"d": labels})
    ways = {tuple(np.flatnonzero(row)): own for row, own in zip(labels, p.relabeled["d"])}
    for way in itertools.combinations(range(6), 3):
        rest = [i for i in range(6) if i not in way]
        np.testing.assert_allclose(ways[way], stats.ttest_ind(y[list(way)], y[rest]).pvalue, rtol=1e-5)
