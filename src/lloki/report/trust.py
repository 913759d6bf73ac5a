"""Whether an integration can be trusted, in plain words, from figures of the run itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lloki.report.words import flatten, number

# Name of a figure of merit -> (what to call it, what it means, below this it is poor, from this it is good).
# Higher is better. The limits were set by real sections whose embedding was spoilt in known ways
# (benchmarks/trust.py).
KNOWN_METRICS: dict[str, tuple[str, str, float, float]] = {
    "mixing": (
        "Mixing of batches",
        "How evenly cells of different batches lie among each other: 0 apart, 1 as even as can be.",
        0.3,
        0.6,
    ),
    "preservation": (
        "Structure kept within slices",
        "Share of each cell's nearest neighbors in its own slice that stay so in the joint space.",
        0.15,
        0.35,
    ),
    "dimensions": (
        "Directions in use",
        "In how many independent directions the cells spread. Near 1, the embedding has collapsed.",
        2.0,
        4.0,
    ),
    "types_kept": (
        "Types kept",
        "How often a cell's neighbors in its slice share its type, over what it was before the batches were "
        "aligned: 1 the same, less if types were mixed.",
        0.9,
        0.97,
    ),
    "like_with_like": (
        "Like with like",
        "How often neighbors from other slices share a cell's type, over how often neighbors from its own "
        "do: 1 as often.",
        0.6,
        0.85,
    ),
    "transfer_accuracy": (
        "Label transfer",
        "Share of cells whose label is found again from their nearest neighbors in another slice.",
        0.4,
        0.7,
    ),
    "transfer_macro_f1": ("Label transfer, macro F1", "The same with every label counted alike.", 0.3, 0.6),
}

_DOUBTS = {
    "types_kept": "less clearly than before",
    "like_with_like": "less clearly across slices than within",
}
_UNKNOWN = "No figures of mixing and preservation were computed for this run: judge it by the plots below."
_LIMIT = (
    "Without cell types in two or more slices, no figure can tell whether like was matched with like: look "
    "whether known types meet."
)


def verdicts(metrics: Mapping[str, Any]) -> list[dict[str, str]]:
    """Describe each figure of merit: ``name``, ``value``, ``meaning``, ``grade`` (good, fair, poor or "")."""
    cards = []
    for name, value in flatten(metrics):
        title, meaning, *_ = KNOWN_METRICS.get(name, (name, ""))
        cards.append(
            {"name": title, "value": number(value), "meaning": meaning, "grade": _grade(name, value)}
        )
    # The ones a reader can act on first.
    return sorted(cards, key=lambda card: not card["meaning"])


def in_words(metrics: Mapping[str, Any]) -> str:
    """Answer whether the embedding can be trusted, with the reasons, as far as figures can tell.

    Looked at are, in this order: collapse (``dimensions``), failure (``mixing`` and ``preservation``), slices
    that stay apart (``mixing``), with labels over-mixing and mismatch (``types_kept``, ``like_with_like``,
    ``transfer_accuracy``), and structure that was lost (``preservation``).
    """
    grades = {name: _grade(name, value) for name, value in metrics.items()}
    mixing, kept = grades.get("mixing", ""), grades.get("preservation", "")
    if not mixing or not kept:
        return _UNKNOWN
    if grades.get("dimensions") == "poor":
        return (
            f"No. The embedding has collapsed: cells spread in only {number(metrics['dimensions'])} "
            "directions, so neighbors in it mean little. Do not rely on it."
        )
    labels = [grades.get(name, "") for name in ("types_kept", "like_with_like")]
    unlike = "poor" in (*labels, grades.get("transfer_accuracy"))
    if mixing == kept == "poor":
        said = (
            "No. The slices stay apart and their inner structure was not kept: do not rely on this embedding."
        )
    elif mixing == "poor":
        said = "Not across slices. They stay apart in the joint space: comparisons are not reliable."
    elif unlike:
        said = (
            "No. Unlike cells became neighbors: types were mixed too much, or matched with others, across "
            "slices. Do not compare types between them in this embedding."
        )
    elif kept == "poor":
        said = (
            "With care. The slices mix, but much of their inner structure was lost: they may have been "
            "forced together."
        )
    elif mixing == kept == "good" and "fair" not in labels:
        said = "Yes, as far as figures can tell. The slices mix well and keep their inner structure."
    elif mixing == kept == "good":
        doubts = " and ".join(text for name, text in _DOUBTS.items() if grades.get(name) == "fair")
        said = (
            f"With care. The slices mix well and keep their inner structure, but types part {doubts}: check "
            "those you care about below."
        )
    else:
        said = (
            "With care. The slices mix and keep their inner structure in part: check the types you care "
            "about below."
        )
    return f"{said} {_of_types(metrics) or _LIMIT}"


def _of_types(metrics: Mapping[str, Any]) -> str:
    """Say what known types show, where they do."""
    shared = metrics.get("like_with_like")
    if not _grade("like_with_like", shared):
        return ""
    return (
        f"By the known types, a neighbor from another slice is of the cell's own type {shared:.0%} as often "
        "as one from its own slice."
    )


def _grade(name: str, value: Any) -> str:
    if name not in KNOWN_METRICS or not isinstance(value, int | float) or value != value:
        return ""
    poor, good = KNOWN_METRICS[name][2:]
    return "poor" if value < poor else "good" if value >= good else "fair"
