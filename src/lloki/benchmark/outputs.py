"""The tables and figures of a benchmark; every file whole or not there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from lloki._version import __version__
from lloki.benchmark.scoring import TRANSFER, Judge
from lloki.benchmark.subject import Subject
from lloki.benchmark.tables import differences, scaled, summary, with_aggregates
from lloki.evaluate import METRICS, entering
from lloki.evaluate.metrics import BIO_WEIGHT
from lloki.io import atomic
from lloki.pl._coloring import Coloring
from lloki.pl._score_table import Group, score_table, score_table_size
from lloki.pl._umap_panels import umap_panels, umap_panels_size
from lloki.run.outputs import discard
from lloki.run.record import versions

_TITLES = {"bio": "Bio", "batch": "Batch", "total": "Total"}
_TRANSFER = dict(zip(TRANSFER, ("Accuracy", "Macro F1")))


def write_benchmark(
    folder: Path,
    subject: Subject,
    judge: Judge,
    scores: pd.DataFrame,
    layouts: Mapping[str, NDArray[np.float32]],
    facts: Mapping[str, Any],
) -> None:
    """Write tables, figures and, last, ``benchmark.json``.

    Parameters
    ----------
    folder
        Where to.
    subject, judge
        What was judged, and how.
    scores
        A row a method and repeat: kind, name, title, repeat, columns, metrics, transfer, notes.
    layouts
        Title of a method → (m, 2) of the judge's ``layout_rows``.
    facts
        Settings and what was skipped.
    """
    for name in ("benchmark.json", "ablations.csv"):
        discard(folder / name)
    scores = with_aggregates(scores)
    methods = summary(scores, "method")
    tables = {
        "scores": scores.drop(columns="notes"),
        "methods": methods,
        "methods_scaled": scaled(methods),
    }
    note = footnote(facts, entering(scores))
    _save(folder, "methods", draw(methods, note))
    if (scores["kind"] == "ablation").any():
        tables["ablations"] = differences(scores, "lloki")
        default = scores[(scores["kind"] == "method") & (scores["name"] == "lloki")]
        ablated = pd.concat([default.assign(kind="ablation"), scores[scores["kind"] == "ablation"]])
        _save(folder, "ablations", draw(summary(ablated, "ablation"), note))
    if layouts:
        rows = judge.layout_rows
        by = {
            subject.batch_key: Coloring.of(pd.Series(subject.batches[rows])),
            subject.label_key: Coloring.of(pd.Series(subject.labels[rows])),
        }
        figure = Figure(figsize=umap_panels_size(len(layouts), by), facecolor="white", layout="constrained")
        umap_panels(figure, layouts, by, seed=judge.seed)
        _save(folder, "umap", figure)
    for name, table in tables.items():
        with atomic(folder / f"{name}.csv") as temporary:
            table.to_csv(temporary, index=False)
    record = dict(facts) | {
        "aggregated": entering(scores),
        "weights": {"bio": BIO_WEIGHT, "batch": round(1 - BIO_WEIGHT, 6)},
        "notes": {f"{r.title}, repeat {r.repeat}": r.notes for r in scores.itertuples() if r.notes},
        "lloki": __version__,
        "versions": versions(),
    }
    with atomic(folder / "benchmark.json") as temporary:
        temporary.write_text(json.dumps(record, indent=1, default=str))


def draw(methods: pd.DataFrame, note: str) -> Figure:
    """Draw a summary as a table of circles and bars."""
    table = methods.set_index("method")
    there = [m for m in METRICS if m in table]
    groups = [
        Group(title, {m: METRICS[m].title for m in there if METRICS[m].kind == kind})
        for kind, title in (("bio", "Bio conservation"), ("batch", "Batch correction"))
    ]
    groups += [Group("Label transfer", _TRANSFER), Group("Aggregate scores", _TITLES, bars=True)]
    spread = pd.DataFrame({c: table[f"{c}_sd"] for c in _TITLES})
    figure = Figure(figsize=score_table_size(table, groups, note), facecolor="white")
    score_table(figure, table, groups, spread=spread, footnote=note)
    return figure


def footnote(facts: Mapping[str, Any], aggregated: list[str]) -> str:
    """Say what the figures are computed from and what enters the aggregates."""
    left = [METRICS[m].title for m in facts["metrics"] if m not in aggregated]
    apart = f" {', '.join(left)} {'does' if len(left) == 1 else 'do'} not enter." if left else ""
    repeats = f" ±: standard deviation over {facts['seeds']} seeds." if facts["seeds"] > 1 else ""
    cells = f"{facts['cells_scored']:,} of {facts['cells_with_label']:,} labeled cells"
    return (
        f"{cells}, of {len(facts['types'])} types in {len(facts['batches'])} batches, at most an equal share "
        f"of each (profile {facts['profile']}). The shade of a circle: from the worst to the best of "
        "its column; numbers are not scaled. Bio and Batch: means of the metrics of their kind; Total: "
        f"{BIO_WEIGHT:g} Bio + {1 - BIO_WEIGHT:g} Batch.{apart}{repeats}"
    )


def _save(folder: Path, name: str, figure: Figure) -> None:
    with mpl.rc_context({"svg.hashsalt": name, "svg.fonttype": "none"}):
        for kind, metadata in (("png", None), ("svg", {"Date": None}), ("pdf", {"CreationDate": None})):
            with atomic(folder / f"{name}.{kind}") as temporary:
                figure.savefig(temporary, format=kind, dpi=200, metadata=metadata)
