"""Heads of label transfer: which is used, what each reads, and confidence where no step can be measured."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from scipy import sparse

from lloki.analysis import LabelTransfer, Widening, transfer_labels
from lloki.analysis.labels import heads
from lloki.analysis.labels.heads import average, smoothed
from lloki.analysis.labels.transfer import _canonical
from lloki.errors import ConfigError, InputError

N, TYPES = 120, np.array(["A", "B", "C"])


@dataclass(frozen=True)
class Cells:
    """Slices of N cells each; a view is informative, or noise."""

    truth: np.ndarray
    slices: np.ndarray
    joint: np.ndarray
    before: np.ndarray
    counts: dict

    def transfer(self, sources: str = "st", **options) -> LabelTransfer:
        labels = np.where(np.isin(self.slices, list(sources)), self.truth, "")
        views = {"before": self.before, "counts": self.counts} | options
        return transfer_labels(self.joint, labels, self.slices, **views)

    def accuracy(self, found: LabelTransfer) -> float:
        return float((found.best == self.truth)[~found.given].mean())


def cells(good: str, names: str = "stu", seed: int = 0) -> Cells:
    """The view named ``good`` tells types, the others do so badly."""
    rng = np.random.default_rng(seed)
    kind = rng.integers(3, size=N * len(names))
    slices = np.repeat(list(names), N)

    def view(name: str) -> np.ndarray:
        spread = 0.3 if name == good else 2.5
        return np.eye(3, 6)[kind] * 2 + 0.5 + rng.normal(0, spread, (len(kind), 6))

    rates = np.where(np.arange(9) % 3 == kind[:, None], 8.0 if good == "genes" else 1.3, 1.0)
    x = rng.poisson(rates).astype(np.float32)
    counts = {}
    for i, s in enumerate(names):  # each slice has its columns in another order, and one gene of its own
        order = np.random.default_rng(i).permutation(9)
        genes = [f"g{j}" for j in order] + [f"only-{s}"]
        noise = rng.poisson(3, (N, 1))
        counts[s] = (sparse.csr_matrix(np.hstack([x[slices == s][:, order], noise])), genes)
    return Cells(TYPES[kind], slices, view("joint"), view("before"), counts)


@pytest.mark.parametrize("good", ["joint", "before", "genes"])
def test_the_view_that_tells_types_is_used(good):
    made = cells(good)
    found = made.transfer()
    accuracy = dict(zip(found.tried["method"], found.tried["accuracy"]))
    assert set(accuracy) == {"average", "neighbors", "joint", "before", "genes"}
    assert found.method == (good if good != "joint" else "average")  # neighbors are good, too
    assert accuracy[good] >= max(accuracy.values()) - 0.01
    assert made.accuracy(found) > 0.9
    weaker = made.transfer(method=next(h for h in ("joint", "before") if h != good))
    assert made.accuracy(weaker) < made.accuracy(found) - 0.1


def test_genes_are_matched_by_name_not_by_column():
    made = cells("genes")
    assert made.accuracy(made.transfer(method="genes")) > 0.9
    wrong = {s: (x, [f"g{i}" for i in range(9)] + [f"only-{s}"]) for s, (x, _) in made.counts.items()}
    assert made.accuracy(made.transfer(method="genes", counts=wrong)) < 0.8


def test_slices_without_shared_genes_are_labeled_by_neighbors():
    made = cells("joint")
    apart = {s: (x, [f"{s}{g}" for g in names]) for s, (x, names) in made.counts.items()}
    by_genes, by_neighbors = made.transfer(method="genes", counts=apart), made.transfer(method="neighbors")
    assert (by_genes.best == by_neighbors.best).all()
    assert np.isfinite(by_genes.confidence[~by_genes.given]).all()


def test_a_method_without_its_view_is_named():
    made = cells("joint")
    with pytest.raises(ConfigError, match="method must be one of auto, average, neighbors, joint, genes"):
        made.transfer(before=None, method="before")
    with pytest.raises(InputError, match="before alignment holds NaN"):
        made.transfer(before=np.full_like(made.before, np.nan))


def test_nothing_depends_on_the_order_of_cells():
    made, order = cells("before"), np.random.default_rng(3).permutation(3 * N)
    moved = {}
    for s, (x, _) in made.counts.items():
        rows = order[made.slices[order] == s]
        moved[s] = (x[rows - np.flatnonzero(made.slices == s)[0]], made.counts[s][1])
    other = Cells(made.truth[order], made.slices[order], made.joint[order], made.before[order], moved)
    a, b = made.transfer(method="average"), other.transfer(method="average")
    np.testing.assert_array_equal(a.best[order], b.best)
    np.testing.assert_array_equal(a.confidence[order], b.confidence)
    np.testing.assert_array_equal(a.novelty[order], b.novelty)


def test_the_average_trusts_heads_that_agree():
    rng = np.random.default_rng(0)
    kind = rng.integers(3, size=400)
    right = np.where(np.eye(3)[kind] > 0, 0.5, 0.25)
    wrong = np.where(np.eye(3)[(kind + 1) % 3] > 0, 0.98, 0.01)  # sure of itself
    mean = average({"a": right, "b": right, "c": right, "d": wrong})
    assert (mean.argmax(1) == kind).all()
    silent = average({"a": right, "b": np.zeros_like(right)})
    np.testing.assert_allclose(silent, right)


def test_the_average_is_smoothed_over_the_slice_and_rare_types_are_restored():
    rng = np.random.default_rng(0)
    p, near = rng.dirichlet([4, 2, 0.3], 50), rng.integers(50, size=(50, 7))
    mean = np.array([(p[i] + np.mean([p[j] for j in near[i]], axis=0)) / 2 for i in range(50)])
    want = mean / (mean.mean(0) + 0.001) ** 0.2
    np.testing.assert_allclose(smoothed(p, near), want / want.sum(1, keepdims=True))
    np.testing.assert_allclose(smoothed(p[:1], np.zeros((1, 1), int)).argmax(1), p[:1].argmax(1))


def test_the_average_hears_the_nearest_cells_of_its_own_slice(monkeypatch):
    made, calls = cells("joint"), []

    def heard(p: np.ndarray, near: np.ndarray) -> np.ndarray:
        calls.append(near)
        return np.tile([0.1, 0.2, 0.7], (len(p), 1))

    monkeypatch.setattr(heads, "smoothed", heard)
    found = made.transfer(method="average")
    assert (found.best[~found.given] == "C").all()
    labels = np.where(found.given, made.truth, "")
    order = _canonical(made.joint, labels, made.slices)
    x = made.joint[[i for i in order if made.slices[i] == "u"]]
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    distance = 1 - unit @ unit.T + 9 * np.eye(N)
    np.testing.assert_array_equal(np.sort(calls[-1]), np.sort(np.argsort(distance)[:, :10]))
    assert (made.transfer(method="joint").best[~found.given] != "C").any()


def test_one_cell_to_label_is_a_slice_as_well():
    made = cells("joint")
    labels = np.where(np.arange(3 * N) == 3 * N - 1, "", made.truth)
    found = transfer_labels(made.joint, labels, made.slices)
    assert found.best[-1] == made.truth[-1]


def test_the_confidence_of_the_average_is_half_that_of_other_data(monkeypatch):
    made = cells("joint")
    plain, own = made.transfer(), made.transfer(method="neighbors")
    monkeypatch.setattr(Widening, "predict", classmethod(lambda cls, scores: np.zeros_like(scores)))
    halved, same = made.transfer(), made.transfer(method="neighbors")
    assert (plain.method, plain.widened) == ("average", False)
    asked = ~plain.given
    assert halved.confidence[asked].max() <= 0.5 < plain.confidence[asked].mean()
    assert halved.curve["confidence"].max() <= 0.5  # the predicted error is that of the confidence
    np.testing.assert_array_equal(own.confidence, same.confidence)


def test_one_source_is_averaged_and_its_confidence_widened():
    made = cells("before")
    one, two = made.transfer("s"), made.transfer("st")
    assert (one.left_out, one.method, one.widened) == ("cells", "average", True)
    assert one.error == Widening.error
    assert (two.left_out, two.widened) == ("slices", False)
    assert two.error != Widening.error
    narrow = cells("before", "s")
    labels = np.where(np.arange(N) % 2 == 0, narrow.truth, "")
    own = transfer_labels(narrow.joint, labels, narrow.slices, before=narrow.before)
    assert (own.left_out, own.widened) == ("cells", False)


def test_widened_confidence_falls_where_heads_disagree():
    rising = Widening.predict(np.linspace(0, 1, 20))
    assert (np.diff(rising) >= 0).all()
    assert 0 < rising[0] < rising[-1] < 0.9999
    made = cells("joint")
    scrambled = {s: (x[np.random.default_rng(0).permutation(N)], g) for s, (x, g) in made.counts.items()}
    for method in ("neighbors", "average"):  # whichever head answers, the others are heard
        plain = made.transfer("s", before=made.joint + 0.1, counts={}, method=method)
        doubted = made.transfer("s", before=made.before[::-1], counts=scrambled, method=method)
        assert np.nanmean(doubted.confidence) < np.nanmean(plain.confidence) - 0.02


def test_another_technology_is_calibrated_by_leaving_technologies_out():
    made = cells("before", "stuv")
    batch = {"s": "one", "t": "one", "u": "two", "v": "three"}
    batches = np.array([batch[s] for s in made.slices])
    assert made.transfer("stu", batches=batches).left_out == "batches"
    known = np.where(batches == "three", "two", batches)
    assert made.transfer("stu", batches=known).left_out == "slices"
    alone = made.transfer("st", batches=batches)  # both of one technology: the step to others is not seen
    assert (alone.left_out, alone.widened) == ("slices", True)


def test_a_cell_gets_the_group_where_its_type_cannot_be_told():
    rng = np.random.default_rng(0)
    kind = rng.integers(4, size=600)
    center = np.array([[4, 0, 0, 1], [4, 0.2, 0, 1], [0, 4, 0, 1], [0, 0, 4, 1]])  # the first two are alike
    x = center[kind] + rng.normal(0, 0.4, (600, 4))
    truth, slices = np.array(["E1", "E2", "I", "G"])[kind], np.repeat(list("stu"), 200)
    labels = np.where(slices == "u", "", truth)
    groups = {"E1": "Exc", "E2": "Exc", "Exc": "Neuron", "I": "Neuron"}
    found = transfer_labels(x, labels, slices, parents=groups, threshold=0.8)
    plain = transfer_labels(x, labels, slices, threshold=0.8)
    target = slices == "u"
    unsure = target & (plain.labels == "unknown") & np.isin(truth, ["E1", "E2"]) & (plain.novelty > 0.01)
    assert unsure.sum() > 20
    assert (found.labels[unsure] == "Exc").mean() > 0.9
    assert found.confidence[unsure].min() >= 0.8  # of the group
    same = target & (plain.labels != "unknown")
    assert (found.labels[same] == plain.labels[same]).all()
    assert (found.best == plain.best).all()
    with pytest.raises(InputError, match="circle: E1 in Exc in E1"):
        transfer_labels(x, labels, slices, parents={"E1": "Exc", "Exc": "E1"})
