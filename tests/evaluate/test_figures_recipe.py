"""Figures of an integration against their definitions, and what the table of them compares with what."""

from __future__ import annotations

import numpy as np
import pytest

from lloki.evaluate import (
    effective_dimensions,
    mixing,
    preservation,
    purity,
    quality,
    scored_cells,
    stratified,
    transfer_accuracy,
)


def made(seed: int, sizes: tuple[int, ...] = (60, 35, 45)) -> tuple[np.ndarray, ...]:
    """Slices of unequal size, the first two of one batch; some cells without a label."""
    rng = np.random.default_rng(seed)
    slices = np.repeat(["s0", "s1", "s2"], sizes)
    tokens = np.where(slices == "s2", "other", "one")
    kind = rng.integers(3, size=len(slices))
    x = np.eye(3, 5)[kind] + 1.3 * rng.random((len(slices), 5)) + 0.3 * (slices == "s2")[:, None]
    labels = np.where(rng.random(len(slices)) < 0.15, "", np.array(["a", "b", "c"])[kind])
    order = rng.permutation(len(slices))
    return x[order], labels[order], slices[order], tokens[order]


def nearest(x: np.ndarray, k: int) -> np.ndarray:
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    similar = unit @ unit.T
    np.fill_diagonal(similar, -np.inf)
    return np.argsort(-similar, axis=1)[:, : min(k, len(x) - 1)]


@pytest.mark.parametrize("k", [3, 15])
def test_purity_is_the_share_of_neighbors_of_the_own_type(k):
    x, labels, slices, _ = made(0)
    known = labels != ""
    y, types, where = x[known], labels[known], slices[known]
    within = []
    for s in np.unique(where):
        rows = np.flatnonzero(where == s)
        near = nearest(y[rows], k)
        within += [np.mean(types[rows][near[i]] == types[rows][i]) for i in range(len(rows))]
    hits, total = 0, 0
    for i, near in enumerate(nearest(y, k)):
        for j in near:
            if where[j] != where[i]:
                hits, total = hits + (types[j] == types[i]), total + 1
    assert purity(x, labels, slices, n_neighbors=k) == pytest.approx((np.mean(within), hits / total))


def test_the_table_compares_each_embedding_with_the_one_before_alignment():
    before, labels, slices, tokens = made(1)
    after = before + 0.25 * np.random.default_rng(5).normal(size=before.shape)
    table = quality(before, after, slices=slices, tokens=tokens, labels=labels).set_index("embedding")
    first, second = table.loc["X_lloki_fp"], table.loc["X_lloki"]
    pure = [purity(x, labels, slices) for x in (before, after)]
    for row, x, (within, across) in zip((first, second), (before, after), pure):
        assert row["mixing"] == pytest.approx(mixing(x, tokens))
        assert row["preservation"] == pytest.approx(preservation(before, x, slices))
        assert row["dimensions"] == pytest.approx(effective_dimensions(x))
        assert row["types_kept"] == pytest.approx(within / pure[0][0])
        assert row["like_with_like"] == pytest.approx(across / within)
        accuracy, f1 = transfer_accuracy(x, labels, slices)
        assert row["transfer_accuracy"] == pytest.approx(accuracy)
        assert row["transfer_macro_f1"] == pytest.approx(f1)
        assert row["cells"] == len(before)
    assert first["preservation"] == 1
    assert second["preservation"] < 0.95
    # batches are no slices here, so that one cannot stand in for the other
    assert mixing(after, slices) != pytest.approx(mixing(after, tokens))


def test_mixing_and_preservation_are_means_over_groups_not_over_cells():
    """A large slice is shuffled, a small one, in the middle of everything, is kept."""
    rng = np.random.default_rng(0)
    slices = np.repeat(["large", "small"], [300, 30])
    x = 1.5 + rng.normal(size=(330, 6)) * np.where(slices == "small", 0.3, 1.0)[:, None]
    y = x.copy()
    y[:300] = x[rng.permutation(300)]
    found = preservation(x, y, slices, n_neighbors=5)
    alone = [
        preservation(x[slices == s], y[slices == s], slices[slices == s], n_neighbors=5)
        for s in ("large", "small")
    ]
    assert found == pytest.approx(np.mean(alone))
    assert alone[1] == 1
    assert found > 0.5
    near = nearest(x, 4)
    of = [np.mean(slices[near[slices == s]] != s) / (1 - np.mean(slices == s)) for s in ("large", "small")]
    assert mixing(x, slices, n_neighbors=4) == pytest.approx(np.mean(of))
    assert abs(of[0] - of[1]) > 0.1


def test_a_sample_is_drawn_by_the_seed_and_is_what_figures_are_computed_from():
    x, labels, slices, tokens = made(2, sizes=(200, 120, 90))
    after = x + 0.2
    how = {"slices": slices, "tokens": tokens, "labels": labels, "n_cells": 150}
    rows = np.sort(stratified(slices, 150, seed=4))
    table = quality(x, after, **how, seed=4).iloc[1]
    assert table["cells"] == len(rows) == 150
    assert table["mixing"] == pytest.approx(mixing(after[rows], tokens[rows]))
    assert table["preservation"] == pytest.approx(preservation(x[rows], after[rows], slices[rows]))
    accuracy, _ = transfer_accuracy(after[rows], labels[rows], slices[rows])
    assert table["transfer_accuracy"] == pytest.approx(accuracy)
    assert [np.sum(slices[rows] == s) for s in ("s0", "s1", "s2")] == [50, 50, 50]
    other = stratified(slices, 150, seed=5)
    assert set(other) != set(rows)
    # cells that metrics are computed from are drawn the same way
    scored = [set(scored_cells(labels, slices, n_cells=90, seed=s)) for s in (0, 0, 1)]
    assert scored[0] == scored[1] != scored[2]


def test_labels_are_carried_by_weighted_votes_between_all_pairs_of_slices():
    x, labels, slices, _ = made(3)
    x = x + 1.2 * np.random.default_rng(0).random(x.shape)
    labels[(labels == "c") & (slices == "s1")] = ""  # a type that one slice lacks
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    distance, scores = 1 - unit @ unit.T, []
    for a in ("s0", "s1", "s2"):
        for b in ("s0", "s1", "s2"):
            if a == b:
                continue
            common = sorted((set(labels[slices == a]) & set(labels[slices == b])) - {""})
            source, target = (np.flatnonzero((slices == s) & np.isin(labels, common)) for s in (a, b))
            given = []
            for i in target:
                near = source[np.argsort(distance[i, source])[:6]]
                votes = {t: sum(1 / distance[i, j] for j in near if labels[j] == t) for t in common}
                given.append(max(common, key=lambda t: votes[t]))
            given, truth = np.array(given), labels[target]
            f1 = [
                2 * np.sum((given == t) & (truth == t)) / (np.sum(given == t) + np.sum(truth == t))
                for t in common
            ]
            scores.append((np.mean(given == truth), np.mean(f1)))
    assert transfer_accuracy(x, labels, slices, n_neighbors=6) == pytest.approx(
        np.mean(scores, axis=0), abs=1e-6
    )
    even = np.mean([s[0] for s in scores])
    assert 0.5 < even < 0.99
