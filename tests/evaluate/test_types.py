"""Whether known types met their like."""

from __future__ import annotations

import numpy as np
import pytest

from lloki.evaluate import purity, shared_names, type_agreement

KINDS = np.array(["T", "B", "M"])


def made(n: int = 240, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows of three types far apart, alike in two slices."""
    rng = np.random.default_rng(seed)
    kind = rng.integers(3, size=n)
    rows = np.eye(3)[kind] + 0.1 * rng.normal(size=(n, 3))
    return rows.astype(np.float32), KINDS[kind], np.repeat(["a", "b"], n // 2)


def test_types_that_met_their_like():
    rows, labels, slices = made()
    table = type_agreement(rows, rows, labels, slices)
    assert len(table) == 6
    assert set(table["type"]) == set(KINDS)
    assert (table[["before", "within", "across"]] > 0.95).all(axis=None)
    assert table.groupby(["target", "source"])["cells"].sum().tolist() == [120, 120]
    assert table["chance"].to_numpy() == pytest.approx(1 / 3, abs=0.15)


def test_a_type_that_was_moved_onto_another_has_its_own_row():
    rows, labels, slices = made()
    moved = rows.copy()
    moved[labels == "M"] = np.resize(rows[labels == "T"], (int((labels == "M").sum()), 3))
    table = type_agreement(rows, moved, labels, slices).groupby("type")[["before", "across"]].mean()
    assert table.loc["M", "before"] > 0.95
    assert table.loc["M", "across"] < 0.7
    assert table.loc["B", "across"] > 0.95


def test_names_of_one_slice_alone_take_no_part():
    rows, labels, slices = made()
    renamed = np.where((slices == "b") & (labels == "M"), "Microglia", labels)
    table = type_agreement(rows, rows, renamed, slices)
    assert set(table["type"]) == {"T", "B"}
    assert (table["across"] > 0.95).all()
    names = np.where(slices == "b", np.char.add("x", labels), labels)
    assert len(type_agreement(rows, rows, names, slices)) == 0
    assert len(type_agreement(rows, rows, np.full(len(labels), "T"), slices)) == 0


def test_unknown_cells_take_no_part():
    rows, labels, slices = made()
    labels = labels.copy()
    labels[::3] = ""
    table = type_agreement(rows, rows, labels, slices)
    assert table.groupby("target")["cells"].sum().sum() == (labels != "").sum()


def test_names_are_counted():
    _, labels, slices = made()
    (row,) = shared_names(labels, slices).to_dict("records")
    assert (row["types"], row["shared"], row["cells"]) == (3, 3, 1.0)
    renamed = np.where((slices == "b") & (labels != "T"), np.char.add("x", labels), labels)
    (row,) = shared_names(renamed, slices).to_dict("records")
    assert (row["types"], row["shared"]) == (3, 1)
    assert row["cells"] == pytest.approx(np.mean(labels[slices == "a"] == "T"), abs=0.1)


def test_purity_across_slices_asks_only_for_types_that_both_name():
    rows, labels, slices = made()
    renamed = np.where((slices == "b") & (labels == "M"), "Microglia", labels)
    assert purity(rows, renamed, slices)[1] == pytest.approx(purity(rows, labels, slices)[1], abs=0.02)
