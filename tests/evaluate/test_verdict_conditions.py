"""Each condition of a verdict decides alone: one metric at a time crosses its limit."""

from __future__ import annotations

import pytest

from lloki.evaluate.verdict import grade, judge

GOOD = {"mixing": 0.8, "preservation": 0.5, "dimensions": 6.0, "types_kept": 1.0, "like_with_like": 0.9}


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({}, "Yes"),
        # a value at a limit has the better grade
        ({"mixing": 0.6}, "Yes"),
        ({"mixing": 0.599}, "With care"),
        ({"mixing": 0.3}, "With care"),
        ({"mixing": 0.299}, "Not across slices"),
        ({"preservation": 0.35}, "Yes"),
        ({"preservation": 0.349}, "With care"),
        ({"preservation": 0.01}, "With care"),
        ({"dimensions": 2.0}, "Yes"),
        ({"dimensions": 1.99}, "No"),
        ({"types_kept": 0.97}, "Yes"),
        ({"types_kept": 0.969}, "With care"),
        ({"types_kept": 0.9}, "With care"),
        ({"types_kept": 0.899}, "No"),
        ({"like_with_like": 0.85}, "Yes"),
        ({"like_with_like": 0.849}, "With care"),
        ({"like_with_like": 0.6}, "With care"),
        ({"like_with_like": 0.599}, "No"),
        ({"transfer_accuracy": 0.4}, "Yes"),
        ({"transfer_accuracy": 0.399}, "No"),
        ({"mixing": 0.299, "preservation": 0.149}, "No"),
        ({"mixing": 0.299, "preservation": 0.15}, "Not across slices"),
        # what stands first decides
        ({"mixing": 0.1, "types_kept": 0.1}, "Not across slices"),
        ({"mixing": 0.1, "dimensions": 1.0}, "No"),
        ({"types_kept": 0.5, "preservation": 0.1}, "No"),
        ({"mixing": None}, "Unknown"),
        ({"preservation": float("nan")}, "Unknown"),
    ],
)
def test_one_metric_decides(change, word):
    assert judge(GOOD | change).word == word


def test_structure_that_was_lost_is_another_reason_than_structure_kept_in_part():
    lost, part = (judge(GOOD | {"preservation": p}).reason for p in (0.149, 0.15))
    assert lost != part


def test_a_value_at_a_limit_has_the_better_grade():
    values = {
        "mixing": (0.299, 0.3, 0.6),
        "like_with_like": (0.599, 0.6, 0.85),
        "dimensions": (1.9, 2.0, 4.0),
    }
    for name, three in values.items():
        assert [grade(name, v) for v in three] == ["poor", "fair", "good"]
    assert grade("mixing", float("nan")) == grade("nothing", 0.5) == ""
