"""Words of the report: numbers, lists and warnings."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from lloki.io.messages import rank_of


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


def further(n: int, noun: str, file: str) -> str:
    """State how many more are in a file, if any."""
    return f"{plural(n, f'further {noun}')} in {file}." if n > 0 else ""


def cells_of(kind: str) -> str:
    """Name cells of a type: ``malignant cells``, but ``T cells`` for ``T cell``."""
    if kind.lower().endswith("cells"):
        return kind
    return f"{kind}s" if kind.lower().endswith("cell") else f"{kind} cells"


def flatten(nested: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """List the leaves of nested mappings, named ``stage.parameter``."""
    rows: list[tuple[str, Any]] = []
    for key, value in nested.items():
        name = f"{prefix}{key}"
        rows += flatten(value, f"{name}.") if isinstance(value, Mapping) else [(name, value)]
    return rows


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
            found.append((name, f"{flagged / cells:.0%} of the cells are flagged; interpret them with care."))
        if shared < 0.5 * genes:
            found.append((name, "Fewer than half of the panel's genes are in the reference."))
        if before <= target:
            found.append(
                (
                    name,
                    "Already denser than its target: propagation had little or nothing to add.",
                )
            )
        elif gap > 0.1:
            found.append(
                (name, f"After propagation the sparsity is on average {gap:.2f} away from its target.")
            )
    return found


def by_weight(messages: Sequence[tuple[str, list[str]]]) -> tuple[list[Any], list[Any]]:
    """Part messages into those to be read, the gravest first, and trivial ones, which the page folds."""
    ranked = [(rank_of(next(iter(m[1]), ""), m[0]), m) for m in messages]
    read = [m for rank in ("act", "note") for found, m in ranked if found == rank]
    return read, [m for found, m in ranked if found == "trivial"]


def _value(row: Mapping[Hashable, Any], column: str) -> float:
    """Return the number in a column, NaN (which compares as false) where there is none."""
    value = row.get(column)
    return float(value) if isinstance(value, int | float) else float("nan")
