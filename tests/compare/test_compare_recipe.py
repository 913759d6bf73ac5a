"""The statistics of a comparison: designs, linear models, false discovery, counts."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from lloki.compare import (
    Compared,
    Design,
    SliceFacts,
    adjust_tables,
    benjamini_hochberg,
    compare_conditions,
    identify,
    moderate,
)
from lloki.compare.counts import library_sizes, log_rates
from lloki.compare.evidence import rank_evidence
from lloki.compare.neighborhood import contacts, distances
from lloki.errors import InputError


def design(*rows: str, control: str = "h") -> Design:
    """Make a design of ``"donor condition technology"``."""
    facts = []
    for i, row in enumerate(rows):
        donor, condition, technology = row.split()
        facts.append(SliceFacts(f"s{i:02d}", donor, condition, technology, ""))
    return Design.of(facts, control)


def two_sides(n: int, technologies: str = "A") -> Design:
    """n donors a side, each on all technologies."""
    return design(*(f"{c}{i} {c} {t}" for c in "hd" for i in range(n) for t in technologies))


def fit(d: Design, y: np.ndarray, **options: bool) -> pd.DataFrame:
    return compare_conditions(y, np.full(y.shape, 1e-9), np.ones(y.shape, bool), d, **options).table


@pytest.mark.parametrize(
    ("rows", "apart", "units"),
    [
        (["a h A", "b h A", "c d A", "e d A"], True, (2, 2)),
        (["a h A", "b h A", "c d B", "e d B"], False, (2, 2)),  # condition is the instrument
        (["a h A", "b h A", "b h B", "c d B"], True, (1, 1)),  # b was measured with both, beside c
        (["a h A", "b x A", "b x B", "c d B"], True, (1, 1)),  # b links the panels, of a third condition
        (["a h A", "b h B", "c d C", "e d D"], False, (2, 2)),
        (["a h A", "b d A", "c d B"], True, (1, 1)),  # B has no control
    ],
)
def test_confounding_is_found_by_the_rank_of_the_design(rows, apart, units):
    (found,) = (i for i in identify(design(*rows), 3) if i.condition == "d")
    assert found.apart == apart
    assert (found.n_control, found.n_condition) == units
    assert f"of h and {units[1]} of d, where 3 of each are needed" in found.text
    assert ("cannot be distinguished" in found.text) == (not apart)


def test_a_bridge_recovers_a_difference_over_two_panels():
    rows = [f"h{i} h A" for i in range(3)] + [f"d{i} d B" for i in range(3)]
    rows += [f"x{i} x {t}" for i in range(3) for t in "AB"]
    d = design(*rows)
    value = {"A": 0.0, "B": 5.0, "h": 0.0, "d": 1.0, "x": -2.0}
    y = np.array([[value[t] + value[c]] for t, c in zip(d.token, d.condition)])
    found = fit(d, y + np.random.default_rng(0).normal(0, 1e-3, y.shape)).set_index("condition")
    assert found.loc["d", "effect"] == pytest.approx(1.0, abs=0.01)
    assert found.loc["d", "n_units"] >= 6
    table = d.table(np.ones(len(d.slices), int)).set_index(["condition", "technology"])
    assert table.loc[("h", "A"), "role"] == "compared"


def test_a_difference_within_one_panel_is_students_t_test():
    y = np.random.default_rng(0).normal(0, 1, (10, 4))
    d = two_sides(5)
    found = fit(d, y)  # four features keep their own variances
    sides = [y[d.condition == c] for c in "dh"]
    wanted = stats.ttest_ind(*sides)
    np.testing.assert_allclose(found["p_value"], wanted.pvalue, rtol=1e-6)
    low, high = wanted.confidence_interval(0.95)
    np.testing.assert_allclose(found[["low", "high"]], np.stack([low, high], axis=1), rtol=1e-6)


def test_instruments_that_differ_are_no_difference_between_conditions():
    d = design(
        *(
            f"{c}{t}{i} {c} {t}"
            for t, n in (("A", (4, 2)), ("B", (2, 4)))
            for c, k in zip("hd", n)
            for i in range(k)
        )
    )
    y = np.where(d.token == "B", 10.0, 0.0)[:, None] + np.random.default_rng(1).normal(0, 0.1, (12, 3))
    assert (fit(d, y)["effect"].abs() < 0.3).all()
    assert (fit(d, y, adjust=False)["effect"].abs() > 2).all()


def test_slices_of_a_donor_are_no_replicates():
    rng = np.random.default_rng(0)
    d = two_sides(4, "ABC")
    donor = dict(zip(np.unique(d.unit), rng.normal(0, 1, (8, 3000))))
    y = np.array([donor[u] for u in d.unit]) + rng.normal(0, 0.1, (24, 3000))
    p = fit(d, y)["p_value"]
    assert (p < 0.05).mean() < 0.07
    assert (p < 0.05).mean() > 0.02
    alone = d.unit.copy()
    naive = Design(
        d.slices,
        "h",
        d.observation,
        np.array([f"{u}{t}" for u, t in zip(alone, d.token)]),
        d.token,
        d.condition,
    )
    assert (fit(naive, y)["p_value"] < 0.05).mean() > 0.2  # what the donors guard against


@pytest.mark.parametrize("n", [3, 4, 6])
@pytest.mark.parametrize("spread", [0.0, 1.0])
def test_tests_keep_their_level_with_few_units(n, spread):
    rng = np.random.default_rng(n)
    d = two_sides(n)
    sd = np.exp(rng.normal(0, spread / 2, 4000))
    y = rng.normal(0, 1, (2 * n, 4000)) * sd
    for limit in (True, False):
        p = fit(d, y, limit_prior=limit)["p_value"]
        assert (p < 0.05).mean() < 0.06
        assert (p < 0.001).mean() < 0.003
        assert (p < 0.05).mean() > 0.02


def test_few_units_give_effects_without_tests():
    y = np.random.default_rng(0).normal(0, 1, (4, 20))
    found = fit(two_sides(2), y)
    assert found["p_value"].isna().all()
    assert found["low"].isna().all()
    np.testing.assert_allclose(found["effect"], y[2:].mean(0) * -1 + y[:2].mean(0), rtol=1e-6)


def test_panels_that_disagree_are_named():
    d = design(*(f"{c}{t}{i} {c} {t}" for t in "AB" for c in "hd" for i in range(4)))
    rng = np.random.default_rng(0)
    y = rng.normal(0, 0.1, (16, 2))
    y[(d.token == "A") & (d.condition == "d"), 0] += 1.0
    y[d.condition == "d", 1] += 0.5
    found = fit(d, y)
    assert found["heterogeneity_p"][0] < 1e-3 < found["heterogeneity_p"][1]
    np.testing.assert_allclose([float(v) for v in found["panel_effects"][0].split(";")], [1, 0], atol=0.2)


def test_variances_are_shrunk_toward_each_other():
    rng = np.random.default_rng(0)
    true = 0.5 * 8 / rng.chisquare(8, 20_000)
    s2 = true * rng.chisquare(6, 20_000) / 6
    shrunk, df = moderate(s2, np.full(20_000, 6.0), limit_prior=False)
    assert np.median(df) == pytest.approx(14, abs=1)
    assert np.mean((np.log(shrunk) - np.log(true)) ** 2) < 0.6 * np.mean((np.log(s2) - np.log(true)) ** 2)
    assert moderate(s2, np.full(20_000, 6.0))[1][0] <= 12
    s2[0] = 1000.0
    shrunk, df = moderate(s2, np.full(20_000, 6.0), limit_prior=False)
    assert shrunk[0] > 990  # a variance like no other is believed
    assert df[0] < 6.1
    np.testing.assert_array_equal(moderate(s2[:5], np.full(5, 6.0))[0], s2[:5])


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_q_values_follow_the_definition(p):
    p = np.array([*p, np.nan])
    q = benjamini_hochberg(p)
    n = len(p) - 1
    for value, own in zip(p[:-1], q):
        wanted = min([1.0] + [x * n / (p[:-1] <= x).sum() for x in p[:-1] if x >= value])
        assert own == pytest.approx(wanted)
    assert np.isnan(q[-1])


def families(p: np.ndarray, relabeled: np.ndarray | None = None) -> Compared:
    """A table of p-values, and those of other labelings below the observed ones."""
    rows = p[None] if relabeled is None else np.vstack([p, relabeled])
    return Compared(pd.DataFrame({"p_value": p, "condition": "d"}), {"d": rows})


def test_any_finding_in_any_table_is_as_rare_as_alpha():
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(600):
        tables = {str(i): families(rng.uniform(size=20)) for i in range(4)}
        hits += any((t["q_value"] <= 0.05).any() for t in adjust_tables(tables, 0.05).values())
    assert hits / 600 < 0.075
    strong = {str(i): families(np.array([1e-9, 0.5])) for i in range(4)}
    assert adjust_tables(strong, 0.05)["0"]["q_value"][0] == pytest.approx(2e-9)
    one = {**strong, **{str(i): families(np.array([0.5, 0.6])) for i in (1, 2, 3)}}
    assert adjust_tables(one, 0.05)["0"]["q_value"][0] == pytest.approx(8e-9)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1000))
def test_counts_at_one_rate_have_one_logarithm_whatever_the_depth(seed):
    rng = np.random.default_rng(seed)
    d = two_sides(4)
    totals = np.array([200.0, 400, 800, 1600, 200, 400, 800, 1600])
    counts = rng.poisson(totals[:, None] * 0.1, (8, 2000)).astype(float)
    y, v, mask = log_rates(counts, totals, np.ones(counts.shape, bool), d, min_count=10)
    assert mask.all()
    np.testing.assert_allclose(y.mean(axis=1), np.log2(0.1), atol=0.03)  # no bias by depth
    np.testing.assert_allclose(y.var(axis=1) / v.mean(axis=1), 1, atol=0.25)
    assert not log_rates(counts, totals, np.ones(counts.shape, bool), d, min_count=100)[2].any()


def test_one_gene_of_a_small_panel_does_not_move_the_others():
    rng = np.random.default_rng(0)
    d = two_sides(4)
    counts = rng.poisson(100, (8, 12)).astype(float)
    counts[d.condition == "d", 0] *= 20
    sizes = library_sizes(counts, np.ones(counts.shape, bool), np.ones(8, bool), d, min_count=10)
    assert sizes[d.condition == "d"].mean() / sizes[d.condition == "h"].mean() == pytest.approx(1, abs=0.05)


def test_contacts_are_those_of_shuffled_types_on_average():
    rng = np.random.default_rng(0)
    xy, code = rng.uniform(0, 1, (200, 2)), rng.integers(-1, 3, 200)
    seen, expected = contacts(xy, code, 3, 6)
    np.testing.assert_array_equal(seen, seen.T)
    mean, known = np.zeros((3, 3)), np.flatnonzero(code >= 0)
    for _ in range(300):
        shuffled = code.copy()
        shuffled[known] = code[rng.permutation(known)]
        mean += contacts(xy, shuffled, 3, 6)[0] / 300
    np.testing.assert_allclose(mean, expected, rtol=0.05)
    near = np.argsort(np.linalg.norm(xy[:, None] - xy, axis=2), axis=1)[:, 1:7]
    by_hand = sum(
        (code[i] == 0) * (code[j] == 1) + (code[i] == 1) * (code[j] == 0) for i in range(200) for j in near[i]
    )
    assert seen[0, 1] == by_hand


def test_distances_do_not_depend_on_the_unit_of_positions():
    rng = np.random.default_rng(0)
    xy, code = rng.uniform(0, 100, (300, 2)), rng.integers(0, 3, 300)
    code[np.linalg.norm(xy - 50, axis=1) < 20] = 0
    mean, _, cells = distances(xy, code, 3, 5)
    np.testing.assert_allclose(distances(xy * 0.138 + 7, code, 3, 5)[0], mean, atol=1e-9)
    assert cells[0, 1] == (code == 0).sum()
    far = np.where(code == 1, np.linalg.norm(xy[:, None] - xy, axis=2), np.inf)
    np.fill_diagonal(far, np.inf)
    logs = np.log2(far.min(axis=1))
    assert mean[0, 1] == pytest.approx(logs[code == 0].mean() - logs.mean())


def test_distances_do_not_change_when_other_types_replace_cells_at_random():
    rng = np.random.default_rng(0)
    xy = rng.uniform(0, 100, (6000, 2))
    code = np.where(xy[:, 0] < 50, 0, 1)
    code[rng.random(6000) < 0.05] = 2
    before = distances(xy, code, 3, 5)[0]
    code[rng.random(6000) < 0.2] = 2
    np.testing.assert_allclose(distances(xy, code, 3, 5)[0], before, atol=0.15)


@pytest.mark.parametrize(
    ("rows", "control", "message"),
    [
        (["a h A", "a d A"], "h", "donor 'a' is in two conditions"),
        (["a h A", "b d A"], "x", "no slice has the condition 'x'"),
        (["a h A", "b h A"], "h", "all slices have the condition"),
    ],
)
def test_designs_that_cannot_be_are_refused(rows, control, message):
    with pytest.raises(InputError, match=message):
        design(*rows, control=control)


def test_the_order_of_slices_is_no_matter():
    facts = [SliceFacts(f"s{i}", f"d{i % 4}", "hd"[i % 2], "AB"[i // 4], "") for i in range(8)]
    one, other = Design.of(facts, "h"), Design.of(facts[::-1], "h")
    np.testing.assert_array_equal(one.unit, other.unit)
    np.testing.assert_array_equal(one.observation, other.observation)


@pytest.mark.parametrize(
    ("panels", "effects", "strength"),
    [
        ("A;B", "0.9;1.1", "strong"),
        ("A;B", "1.9;-0.2", "moderate"),  # one technology is against it
        ("A;B", "1.0;nan", "moderate"),  # one technology has one condition
        ("A;A2", "0.9;1.1", "moderate"),  # two panels of one technology
    ],
)
def test_strong_evidence_is_that_of_technologies_that_agree(panels, effects, strength):
    row = {"type": "t", "gene": "g", "effect": 1.0, "low": 0.5, "high": 1.5, "q_value": 0.01, "n_units": 8}
    row |= {"condition": "d", "panels": panels, "panel_effects": effects, "heterogeneity_p": 0.5}
    row |= {"source": "t", "spill_over": ""}
    found = rank_evidence({"expression": pd.DataFrame([row])}, 0.05, {"A": "one", "A2": "one", "B": "two"})
    assert list(found["strength"]) == [strength]
    unsure = pd.DataFrame([row | {"spill_over": "unknown", "source": "u"}])
    found = rank_evidence({"expression": unsure}, 0.05, {"A": "one", "A2": "one", "B": "two"})
    assert list(found["strength"]) == ["moderate"]
    flagged = pd.DataFrame([row | {"spill_over": "neighbors", "source": "u"}])
    weak = rank_evidence({"expression": flagged}, 0.05, {"A": "one", "A2": "one", "B": "two"})
    assert list(weak["strength"]) == ["weak"]
    assert "u, which expresses the gene most" in weak["would_refute"][0]
