"""The benchmark of a run by itself, as the page shows it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from lloki import keys
from lloki.evaluate import METRICS
from lloki.report import words

_KINDS = {"bio": "Separation of types (bio conservation)", "batch": "Mixing of batches (batch correction)"}
_AGGREGATES = {
    "bio": "Mean of these",
    "batch": "Mean of these",
    "total": "Total",
}
_EMBEDDINGS = {keys.FP: "Before", keys.JOINT: "After"}
_SAME, _WORSE = 0.005, 0.02  # differences of a mean that are called none, and of the total that matter


def section(scores: pd.DataFrame | None, about: Mapping[str, Any]) -> dict[str, Any] | None:
    """Put together what the template needs: ``text``, ``columns`` and ``groups`` of rows.

    Parameters
    ----------
    scores
        A row an embedding, its key in ``embedding``; a column a metric or aggregate.
    about
        The facts beside it; see ``run.json``, benchmark.

    Returns
    -------
    dict or None
        ``None`` if the run was not to be scored. A row holds name, values, meaning and whether it is a mean.
    """
    if scores is None:
        why = about.get("why")
        return {"text": f"Not scored: {why}", "columns": [], "groups": []} if why else None
    table = scores.set_index("embedding")
    groups = [
        {
            "title": title,
            "rows": [
                *(
                    _row(table, m, about)
                    for m, metric in METRICS.items()
                    if metric.kind == kind and m in table
                ),
                _mean(table, kind),
            ],
        }
        for kind, title in _KINDS.items()
    ]
    groups.append({"title": "Both", "rows": [_mean(table, "total")]})
    columns = [_EMBEDDINGS.get(key, key) for key in table.index]
    return {"text": _text(table, about), "columns": columns, "groups": groups}


def _row(table: pd.DataFrame, name: str, about: Mapping[str, Any]) -> dict[str, Any]:
    metric, note = METRICS[name], (about.get("notes") or {}).get(name, "")
    meaning = f"{metric.meaning} {note[:1].upper()}{note[1:]}.".strip() if note else metric.meaning
    return {"name": metric.title, "values": list(table[name]), "meaning": meaning, "mean": False}


def _mean(table: pd.DataFrame, name: str) -> dict[str, Any]:
    meaning = "0.6 of the first mean and 0.4 of the second." if name == "total" else ""
    return {"name": _AGGREGATES[name], "values": list(table[name]), "meaning": meaning, "mean": True}


def _text(table: pd.DataFrame, about: Mapping[str, Any]) -> str:
    parts = []
    if {keys.FP, keys.JOINT} <= set(table.index):
        changes = [
            _moved(what, float(table[name][keys.FP]), float(table[name][keys.JOINT]))
            for name, what in (("bio", "the separation of types"), ("batch", "the mixing of batches"))
        ]
        parts.append(f"Aligning the batches {' and '.join(changes)}.")
        if table["total"][keys.JOINT] < table["total"][keys.FP] - _WORSE:
            parts.append(
                "Overall the embedding before was better: check whether training was long enough "
                "(Training, below)."
            )
    if "cells" in about:
        parts.append(
            f"From {words.plural(about['cells'], 'cell')} of {words.plural(about['types'], 'type')} in "
            f"{words.plural(about['batches'], 'slice')}, sampled evenly (profile {about['profile']})."
        )
    if about.get("trained_on"):
        parts.append("Training saw types from the same column, so the scores may flatter it.")
    return " ".join(parts)


def _moved(what: str, before: float, after: float) -> str:
    if not (before == before and after == after):
        return f"changed {what} by an amount that could not be computed"
    if abs(after - before) < _SAME:
        return f"left {what} at {after:.2f}"
    return f"{'raised' if after > before else 'lowered'} {what} from {before:.2f} to {after:.2f}"
