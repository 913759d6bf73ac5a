"""From scores of methods and repeats to the tables that people read."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import pandas as pd

from lloki.benchmark.scoring import TRANSFER
from lloki.evaluate import METRICS, aggregate, entering, min_max
from lloki.evaluate.metrics import AGGREGATES

FIGURES = (*AGGREGATES, *TRANSFER)  # what summaries show first


def with_aggregates(scores: pd.DataFrame) -> pd.DataFrame:
    """Add bio, batch and total to a table of scores: kind, name, title, repeat, metrics, transfer."""
    return scores.drop(columns=list(AGGREGATES), errors="ignore").join(aggregate(scores))


def summary(scores: pd.DataFrame, kind: str) -> pd.DataFrame:
    """Mean of each method of a kind over its repeats, and standard deviation (n - 1) in ``…_sd``."""
    own = scores[scores["kind"] == kind]
    columns = [c for c in (*FIGURES, *METRICS) if c in own]
    groups = own.groupby("title", sort=False)
    out = groups[columns].mean().join(groups[columns].std(ddof=1).add_suffix("_sd"))
    out.insert(0, "repeats", groups.size())
    return out.rename_axis("method").reset_index()


def scaled(methods: pd.DataFrame) -> pd.DataFrame:
    """Scale the metrics of a summary over its methods, and aggregate them anew.

    A metric without a difference between the methods has no scale and enters no aggregate.
    """
    table = methods.set_index("method")
    metrics = table[entering(table)]
    out = min_max(metrics)
    return aggregate(out.dropna(axis=1, how="all")).join(out).reset_index()


def differences(scores: pd.DataFrame, default: str) -> pd.DataFrame:
    """Differences of the ablations from the default, repeat by repeat, as mean and standard deviation.

    Parameters
    ----------
    scores
        With aggregates; the default and the ablations have the same repeats.
    default
        Name of the default method.

    Returns
    -------
    pandas.DataFrame
        First the default's own values, then a row an ablation: its value less the default's.
    """
    columns = [c for c in (*FIGURES, *METRICS) if c in scores]
    base = scores[(scores["name"] == default) & (scores["kind"] == "method")].set_index("repeat")[columns]
    rows = []
    for title, own in scores[scores["kind"] == "ablation"].groupby("title", sort=False):
        change = own.set_index("repeat")[columns] - base
        change = change.dropna(how="all")
        rows.append(_row(str(title), change))
    return pd.DataFrame([_row("LLOKI (its values)", base), *rows])


def _row(title: str, values: pd.DataFrame) -> dict[Hashable, Any]:
    spread = values.std(ddof=1).add_suffix("_sd")
    return {"ablation": title, "repeats": len(values), **values.mean().to_dict(), **spread.to_dict()}
