"""The report: one HTML page that holds everything it shows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anndata as ad
import pandas as pd
from numpy.typing import NDArray

from lloki import keys
from lloki.evaluate import verdict
from lloki.io.messages import grouped
from lloki.pl._viewer import viewer_of
from lloki.report import benchmark, clusters, panels, words
from lloki.report.answer import answer_of
from lloki.report.page import write_page
from lloki.report.table import Table

# Column of the table of slices -> heading. Others follow under their own names.
_QC_HEADINGS = {
    "slice": "Slice",
    "technology": "Technology",
    "panel": "Panel",
    "cells": "Cells",
    "cells_flagged": "Flagged cells",
    "control_rate": "Controls",
    "genes": "Genes",
    "genes_in_reference": "In reference",
    "genes_used": "Genes used",
    "genes_dropped": "Genes dropped",
    "sparsity_before": "Sparsity",
    "sparsity_target": "Target",
    "sparsity_after": "After",
    "latent_alpha": "Share of neighbors",
    "w1_before": "Gap before",
    "w1_after": "Gap after",
}
# What is shown at once; all columns are in the folded table.
_QC_FIRST = (
    "slice",
    "technology",
    "cells",
    "cells_flagged",
    "control_rate",
    "genes",
    "genes_in_reference",
    "sparsity_before",
)


def build_report(
    joint: ad.AnnData,
    *,
    qc: pd.DataFrame,
    losses: pd.DataFrame,
    run: Mapping[str, Any],
    sparsity: Mapping[str, Mapping[str, NDArray]],
    scores: pd.DataFrame | None = None,
    label_key: str | None = None,
    out: str | Path,
) -> Path:
    """Write ``report.html``: a page without links to anything outside it.

    Parameters
    ----------
    joint
        All cells: ``obs`` slice, technology, lloki_cluster and the label column; ``obsm`` X_umap and spatial.
        What is absent is left out of the page.
    qc
        One row per slice (columns: see `_QC_HEADINGS`; any may be absent, more are shown).
    losses
        Columns step, total, validation, reconstruction, triplet, conservation; any may be absent or NaN.
    run
        The content of ``run.json``: lloki, versions, parameters, seed, stages, messages, verdict, metrics,
        benchmark. The metrics of `lloki.evaluate.verdict` are graded.
    sparsity
        Slice → before, target, after: sparsity of each cell, (n,).
    scores
        A row an embedding, a column a metric of ``lloki.evaluate.METRICS`` or an aggregate.
    label_key
        Column of ``joint.obs`` with known cell types.
    out
        A folder, in which ``report.html`` is written, or a path that ends in ``.html``.

    Returns
    -------
    Path
        The page. The same input gives the same bytes.

    Raises
    ------
    OutputError
        The page cannot be written there; what was there before stays.

    Notes
    -----
    The viewer holds all cells; see `lloki.pl.interactive`. Pictures, which browsers without WebGL 2 and
    printers show, draw at most 60,000 cells each, chosen at random with a fixed seed; their captions say so.
    Everything from the data passes through the template's escaping, or is text of the viewer's data.
    """
    out = Path(out).expanduser()
    path = out if out.suffix == ".html" else out / "report.html"
    by = panels.colorings(joint, label_key)
    in_tissue = {k: by[k] for k in (keys.CLUSTER, label_key) if k in by}
    metrics = run.get("metrics") or {}
    markers = clusters.markers_of(joint)
    genes = clusters.one_of_each(markers)
    viewer = viewer_of(joint, label_key=label_key, genes=genes)
    known = keys.CLUSTER in by and keys.SLICE in by
    warnings, notes = words.by_weight(grouped([*_messages(run), *words.notes(qc)]))
    return write_page(
        "report.html.j2",
        path,
        run=run,
        viewer=viewer,
        summary=_summary(joint, run),
        answer=answer_of(run),
        cards=_cards(metrics),
        benchmark=benchmark.section(scores, run.get("benchmark") or {}),
        warnings=warnings,
        notes=notes,
        clusters=clusters.describe(joint, by, markers, label_key) if known else [],
        slice_key=by[keys.SLICE].legend if keys.SLICE in by else (),
        qc=Table.of(
            _first(qc),
            _QC_HEADINGS,
            shares=("control_rate",),
            hundredths=("sparsity_before", "sparsity_after"),
        ),
        qc_all=Table.of(qc, _QC_HEADINGS, shares=("control_rate",))
        if len(set(qc) - set(_QC_FIRST))
        else None,
        violins=panels.quality_control(joint, by),
        umaps=panels.umaps(joint, by, label_key),
        sections=panels.sections(joint, in_tissue, label_key),
        legends={k: coloring.legend for k, coloring in in_tissue.items()},
        sparsity=panels.sparsity(sparsity),
        losses=panels.losses(losses),
        parameters=_rows(run.get("parameters") or {}),
        versions=_rows({"lloki": run.get("lloki", ""), **(run.get("versions") or {})}),
        stages=list(run.get("stages") or []),
    )


def _first(qc: pd.DataFrame) -> pd.DataFrame:
    """Take the columns that are shown at once; one of zeros alone says nothing."""
    there = [c for c in _QC_FIRST if c in qc and not (c == "cells_flagged" and not qc[c].any())]
    return qc[there]


def _cards(metrics: Mapping[str, Any]) -> list[dict[str, str]]:
    """Describe metrics: ``name``, ``value``, ``meaning``, ``grade``; those without a meaning come last."""
    cards = []
    for name, value in words.flatten(metrics):
        known = verdict.CRITERIA.get(name)
        title, meaning = (known.title, known.meaning) if known else (name, "")
        card = {"name": title, "value": words.number(value), "meaning": meaning}
        cards.append(card | {"grade": verdict.grade(name, value)})
    return sorted(cards, key=lambda card: not card["meaning"])


def _summary(joint: ad.AnnData, run: Mapping[str, Any]) -> str:
    """Describe in a sentence what was run."""
    obs, nouns = joint.obs, {keys.SLICE: "slice", keys.PANEL: "gene panel", keys.CLUSTER: "cluster"}
    parts = [words.plural(joint.n_obs, "cell")]
    parts += [words.plural(obs[k].nunique(), noun) for k, noun in nouns.items() if k in obs]
    if keys.TECHNOLOGY in obs:
        many = words.plural(obs[keys.TECHNOLOGY].nunique(), "technology", "technologies")
        parts.insert(2, many)
    spent = sum(float(s.get("seconds") or 0) for s in run.get("stages") or [])
    text = words.listed(parts, most=9)
    return f"{text}, in {words.seconds(spent)}." if spent else f"{text}."


def _messages(run: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(str(m.get("slice", "")), str(m.get("text", ""))) for m in run.get("messages") or []]


def _rows(nested: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(k, v if isinstance(v, str) else json.dumps(v, default=str)) for k, v in words.flatten(nested)]
