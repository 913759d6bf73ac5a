"""The report's plain words: what was run, what the figures of merit mean, what to be careful about."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import Any

import pandas as pd

# Name of a figure of merit -> (what to call it, what it means, below this it is poor, from this it is good).
# All of these lie between 0 and 1, higher is better.
KNOWN_METRICS: dict[str, tuple[str, str, float, float]] = {
    "mixing": (
        "Mixing of slices",
        "How evenly cells of different slices lie among each other: 0 apart, 1 as even as can be.",
        0.3,
        0.6,
    ),
    "preservation": (
        "Structure kept within slices",
        "Share of each cell's nearest neighbours in its own slice that stay so in the joint space.",
        0.15,
        0.35,
    ),
    "transfer_accuracy": (
        "Label transfer",
        "Share of cells whose label is found again from their nearest neighbours in another slice.",
        0.4,
        0.7,
    ),
    "transfer_macro_f1": ("Label transfer, macro F1", "The same with every label counted alike.", 0.3, 0.6),
}


_LIMIT = (
    "Neither figure can tell whether like was matched with like: for that, look whether known types meet."
)


def number(value: Any) -> str:
    """Write a value as a person would: thousands apart, three figures after the point where they matter."""
    if value is None or (isinstance(value, float) and value != value):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if hasattr(value, "item"):
        return number(value.item())
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        if value.is_integer() and abs(value) >= 10:
            return f"{value:,.0f}"
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return str(value)


def seconds(value: float) -> str:
    """Write a duration: ``12.3 s``, ``4 min 05 s``, ``1 h 12 min``."""
    if value < 60:
        return f"{value:.1f} s"
    minutes, left = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {left:02d} s"


def listed(names: Iterable[str], most: int = 6) -> str:
    """Join names into a phrase: ``a, b and c``; after ``most`` of them ``and 4 more``."""
    names = list(names)
    if len(names) > most:
        names = [*names[:most], f"{len(names) - most} more"]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else "none"


def plural(n: int, one: str, many: str | None = None) -> str:
    """Write a count with its noun."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def flatten(nested: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """List the leaves of nested mappings, named ``stage.parameter``."""
    rows: list[tuple[str, Any]] = []
    for key, value in nested.items():
        name = f"{prefix}{key}"
        rows += flatten(value, f"{name}.") if isinstance(value, Mapping) else [(name, value)]
    return rows


def verdicts(metrics: Mapping[str, Any]) -> list[dict[str, str]]:
    """Describe each figure of merit: ``name``, ``value``, ``meaning``, ``grade`` (good, fair, poor or "")."""
    cards = []
    for name, value in flatten(metrics):
        title, meaning, poor, good = KNOWN_METRICS.get(name, (name, "", 0.0, 0.0))
        grade = ""
        if name in KNOWN_METRICS and isinstance(value, int | float) and value == value:
            grade = "poor" if value < poor else "good" if value >= good else "fair"
        cards.append({"name": title, "value": number(value), "meaning": meaning, "grade": grade})
    # The ones a reader can act on first.
    return sorted(cards, key=lambda card: not card["meaning"])


def trust(metrics: Mapping[str, Any]) -> str:
    """Say whether the embedding can be trusted, as far as mixing and preservation can tell."""
    grades = {card["name"]: card["grade"] for card in verdicts(metrics) if card["grade"]}
    mixing, kept = (grades.get(KNOWN_METRICS[k][0]) for k in ("mixing", "preservation"))
    if not mixing or not kept:
        return (
            "No figures of mixing and preservation were computed for this run: judge it by the plots below."
        )
    if mixing == "poor" and kept == "poor":
        text = "The slices stay apart and their inner structure was not kept: do not rely on this embedding."
    elif mixing == "poor":
        text = "The slices stay apart in the joint space: comparisons between them are not reliable."
    elif kept == "poor":
        text = (
            "The slices mix, but much of their inner structure was lost: they may have been forced together."
        )
    elif mixing == kept == "good":
        text = "The slices mix well and keep their inner structure."
    else:
        text = "The slices mix and keep their inner structure in part: check the types you care about below."
    return f"{text} {_LIMIT}"


def notes(qc: pd.DataFrame) -> list[tuple[str, str]]:
    """Derive warnings (slice, text) from the table of slices."""
    found = []
    for row in qc.to_dict("records"):
        name = str(row.get("slice", ""))
        cells, flagged, genes, shared = (
            _value(row, k) for k in ("cells", "cells_flagged", "genes", "genes_in_reference")
        )
        before, target, gap = (_value(row, k) for k in ("sparsity_before", "sparsity_target", "w1_after"))
        if flagged > 0.05 * cells:
            found.append(
                (name, f"{flagged / cells:.0%} of the cells are flagged; read their rows with care.")
            )
        if shared < 0.5 * genes:
            found.append(
                (name, f"Only {shared:,.0f} of the panel's {genes:,.0f} genes are in the reference.")
            )
        if before <= target:
            found.append(
                (
                    name,
                    "Denser than the reference asks for already: propagation had little or nothing to add.",
                )
            )
        elif gap > 0.1:
            found.append(
                (name, f"After propagation the sparsity is on average {gap:.2f} away from its target.")
            )
    return found


def grouped(messages: Iterable[tuple[str, str]]) -> list[tuple[str, list[str]]]:
    """Gather the slices that share a message: (text, slices), in order of first appearance."""
    groups: dict[str, dict[str, None]] = {}
    for name, text in messages:
        groups.setdefault(text, {})[name] = None
    return [(text, [n for n in names if n]) for text, names in groups.items()]


def _value(row: Mapping[Hashable, Any], column: str) -> float:
    """Return the number in a column, NaN (which compares as false) where there is none."""
    value = row.get(column)
    return float(value) if isinstance(value, int | float) else float("nan")
