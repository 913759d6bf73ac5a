"""Whether an integration can be trusted: the decision for every kind of metrics, and its words."""

from __future__ import annotations

import numpy as np
import pytest

from lloki.evaluate.verdict import CRITERIA, grade, judge

GOOD = {"mixing": 0.8, "preservation": 0.5, "dimensions": 6.0}


@pytest.mark.parametrize(
    ("mixing", "preservation", "word", "reason"),
    [
        (0.1, 0.05, "No", "do not rely"),
        (0.1, 0.25, "Not across slices", "separate"),
        (0.1, 0.6, "Not across slices", "separate"),
        (0.5, 0.05, "With care", "forced together"),
        (0.9, 0.05, "With care", "forced together"),
        (0.5, 0.25, "With care", "in part"),
        (0.5, 0.6, "With care", "in part"),
        (0.9, 0.25, "With care", "in part"),
        (0.9, 0.6, "Yes", "mix well"),
    ],
)
def test_trust_depends_on_mixing_and_structure(
    mixing: float, preservation: float, word: str, reason: str
) -> None:
    verdict = judge({"mixing": mixing, "preservation": preservation})
    assert verdict.word == word
    assert reason in verdict.reason
    assert "no metric can show whether the same types were matched" in verdict.reason
    assert str(verdict).startswith(f"{word}. ")


@pytest.mark.parametrize("metrics", [{"mixing": 0.9}, {"mixing": float("nan"), "preservation": 0.5}, {}])
def test_without_the_metrics_nothing_is_promised(metrics: dict) -> None:
    assert judge(metrics).word == "Unknown"
    assert "judge it by the plots" in judge(metrics).reason


def test_a_collapsed_embedding_is_not_trusted_whatever_else_is_good() -> None:
    verdict = judge(GOOD | {"dimensions": 1.2, "types_kept": 1.0, "like_with_like": 1.0})
    assert verdict.word == "No"
    assert "collapsed" in verdict.reason
    assert "1.2 directions" in verdict.reason


@pytest.mark.parametrize(
    "labels",
    [
        {"types_kept": 0.8, "like_with_like": 0.9},
        {"like_with_like": 0.3},
        {"like_with_like": 0.72, "transfer_accuracy": 0.33},
    ],
)
def test_an_over_mixed_embedding_is_not_trusted_however_well_it_mixes(labels: dict) -> None:
    verdict = judge(GOOD | labels)
    assert verdict.word == "No"
    assert "Different types became neighbors" in verdict.reason


def test_labels_are_described_where_there_are_any() -> None:
    verdict = judge(GOOD | {"types_kept": 1.02, "like_with_like": 0.91})
    assert verdict.word == "Yes"
    assert "91% as often" in verdict.reason
    verdict = judge(GOOD | {"types_kept": 0.95, "like_with_like": 0.91})
    assert verdict.word == "With care"
    assert "types are less separated than before:" in verdict.reason
    assert "less separated across slices than within:" in judge(GOOD | {"like_with_like": 0.7}).reason


@pytest.mark.parametrize("name", CRITERIA)
def test_grades_change_at_the_limits(name: str) -> None:
    limits = CRITERIA[name]
    assert [grade(name, v) for v in (limits.fair - 1e-9, limits.fair, limits.good - 1e-9, limits.good)] == [
        "poor",
        "fair",
        "fair",
        "good",
    ]
    assert grade(name, np.float64(limits.good)) == "good"
    assert [grade(name, v) for v in (float("nan"), None, "0.9")] == ["", "", ""]
    assert grade("odd", 0.9) == ""
