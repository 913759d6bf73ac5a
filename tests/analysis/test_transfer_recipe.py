"""Label transfer as a whole against its recipe, cell by cell."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from sklearn.isotonic import IsotonicRegression

from lloki.analysis import transfer_labels

K, TYPES = 6, ("A", "B", "C")
NOVELTY = 0.03


@dataclass(frozen=True)
class Made:
    x: np.ndarray
    truth: np.ndarray
    labels: np.ndarray
    slices: np.ndarray


def made(seed: int = 0) -> Made:
    """Slices of three types; s is labeled, t in part, u not at all; of C there are few."""
    rng = np.random.default_rng(seed)
    centers = np.array([[3, 1, 0, 0.5], [0, 3, 1, 0.5], [1, 0, 3, 0.5]])
    parts = []
    for name, n, density in (("s", 160, 1.0), ("t", 150, 1.6), ("u", 90, 0.7)):
        kind = rng.choice(3, n, p=[0.45, 0.42, 0.13])
        x = centers[kind] + rng.normal(0, 0.9 * density, (n, 4)) + (name == "u") * 0.2
        parts.append((x, kind, np.full(n, name)))
    x, kind, slices = (np.concatenate(p) for p in zip(*parts))
    truth = np.array(TYPES)[kind]
    labels = np.where((slices == "s") | ((slices == "t") & (np.arange(len(x)) % 5 > 0)), truth, "")
    order = rng.permutation(len(x))
    return Made(x[order], truth[order], labels[order], slices[order])


def distances(x: np.ndarray) -> np.ndarray:
    unit = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32).astype(np.float64)
    return 1 - unit @ unit.T


def vote(d: np.ndarray, query: int, voters: list[int], labels: np.ndarray) -> tuple[str, float, float]:
    """Winner, its share of the votes, and mean distance to those who voted."""
    near = sorted(voters, key=lambda j: d[query, j])[:K]
    width = d[query, near[-1]]
    votes = dict.fromkeys(TYPES, 0.0)
    for j in near:
        votes[labels[j]] += np.exp(-0.5 * (d[query, j] / width) ** 2)
    best = max(TYPES, key=lambda t: votes[t])
    return best, votes[best] / sum(votes.values()), float(np.mean(d[query, near]))


def curve(share: np.ndarray, right: np.ndarray) -> IsotonicRegression:
    """Isotonic curve with a right and a wrong answer added at either end."""
    x, y = np.append(share, [0, 0, 1, 1]), np.append(right.astype(float), [0, 1, 0, 1])
    return IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(x, y)


@dataclass(frozen=True)
class Recipe:
    best: np.ndarray
    confidence: np.ndarray
    novelty: np.ndarray
    rows: np.ndarray  # that were left out
    given: np.ndarray  # type that the left-out cells got
    share: np.ndarray
    right: np.ndarray
    doubted: np.ndarray


def recipe(m: Made, threshold: float) -> Recipe:
    d, n = distances(m.x), len(m.x)
    home = np.empty(n)
    for i in range(n):
        mine = [j for j in range(n) if m.slices[j] == m.slices[i] and j != i]
        home[i] = np.mean(sorted(d[i, mine])[:K])
    labeled = [i for i in range(n) if m.labels[i]]
    rows, answers = [], []
    for name in ("s", "t"):
        rest = [j for j in labeled if m.slices[j] != name]
        for i in labeled:
            if m.slices[i] == name and m.labels[i] in set(m.labels[rest]):
                rows.append(i)
                answers.append(vote(d, i, rest, m.labels))
    rows = np.array(rows)
    given = np.array([a[0] for a in answers])
    share, far = (np.array([a[i] for a in answers]) for i in (1, 2))
    right, far = given == m.labels[rows], far**2 / home[rows]
    chance = curve(share, right)

    def usual(kind: str, distance: float) -> float:
        known = far[right & (given == kind)]
        known = known if len(known) >= 50 else far[right]
        return (1 + np.sum(known >= distance)) / (1 + len(known))

    best, confidence, novelty = m.labels.astype(object), np.full(n, np.nan), np.full(n, np.nan)
    for i in range(n):
        if not m.labels[i]:
            best[i], share_i, far_i = vote(d, i, labeled, m.labels)
            confidence[i] = chance.predict([share_i])[0]
            novelty[i] = usual(best[i], far_i**2 / home[i])
    doubted = (chance.predict(share) < threshold) | (
        np.array([usual(kind, f) for kind, f in zip(given, far)]) < NOVELTY
    )
    return Recipe(best, confidence, novelty, rows, given, share, right, doubted)


@pytest.fixture(scope="module")
def pair():
    m, threshold = made(), 0.8
    found = transfer_labels(
        m.x, m.labels, m.slices, method="neighbors", n_neighbors=K, threshold=threshold, novelty=NOVELTY
    )
    return m, threshold, found, recipe(m, threshold)


def test_types_confidence_and_novelty_are_those_of_the_recipe(pair):
    m, _, found, want = pair
    assert (found.best == want.best).all()
    np.testing.assert_allclose(found.confidence, want.confidence, atol=1e-4)
    np.testing.assert_allclose(found.novelty, want.novelty, atol=1e-9)
    assert found.left_out == "slices"
    np.testing.assert_array_equal(found.given, m.labels != "")
    # the case has both kinds of comparison: with a type's own cells, and with all where these are few
    counts = [np.sum(want.right & (want.given == t)) for t in TYPES]
    assert min(counts) < 50 < max(counts)


def test_a_cell_is_unknown_by_either_threshold_and_by_no_other(pair):
    m, threshold, found, want = pair
    unsure, novel = want.confidence < threshold, want.novelty < NOVELTY
    believed = ~unsure & ~novel | (m.labels != "")
    assert (found.labels == np.where(believed, want.best, "unknown")).all()
    assert (unsure & ~novel).any()
    assert (novel & ~unsure).any()
    assert (believed & (m.labels == "")).any()


def test_the_table_counts_left_out_cells(pair):
    m, _, found, want = pair
    table = found.table.set_index("type")
    assert table["n_tested"].sum() == len(want.rows)
    for t in TYPES:
        own, named = m.labels[want.rows] == t, want.given == t
        row = table.loc[t]
        assert row["n_labeled"] == np.sum(m.labels == t)
        assert row["n_slices"] == 2
        assert row["recall"] == pytest.approx(np.mean(want.right[own]))
        assert row["precision"] == pytest.approx(np.mean(want.right[named]))
        assert row["unknown"] == pytest.approx(np.mean(want.doubted[own]))


def test_the_reliability_of_a_slice_is_judged_by_the_other_slices(pair):
    m, _, found, want = pair
    of = m.slices[want.rows]
    chance = np.empty(len(of))
    for name in ("s", "t"):
        other = of != name
        chance[~other] = curve(want.share[other], want.right[other]).predict(want.share[~other])
    bins = np.minimum((chance * 10).astype(int), 9)
    gaps = [
        np.sum(bins == b) * abs(chance[bins == b].mean() - want.right[bins == b].mean())
        for b in np.unique(bins)
    ]
    assert found.error == pytest.approx(sum(gaps) / len(of), abs=1e-4)
    assert found.curve["n_cells"].tolist() == [int(np.sum(bins == b)) for b in np.unique(bins)]


def test_cells_that_are_not_usable_neither_vote_nor_count_as_neighbors():
    m = made(1)
    usable = np.random.default_rng(0).random(len(m.x)) < 0.8
    found = transfer_labels(m.x, m.labels, m.slices, n_neighbors=K, usable=usable)
    kept = transfer_labels(m.x[usable], m.labels[usable], m.slices[usable], n_neighbors=K)
    assert (found.labels[usable] == kept.labels).all()
    np.testing.assert_array_equal(found.confidence[usable], kept.confidence)
    np.testing.assert_array_equal(found.novelty[usable], kept.novelty)
    assert (found.labels[~usable] == "unknown").all()
    assert (found.confidence[~usable] == 0).all()


def test_novelty_is_measured_by_how_densely_a_cell_lies_at_home():
    """Of two groups as far off, the one that is dense at home is new, the loose one is not."""
    rng = np.random.default_rng(0)

    def around(angle: float, spread: float, n: int) -> np.ndarray:
        a = np.deg2rad(angle + rng.normal(0, spread, n))
        return np.column_stack([np.cos(a), np.sin(a)])

    known = [around(0, 6, 120) for _ in range(2)]
    dense, loose = around(24, 0.3, 60), around(24, 9, 60)
    x = np.concatenate([*known, dense, loose])
    slices = np.repeat(["a", "b", "dense", "loose"], [120, 120, 60, 60])
    labels = np.where(np.isin(slices, ["a", "b"]), "A", "")
    found = transfer_labels(x, labels, slices, n_neighbors=10)
    means = [found.novelty[slices == name].mean() for name in ("dense", "loose")]
    assert means[0] < 0.02
    assert means[1] > 0.05
