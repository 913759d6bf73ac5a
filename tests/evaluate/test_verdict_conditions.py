"""Each condition of a verdict decides alone: one figure at a time crosses its limit."""

from __future__ import annotations

import pytest

from lloki.report.trust import in_words, verdicts

GOOD = {"mixing": 0.8, "preservation": 0.5, "dimensions": 6.0, "types_kept": 1.0, "like_with_like": 0.9}
BEGINNINGS = {"yes": "Yes, as far", "care": "With care.", "no": "No."}


@pytest.mark.parametrize(
    ("change", "answer", "reason"),
    [
        ({}, "yes", "keep their inner structure"),
        # limits belong to the better side
        ({"mixing": 0.6}, "yes", ""),
        ({"mixing": 0.599}, "care", "in part"),
        ({"mixing": 0.3}, "care", "in part"),
        ({"preservation": 0.35}, "yes", ""),
        ({"preservation": 0.349}, "care", "in part"),
        ({"preservation": 0.15}, "care", "in part"),
        ({"preservation": 0.149}, "care", "forced together"),
        ({"dimensions": 2.0}, "yes", ""),
        ({"dimensions": 1.99}, "no", "collapsed"),
        ({"types_kept": 0.97}, "yes", ""),
        ({"types_kept": 0.969}, "care", "less clearly than before"),
        ({"types_kept": 0.9}, "care", "less clearly than before"),
        ({"types_kept": 0.899}, "no", "Unlike cells"),
        ({"like_with_like": 0.85}, "yes", ""),
        ({"like_with_like": 0.849}, "care", "less clearly across slices than within"),
        ({"like_with_like": 0.6}, "care", "less clearly across slices than within"),
        ({"like_with_like": 0.599}, "no", "Unlike cells"),
        ({"transfer_accuracy": 0.4}, "yes", ""),
        ({"transfer_accuracy": 0.399}, "no", "Unlike cells"),
        ({"mixing": 0.299, "preservation": 0.149}, "no", "stay apart"),
        # what stands first decides
        ({"dimensions": 1.0, "mixing": 0.1, "preservation": 0.1, "types_kept": 0.1}, "no", "collapsed"),
        ({"types_kept": 0.5, "preservation": 0.1}, "no", "Unlike cells"),
    ],
)
def test_one_figure_decides(change, answer, reason):
    text = in_words(GOOD | change)
    assert text.startswith(BEGINNINGS[answer]), text
    assert reason in text


def test_slices_that_stay_apart_are_no_yes_whatever_their_types():
    for mixing, apart in ((0.299, True), (0.3, False)):
        text = in_words(GOOD | {"mixing": mixing, "types_kept": 0.5 if apart else 1.0})
        assert ("Not across slices" in text) == apart, text


def test_cards_have_the_grade_of_their_value():
    for name, values in {"mixing": (0.2, 0.4, 0.7), "like_with_like": (0.5, 0.7, 0.9)}.items():
        grades = [verdicts({name: v})[0]["grade"] for v in values]
        assert grades == ["poor", "fair", "good"]
