"""Figures of quality against their definitions, worked out pair by pair."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lloki.evaluate import mixing, preservation, quality, transfer_accuracy
from lloki.evaluate._quality import _sample


def cosine(x: np.ndarray) -> np.ndarray:
    unit = x.astype(float) / np.linalg.norm(x, axis=1, keepdims=True)
    return unit @ unit.T


def nearest(x: np.ndarray, k: int) -> np.ndarray:
    similar = cosine(x)
    np.fill_diagonal(similar, -np.inf)
    return np.argsort(-similar, axis=1, kind="stable")[:, :k]


def made(seed: int, n: int = 120, slices: int = 3, types: int = 4) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    kind, where = rng.integers(types, size=n), rng.integers(slices, size=n)
    x = rng.random((types, 6))[kind] + 0.4 * rng.random((n, 6)) + 0.2 * rng.random((slices, 6))[where]
    return x.astype(np.float32), np.array([f"type {t}" for t in kind]), np.array([f"s{s}" for s in where])


@given(st.integers(0, 1000), st.integers(1, 20))
@settings(max_examples=15, deadline=None)
def test_mixing_by_definition(seed, k):
    x, _, batch = made(seed)
    near = nearest(x, k)
    by_batch = []
    for b in np.unique(batch):
        rows = np.flatnonzero(batch == b)
        share = np.mean([np.mean(batch[near[i]] != b) for i in rows])
        by_batch.append(share / (1 - len(rows) / len(batch)))
    assert mixing(x, batch, n_neighbors=k) == pytest.approx(np.mean(by_batch), abs=1e-9)


def test_mixing_of_known_arrangements():
    rng = np.random.default_rng(0)
    batch = np.array(["a"] * 200 + ["b"] * 200)
    apart = np.vstack(
        [np.eye(2)[[0]] + 0.01 * rng.random((200, 2)), np.eye(2)[[1]] + 0.01 * rng.random((200, 2))]
    )
    assert mixing(apart, batch) == 0
    assert mixing(rng.random((400, 5)), rng.permutation(batch)) == pytest.approx(1, abs=0.05)
    assert np.isnan(mixing(apart, np.array(["a"] * 400)))


@given(st.integers(0, 1000), st.integers(1, 20))
@settings(max_examples=15, deadline=None)
def test_preservation_by_definition(seed, k):
    x, _, slices = made(seed)
    y = x + 0.3 * np.random.default_rng(seed).random(x.shape).astype(np.float32)
    by_slice = []
    for s in np.unique(slices):
        rows = np.flatnonzero(slices == s)
        before, after = nearest(x[rows], k), nearest(y[rows], k)
        by_slice.append(np.mean([len(set(a) & set(b)) / k for a, b in zip(before, after)]))
    assert preservation(x, y, slices, n_neighbors=k) == pytest.approx(np.mean(by_slice), abs=1e-9)
    assert preservation(x, 3 * x, slices, n_neighbors=k) == 1


def test_preservation_without_slices_large_enough():
    assert np.isnan(preservation(np.ones((4, 2)), np.ones((4, 2)), np.array(["a", "a", "b", "b"])))


def by_hand(x, labels, slices, k):
    """Accuracy and macro-F1 by loops over pairs of slices and cells."""
    similar, scores = cosine(x), []
    for a in np.unique(slices):
        for b in np.unique(slices):
            common = sorted((set(labels[slices == a]) & set(labels[slices == b])) - {""})
            source = [i for i in np.flatnonzero(slices == a) if labels[i] in common]
            target = [i for i in np.flatnonzero(slices == b) if labels[i] in common]
            if a == b or not common:
                continue
            predicted = []
            for j in target:
                near = sorted(source, key=lambda i: -similar[j, i])[:k]
                votes = {t: sum(1 / (1 - similar[j, i]) for i in near if labels[i] == t) for t in common}
                predicted.append(max(common, key=lambda t: votes[t]))
            truth = labels[target]
            predicted = np.array(predicted)
            f1 = [
                2 * np.sum((predicted == t) & (truth == t)) / (np.sum(predicted == t) + np.sum(truth == t))
                for t in common
            ]
            scores.append((np.mean(predicted == truth), np.mean(f1)))
    return np.mean(scores, axis=0)


@given(st.integers(0, 1000), st.integers(1, 15))
@settings(max_examples=15, deadline=None)
def test_transfer_by_definition(seed, k):
    x, labels, slices = made(seed)
    labels[(labels == "type 0") & (slices == "s1")] = ""  # unknown, and a type that one slice lacks
    assert transfer_accuracy(x, labels, slices, n_neighbors=k) == pytest.approx(
        by_hand(x, labels, slices, k), abs=1e-9
    )


def test_transfer_agrees_with_scikit_learn():
    from sklearn.metrics import f1_score
    from sklearn.neighbors import KNeighborsClassifier

    x, labels, slices = made(1, n=300, slices=2)
    scores = []
    for a, b in (("s0", "s1"), ("s1", "s0")):
        model = KNeighborsClassifier(15, metric="cosine", weights="distance")
        predicted = model.fit(x[slices == a], labels[slices == a]).predict(x[slices == b])
        truth = labels[slices == b]
        scores.append((np.mean(predicted == truth), f1_score(truth, predicted, average="macro")))
    assert transfer_accuracy(x, labels, slices) == pytest.approx(np.mean(scores, axis=0), abs=1e-6)


def test_transfer_needs_labels_in_two_slices():
    x, labels, slices = made(0)
    labels[slices != "s0"] = ""
    assert all(np.isnan(transfer_accuracy(x, labels, slices)))
    only = np.where(slices == "s0", "left", np.where(slices == "s1", "right", ""))
    assert all(np.isnan(transfer_accuracy(x, only, slices)))


def test_one_shared_type_is_no_test_of_transfer():
    x, labels, slices = made(0)
    labels = np.where(slices == "s0", np.where(labels == labels[0], "both", "left"), "both")
    assert all(np.isnan(transfer_accuracy(x, labels, slices)))


def test_transfer_does_not_depend_on_threads(monkeypatch):

    x, labels, slices = made(2, n=400)
    whole = transfer_accuracy(x, labels, slices)
    monkeypatch.setenv("LLOKI_THREADS", "3")
    assert transfer_accuracy(x, labels, slices) == whole


def test_the_table():
    x, labels, slices = made(3)
    table = quality(x, 2 * x, slices=slices, tokens=slices, labels=labels).set_index("embedding")
    assert list(table.index) == ["X_lloki_fp", "X_lloki"]
    assert (table["preservation"] == 1).all()
    assert table.loc["X_lloki", "mixing"] == mixing(x, slices)
    assert table.loc["X_lloki", "transfer_accuracy"] == pytest.approx(transfer_accuracy(x, labels, slices)[0])
    assert "transfer_accuracy" not in quality(x, x, slices=slices, tokens=slices)


@given(st.lists(st.integers(1, 60), min_size=1, max_size=6), st.integers(1, 80), st.integers(0, 5))
@settings(max_examples=50, deadline=None)
def test_samples_give_every_slice_its_share(sizes, cells, seed):
    slices = np.concatenate([[f"s{i}"] * n for i, n in enumerate(sizes)])
    rows = _sample(slices, cells, seed)
    assert len(set(rows)) == len(rows) <= max(cells, len(sizes))
    kept = [np.sum(slices[rows] == f"s{i}") for i in range(len(sizes))]
    if sum(sizes) <= cells:
        assert kept == sizes
    else:
        assert kept == [min(n, max(cells // len(sizes), 1)) for n in sizes]
    # the order of slices is no matter: the same cells of each
    turned = slices[::-1]
    again = _sample(turned, cells, seed)
    assert [np.sum(turned[again] == f"s{i}") for i in range(len(sizes))] == kept
