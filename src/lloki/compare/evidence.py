"""Findings in the order of their evidence: what supports each, and what would refute it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

_HETEROGENEOUS = 0.01
STRENGTHS = ("strong", "moderate", "weak")


def rank_evidence(
    tables: Mapping[str, pd.DataFrame], alpha: float, technologies: Mapping[str, str]
) -> pd.DataFrame:
    """List the findings of all tables, the best supported first.

    Parameters
    ----------
    tables
        With q-values: composition, expression, abundance, neighborhood.
    alpha
        Largest q-value of a finding.
    technologies
        Panel group → technology.

    Returns
    -------
    One row per finding; of abundance, one for each type and direction, by its smallest q-value. Columns:
    strength, table, statement, condition, effect, low, high, q_value, n_units, panels, technologies
    (numbers), would_refute, and feature (text that identifies it).

    Notes
    -----
    ``"strong"``: all technologies agree in the direction, at least two, and nothing speaks against it.
    ``"weak"``: condition and instrument are confounded, transcripts of neighbors may explain it, panels
    disagree, or only the share changes. ``"moderate"``: all others.
    """
    rows: list[dict[str, Any]] = []
    for name, table in tables.items():
        if not len(table) or "q_value" not in table:
            continue
        found = table[table["q_value"] <= alpha]
        if name == "abundance":
            found = _by_type(found)
        rows += [_finding(name, row, technologies) for row in found.to_dict("records")]
    if not rows:
        return pd.DataFrame(columns=list(_EMPTY))
    evidence = pd.DataFrame(rows)
    evidence["order"] = evidence["strength"].map({s: i for i, s in enumerate(STRENGTHS)})
    evidence = evidence.sort_values(
        ["order", "q_value", "table", "feature"], kind="stable", ignore_index=True
    )
    return evidence.drop(columns="order")


_EMPTY = (
    *("strength", "table", "statement", "condition", "effect", "low", "high", "q_value", "n_units"),
    *("panels", "technologies", "would_refute", "feature"),
)


def _by_type(found: pd.DataFrame) -> pd.DataFrame:
    """Keep the most significant neighborhood of each type and direction, and how many there are."""
    if not len(found):
        return found
    found = found.assign(up=found["effect"] > 0).sort_values("q_value", kind="stable")
    by = found.groupby(["type", "up", "condition"], sort=False)
    return by.first().assign(number=by.size()).reset_index()


def _finding(name: str, row: Mapping[Any, Any], technologies: Mapping[str, str]) -> dict[str, Any]:
    panels = str(row["panels"]).split(";")
    instruments = {technologies[p] for p in panels}
    each = [float(e) * row["effect"] for e in str(row["panel_effects"]).split(";")]  # NaN: one condition only
    agree = {technologies[p] for p, same in zip(panels, each) if same > 0}
    doubts, confounded = [], bool(row.get("confounded", False))
    if confounded:
        doubts.append("the condition and the instrument are confounded: measure both conditions on one panel")
    if row.get("spill_over") == "neighbors":
        doubts.append(
            f"it fades away from {row['source']}, which expresses the gene most: transcripts of "
            f"neighbors may "
            "explain it"
        )
    if row.get("spill_over") == "ambient":
        doubts.append(
            f"{row['source']} expresses the gene most and changes it in the whole slice: ambient transcripts "
            "may explain it"
        )
    if row["heterogeneity_p"] < _HETEROGENEOUS:
        doubts.append(f"panels disagree (effects {row['panel_effects'].replace(';', ', ')})")
    if name in ("composition", "abundance") and row["p_share"] > 0.05:
        doubts.append("only the ratio to the other groups changes, not the share itself")
    if confounded or len(doubts) > 0:
        strength = "weak"
    else:
        sure = agree == instruments and row.get("spill_over") != "unknown"
        strength = "strong" if len(agree) > 1 and sure else "moderate"
    if not doubts:
        doubts = [_next(row, panels, instruments)]
    return {
        "strength": strength,
        "table": name,
        "statement": _statement(name, row),
        "condition": row["condition"],
        "effect": row["effect"],
        "low": row["low"],
        "high": row["high"],
        "q_value": row["q_value"],
        "n_units": int(row["n_units"]),
        "panels": len(panels),
        "technologies": len(instruments),
        "would_refute": "; ".join(doubts),
        "feature": _feature(name, row),
    }


def _next(row: Mapping[Any, Any], panels: list[str], instruments: set[str]) -> str:
    """Name what would refute a finding against which nothing speaks so far."""
    if row.get("spill_over") == "unknown":
        return (
            f"too few cells are away from {row['source']} to exclude its transcripts: a sparser region would"
        )
    if len(panels) == 1:
        return "no effect on a second panel: only one supports it"
    if len(instruments) == 1:
        return "no effect with a second technology: only one supports it"
    return f"no effect in new donors; {int(row['n_units'])} support it so far"


def _feature(name: str, row: Mapping[Any, Any]) -> str:
    if name == "composition":
        return str(row["group"])
    if name == "expression":
        return f"{row['gene']} in {row['type']}"
    if name == "abundance":
        return str(row["type"]) or f"neighborhood {row['neighborhood']}"
    return " – ".join(str(row[k]) for k in ("type", "neighbor") if row[k])


def _statement(name: str, row: Mapping[Any, Any]) -> str:
    up = row["effect"] > 0
    if name == "composition":
        return f"{'More' if up else 'Fewer'} {row['group']} relative to the other {row['grouping']}s"
    if name == "expression":
        return f"{row['gene']} {'up' if up else 'down'} in {row['type']}"
    if name == "abundance":
        what = f"of {row['type']}" if row["type"] else "of cells without a label"
        n = int(row["number"])
        return f"{'More' if up else 'Fewer'} cells in {n} neighborhood{'s' if n > 1 else ''} {what}"
    if row["kind"] == "program":
        return f"Neighborhood program {'higher' if up else 'lower'}"
    if row["kind"] == "contact":
        return f"{row['type']} {'more' if up else 'less'} often beside {row['neighbor']}"
    return f"{row['type']} {'farther from' if up else 'nearer to'} {row['neighbor']}"
