"""Whether the words fit the figures."""

from __future__ import annotations

import pytest

from lloki.report import trust

GOOD = {"mixing": 0.8, "preservation": 0.5, "dimensions": 6.0}


def test_trust_depends_on_mixing_and_structure() -> None:
    said = {
        (m, p): trust.in_words({"mixing": m, "preservation": p})
        for m in (0.1, 0.5, 0.9)
        for p in (0.05, 0.25, 0.6)
    }
    assert said[0.1, 0.05].startswith("No.")
    assert "do not rely" in said[0.1, 0.05]
    assert "stay apart" in said[0.1, 0.6]
    assert "forced together" in said[0.9, 0.05]
    assert said[0.9, 0.6].startswith("Yes")
    assert "in part" in said[0.5, 0.6]
    assert all("no figure can tell whether like was matched with like" in text for text in said.values())


@pytest.mark.parametrize("metrics", [{"mixing": 0.9}, {"mixing": float("nan"), "preservation": 0.5}, {}])
def test_without_the_figures_nothing_is_promised(metrics: dict) -> None:
    assert "judge it by the plots" in trust.in_words(metrics)


def test_a_collapsed_embedding_is_not_trusted_whatever_else_is_good() -> None:
    said = trust.in_words(GOOD | {"dimensions": 1.2, "types_kept": 1.0, "like_with_like": 1.0})
    assert said.startswith("No.")
    assert "collapsed" in said
    assert "1.2 directions" in said


@pytest.mark.parametrize(
    "labels",
    [
        {"types_kept": 0.8, "like_with_like": 0.9},
        {"like_with_like": 0.3},
        {"like_with_like": 0.72, "transfer_accuracy": 0.33},
    ],
)
def test_an_over_mixed_embedding_is_not_trusted_however_well_it_mixes(labels: dict) -> None:
    said = trust.in_words(GOOD | labels)
    assert said.startswith("No.")
    assert "Unlike cells became neighbors" in said


def test_labels_are_put_into_words_where_there_are_any() -> None:
    said = trust.in_words(GOOD | {"types_kept": 1.02, "like_with_like": 0.91})
    assert said.startswith("Yes")
    assert "91% as often" in said
    said = trust.in_words(GOOD | {"types_kept": 0.95, "like_with_like": 0.91})
    assert said.startswith("With care")
    assert "types part less clearly than before:" in said
    assert "less clearly across slices than within:" in trust.in_words(GOOD | {"like_with_like": 0.7})


def test_verdicts_grade_what_is_known_and_show_the_rest() -> None:
    cards = trust.verdicts({"odd": 3, "mixing": 0.7, "nested": {"deep": 0.25}, "dimensions": 3.0})
    assert [c["name"] for c in cards] == ["Mixing of batches", "Directions in use", "odd", "nested.deep"]
    assert [c["grade"] for c in cards] == ["good", "fair", "", ""]
