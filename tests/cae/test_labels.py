"""Training with labels: partners of one type, negatives of another, and nothing seen that was not given."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lloki.cae import CAEConfig, train
from lloki.cae.cells import Cells
from lloki.cae.labels import encode_labels, hard_negatives, spread
from lloki.errors import InputError
from lloki.graph.knn.tensors import mutual_pairs, nearest

SMALL = CAEConfig(steps=30, batch_size=240, check_every=10, refreshes=2, n_pairs=8, n_neighbors=5)
Slices = dict[str, np.ndarray]


def test_types_are_numbered_together_and_the_unknown_are_minus_one() -> None:
    labels = {"b": ["x", None, float("nan"), "y"], "a": np.array(["y", ""], dtype=object)}
    assert encode_labels(labels, ["a", "b", "c"], [2, 4, 3]).tolist() == [1, -1, 0, -1, -1, 1, -1, -1, -1]


@pytest.mark.parametrize(
    ("labels", "match"),
    [
        ({"z": ["x"]}, "z: labels are given for it, but it is no slice"),
        ({"a": ["x"]}, "a: there are 1 labels for 2 cells"),
        ({"a": [None, ""]}, "no cell has a label"),
        ({}, "no cell has a label"),
    ],
)
def test_labels_that_do_not_fit_are_refused(labels: dict, match: str) -> None:
    with pytest.raises(InputError, match=match):
        encode_labels(labels, ["a"], [2])


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.integers(1, 25), st.integers(1, 25), st.integers(1, 9))
def test_pairs_of_compatible_types_are_those_of_brute_force(seed: int, n: int, m: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(n, 4)), rng.normal(size=(m, 4))
    types = rng.integers(-1, 3, n), rng.integers(-1, 3, m)
    cosine = (a @ b.T) / np.linalg.norm(a, axis=1)[:, None] / np.linalg.norm(b, axis=1)
    apart = (types[0][:, None] != types[1]) & (types[0] >= 0)[:, None] & (types[1] >= 0)
    cosine[apart] = -9
    ahead = {(i, j) for i in range(n) for j in np.argsort(-cosine[i])[:k] if cosine[i, j] > -9}
    behind = {(i, j) for j in range(m) for i in np.argsort(-cosine[:, j])[:k] if cosine[i, j] > -9}
    known = tuple(map(torch.from_numpy, types))
    i, j = mutual_pairs(torch.from_numpy(a), torch.from_numpy(b), k, types=known)
    assert set(zip(i.tolist(), j.tolist())) == ahead & behind


def test_a_query_without_a_compatible_target_has_no_neighbor() -> None:
    x = torch.randn((3, 4), generator=torch.Generator().manual_seed(0))
    found = nearest(x, x, 2, types=(torch.tensor([0, 1, -1]), torch.tensor([1, 1, 1])))
    assert found[0].tolist() == [-1, -1]
    assert (found[1:] >= 0).all()


def hard_by_loop(
    z, drawn, random, label, slice_of, positive_label, positive_slice, drawn_label, drawn_slice
) -> list[int]:
    chosen = []
    for i in range(len(z)):
        known = label[i] >= 0
        kind, place = (label[i], slice_of[i]) if known else (positive_label[i], positive_slice[i])
        others = [
            j
            for j in range(len(drawn))
            if drawn_slice[j] == place and drawn_label[j] >= 0 and kind >= 0 and drawn_label[j] != kind
        ]
        alike = drawn_label[random[i]] >= 0 and drawn_label[random[i]] == kind
        if others:
            chosen.append(min(others, key=lambda j: float((z[i] - drawn[j]).square().sum())))
        else:
            chosen.append(-1 if alike else int(random[i]))
    return chosen


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.integers(0, 30), st.integers(1, 30))
def test_negatives_are_the_nearest_of_another_type_in_the_right_slice(seed: int, a: int, n: int) -> None:
    g = torch.Generator().manual_seed(seed)
    z, drawn = (torch.randn((m, 3), generator=g, dtype=torch.float64) for m in (a, n))
    random = torch.randint(n, (a,), generator=g)
    label, other = (torch.randint(-1, 3, (a,), generator=g) for _ in range(2))
    slice_of, place = (torch.randint(3, (a,), generator=g) for _ in range(2))
    drawn_label, drawn_slice = torch.randint(-1, 3, (n,), generator=g), torch.randint(3, (n,), generator=g)
    got = hard_negatives(
        z,
        drawn,
        random,
        label=label,
        slice_of=slice_of,
        positive_label=other,
        positive_slice=place,
        drawn_label=drawn_label,
        drawn_slice=drawn_slice,
    )
    expected = hard_by_loop(z, drawn, random, label, slice_of, other, place, drawn_label, drawn_slice)
    assert got.tolist() == expected


def test_labels_spread_where_enough_partners_agree() -> None:
    label = torch.tensor([-1, -1, -1, 7, 7, 7, 7, 2, -1])
    anchor = torch.tensor([0, 0, 0, 1, 1, 2, 2, 2, 2, 2, 3, 3, 3])
    positive = torch.tensor([3, 4, 5, 3, 4, 3, 4, 5, 6, 7, 7, 7, 8])
    # cell 0: three of type 7; cell 1: too few; cell 2: four of five agree; cell 3 keeps its own
    assert spread(label, anchor, positive).tolist() == [7, -1, 7, 7, 7, 7, 7, 2, -1]
    assert spread(label, anchor[:0], positive[:0]).tolist() == label.tolist()


def made(sizes: tuple[int, ...] = (160, 120, 80)) -> tuple[Slices, dict[str, np.ndarray]]:
    """Two pairs of like types; in every slice each type is moved its own way."""
    rng = np.random.default_rng(0)
    centers = np.repeat(6 * rng.normal(size=(2, 10)), 2, axis=0) + 1.5 * rng.normal(size=(4, 10))
    data, labels = {}, {}
    for s, n in enumerate(sizes):
        kind = np.arange(n) % 4
        moved = centers + 1.2 * rng.normal(size=(4, 10))
        data[f"s{s}"] = (moved[kind] + rng.normal(size=(n, 10))).astype(np.float32)
        labels[f"s{s}"] = np.array(list("pqrs"))[kind]
    return data, labels


def encoded(data: Slices, labels: dict | None, config: CAEConfig = SMALL) -> Slices:
    tokens = {name: f"t|{name}" for name in data}
    model = train(data, tokens, labels=labels, config=config)
    return {name: model.encode(x, tokens[name]) for name, x in data.items()}


def test_labels_change_the_result_and_their_names_do_not() -> None:
    data, labels = made()
    with_labels = encoded(data, labels)
    assert not np.allclose(with_labels["s0"], encoded(data, None)["s0"])
    renamed = {name: np.char.add("type ", own) for name, own in labels.items()}
    for name, rows in encoded(data, renamed).items():
        np.testing.assert_array_equal(rows, with_labels[name])


def test_a_slice_left_out_is_a_slice_without_labels() -> None:
    data, labels = made()
    some = encoded(data, {"s0": labels["s0"]})
    none = {"s0": labels["s0"], "s1": [None] * 120, "s2": [""] * 80}
    for name, rows in encoded(data, none).items():
        np.testing.assert_array_equal(rows, some[name])


def test_partners_are_never_of_two_known_types(monkeypatch: pytest.MonkeyPatch) -> None:
    from lloki.cae import loop

    data, labels = made()
    labels["s1"] = np.where(np.arange(120) < 60, labels["s1"], "")
    code = encode_labels(labels, sorted(data), [160, 120, 80])
    tables, real = [], loop.Loop._search

    def watched(self):
        tables.append(real(self))
        return tables[-1]

    monkeypatch.setattr(loop.Loop, "_search", watched)
    encoded(data, labels)
    assert len(tables) == 3
    for table in tables:
        a, b = code[table.anchor_of()], code[table.positive]
        assert ((a == b) | (a < 0) | (b < 0)).all()
        assert ((a >= 0) & (b >= 0)).any()


def test_labels_of_a_scored_slice_are_not_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever training reads of labels is what it was given: of one slice, never of another."""
    data, labels = made()
    seen, real = [], Cells.gather.__func__

    def gather(cls, *args, **options):
        seen.append(real(cls, *args, **options))
        return seen[-1]

    monkeypatch.setattr(Cells, "gather", classmethod(gather))
    want = encoded(data, {"s0": labels["s0"]})
    (cells,) = seen
    assert (cells.label[:160] >= 0).all()
    assert (cells.label[160:] == -1).all()
    # the labels of the others have no way in: any others give the same result
    assert not any(isinstance(v, str) for v in vars(cells).values())
    again = encoded(data, {"s0": labels["s0"].copy()})
    for name in data:
        np.testing.assert_array_equal(again[name], want[name])


def test_labels_set_right_what_mutual_neighbors_confuse() -> None:
    """In the second slice two types have changed places: only labels show it."""
    rng = np.random.default_rng(0)
    centers = 5 * np.eye(6)
    data, labels = {}, {}
    for name, place in (("s0", [0, 1, 2]), ("s1", [1, 0, 2])):
        kind = np.arange(150) % 3
        data[name] = rng.normal(centers[place][kind], 1).astype(np.float32)
        labels[name] = np.array(list("pqr"))[kind]
    config = dataclasses.replace(SMALL, steps=120, batch_size=300, conservation=1.0)

    def right(rows: Slices) -> float:
        unit = {name: z / np.linalg.norm(z, axis=1, keepdims=True) for name, z in rows.items()}
        nearest = np.argsort(-unit["s1"] @ unit["s0"].T, axis=1)[:, :15]
        return float((labels["s0"][nearest] == labels["s1"][:, None]).mean())

    assert right(encoded(data, None, config)) < 0.5
    assert right(encoded(data, labels, config)) > 0.9
