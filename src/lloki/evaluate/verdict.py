"""Whether an integration can be trusted: decided from the metrics of the run alone, and put into words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Grade = Literal["good", "fair", "poor", ""]


@dataclass(frozen=True)
class Criterion:
    """A metric of integration quality, higher is better.

    Attributes
    ----------
    title, meaning
        What it is called, and what it measures.
    fair, good
        Lowest values of these grades; below ``fair`` a value is poor.
    """

    title: str
    meaning: str
    fair: float
    good: float

    def grade(self, value: object) -> Grade:
        """Grade a value; ``""`` if it is no number."""
        if not isinstance(value, int | float) or math.isnan(value):
            return ""
        return "poor" if value < self.fair else "good" if value >= self.good else "fair"


@dataclass(frozen=True)
class Verdict:
    """Whether to trust an integration.

    Attributes
    ----------
    word
        ``"Yes"``, ``"With care"``, ``"Not across slices"``, ``"No"``, or ``"Unknown"``.
    reason
        Sentences that say why.
    """

    word: str
    reason: str

    def __str__(self) -> str:
        return f"{self.word}. {self.reason}"


# The limits were set with real sections whose embedding was degraded in known ways (benchmarks/trust.py).
CRITERIA: dict[str, Criterion] = {
    "mixing": Criterion(
        "Mixing of batches",
        "How evenly cells of different batches are mixed: 0 separate, 1 as even as possible.",
        0.3,
        0.6,
    ),
    "preservation": Criterion(
        "Structure preserved within slices",
        "Share of each cell's nearest neighbors within its slice that remain so in the joint space.",
        0.15,
        0.35,
    ),
    "dimensions": Criterion(
        "Effective dimensions",
        "Number of independent directions in which the cells vary. Near 1, the embedding has collapsed.",
        2.0,
        4.0,
    ),
    "types_kept": Criterion(
        "Types preserved",
        "How often a cell's neighbors within its slice share its type, relative to before the batches were "
        "aligned: 1 the same, less if types were mixed.",
        0.9,
        0.97,
    ),
    "like_with_like": Criterion(
        "Types matched across slices",
        "How often neighbors from other slices share a cell's type, relative to neighbors from its own "
        "slice: 1 "
        "equally often.",
        0.6,
        0.85,
    ),
    "transfer_accuracy": Criterion(
        "Label transfer",
        "Share of cells whose label is recovered from their nearest neighbors in another slice.",
        0.4,
        0.7,
    ),
    "transfer_macro_f1": Criterion(
        "Label transfer, macro F1", "The same with equal weight for every label.", 0.3, 0.6
    ),
}

_DOUBTS = {
    "types_kept": "less separated than before",
    "like_with_like": "less separated across slices than within",
}
_UNLABELED = (
    "Without cell types in two or more slices, no metric can show whether the same types were matched: "
    "check that known types coincide."
)


def grade(name: str, value: object) -> Grade:
    """Grade a metric by its name; ``""`` if it is unknown or has no value."""
    return CRITERIA[name].grade(value) if name in CRITERIA else ""


def judge(metrics: Mapping[str, Any]) -> Verdict:
    """Decide whether an embedding can be trusted, as far as metrics show.

    Checked are, in this order: collapse (``dimensions``), failure (``mixing`` and ``preservation``), slices
    that remain separate (``mixing``), with labels over-mixing and mismatch (``types_kept``,
    ``like_with_like``, ``transfer_accuracy``), and loss of structure (``preservation``).

    Parameters
    ----------
    metrics
        Name of `CRITERIA` → value; absent or NaN where it was not computed.
    """
    grades = {name: grade(name, value) for name, value in metrics.items()}
    mixing, kept = grades.get("mixing", ""), grades.get("preservation", "")
    if not mixing or not kept:
        absent = [name for name, found in (("mixing", mixing), ("preservation", kept)) if not found]
        text = f"{' and '.join(absent)} could not be computed for this run: judge it by the plots below."
        return Verdict("Unknown", text[0].upper() + text[1:])
    if grades.get("dimensions") == "poor":
        return Verdict(
            "No",
            f"The embedding has collapsed: cells vary in only {metrics['dimensions']:.3g} directions, so "
            "neighbors "
            "in it carry little information. Do not rely on it.",
        )
    word, reason = _decide(grades, mixing, kept)
    return Verdict(word, f"{reason} {_of_types(metrics) or _UNLABELED}")


def _decide(grades: Mapping[str, Grade], mixing: Grade, kept: Grade) -> tuple[str, str]:
    labels = [grades.get(name, "") for name in _DOUBTS]
    if mixing == kept == "poor":
        return "No", (
            "The slices remain separate and their inner structure was not preserved: do not rely on this "
            "embedding."
        )
    if mixing == "poor":
        return "Not across slices", "They remain separate in the joint space: comparisons are not reliable."
    if "poor" in (*labels, grades.get("transfer_accuracy")):
        return "No", (
            "Different types became neighbors: types were over-mixed or mismatched across slices. Do not "
            "compare types between them in this embedding."
        )
    if kept == "poor":
        return "With care", (
            "The slices mix, but much of their inner structure was lost: they may have been forced together."
        )
    if not mixing == kept == "good":
        return "With care", (
            "The slices mix and their inner structure is preserved in part: check the types of interest "
            "below."
        )
    if "fair" in labels:
        doubts = " and ".join(text for name, text in _DOUBTS.items() if grades.get(name) == "fair")
        return "With care", (
            f"The slices mix well and their inner structure is preserved, but types are {doubts}: check "
            "those of interest below."
        )
    return "Yes", "As far as metrics show, the slices mix well and their inner structure is preserved."


def _of_types(metrics: Mapping[str, Any]) -> str:
    """Describe what known types show, where there are any."""
    shared = metrics.get("like_with_like")
    if not grade("like_with_like", shared):
        return ""
    return (
        f"By the known types, a neighbor from another slice is of the cell's own type {shared:.0%} as often "
        "as one from its own slice."
    )
