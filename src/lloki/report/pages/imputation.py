"""The page of genes that a slice did not measure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd

from lloki import keys
from lloki.analysis import ACROSS, DETECTED
from lloki.analysis.imputation import ENDS
from lloki.pl._coloring import Scale
from lloki.pl._curves import score_curve
from lloki.pl._figures import WIDTH
from lloki.pl._panels import panels_size, slice_panels
from lloki.pl._slots import in_space
from lloki.pl._viewer import viewer_of
from lloki.report import words
from lloki.report.analysis_page import Section, build_analysis_page
from lloki.report.panels import Shown
from lloki.report.svg import on_axes, on_figure
from lloki.report.table import Table

DRAWN = 6  # genes in space
_LISTED = 20  # genes in the table; all are in genes.csv
_SCORES = ("score", "error", "lower", "upper")
_GENES = {
    "gene": "Gene",
    "score": "Predicted score",
    "validated": "Validated",
    "n_sources": "Sources",
    "error": "Validation error",
    "lower": "Interval from",
    "upper": "to",
}


def build_imputation_page(
    imputed: ad.AnnData,
    left_out: pd.DataFrame,
    *,
    target: str,
    min_score: float | None,
    reference: int = 0,
    out: str | Path,
) -> Path:
    """Write the page of an imputation.

    Parameters
    ----------
    imputed
        As :func:`lloki.tl.impute` returned it.
    left_out
        The hold-out table of genes that were not imputed.
    target
        Name of the slice.
    min_score
        Lowest score of an imputed gene, None if all genes were imputed.
    reference
        Number of single cells of an additional reference.
    out
        The file to write.

    Raises
    ------
    OutputError
        If the page cannot be written there.
    """
    kept = best_first(imputed.var)
    sources = "slices"
    if reference:
        sources = f"slices and of the reference ({words.plural(reference, 'single cell')})"
    summary = (
        f"{words.plural(imputed.n_vars, 'gene')} estimated for {words.plural(imputed.n_obs, 'cell')} of "
        f"{target}, from the nearest cells of {sources} that measured them"
    )
    if kept["score"].notna().any():
        summary += f"; median hold-out score {kept['score'].median():.2f}"
    summary += "."
    if len(left_out):
        summary += (
            f" {words.plural(len(left_out), 'gene')} were left out: their score is too low, or they could "
            "not be validated."
        )
    sections = [
        _scores(
            *(kept, left_out, min_score),
            target=target,
            step=json.loads(imputed.uns.get(keys.UNS, {}).get("impute", {}).get("parameters", "{}")),
            with_reference=reference > 0,
        ),
        _best(kept),
        _in_space(imputed, kept),
        _left_out(left_out),
    ]
    viewer = viewer_of(imputed, genes=kept.index, first=next(iter(kept.index), None), label="estimate")
    title = f"Genes imputed into {target}"
    return build_analysis_page(title, summary, sections, viewer=viewer, out=out)


def best_first(table: pd.DataFrame) -> pd.DataFrame:
    """Sort a hold-out table: genes validated across slices first; scores within a slice promise less."""
    order = pd.DataFrame({"within": table["validated"] != ACROSS, "down": -table["score"]})
    return table.loc[order.sort_values(["within", "down"], kind="stable").index]


def _scores(
    kept: pd.DataFrame,
    left_out: pd.DataFrame,
    min_score: float | None,
    *,
    target: str,
    step: Mapping[str, Any],
    with_reference: bool,
) -> Section:
    both = pd.concat([kept, left_out])
    across = int((both["validated"] == ACROSS).sum())
    text = [
        "The predicted score is the expected rank correlation (Spearman) of estimate and measurement over "
        f"the cells of {target}: 0 is no better than chance, 1 is perfect. With a few counts per cell, noise "
        "limits even a perfect estimate to about 0.5. It is what was found where the gene was measured: in "
        "cells of the source slices, estimated from the others without it"
        + _corrected(step, target)
        + "."
        + (" The reference counts as a slice here." if with_reference else ""),
    ]
    if across < len(both):
        text.append(
            f"{words.plural(len(both) - across, 'gene')} could not be validated across slices: only one "
            "slice measured them, or they do not vary. What works within one slice may not transfer to "
            "another platform."
        )
    line = "" if min_score is None else f" Genes below the dotted line ({min_score:g}) are left out."
    figure = on_axes((WIDTH, WIDTH * 0.9), lambda ax: score_curve(ax, both, min_score=min_score))
    alt = f"Hold-out scores of {len(both)} genes in falling order"
    shown = Shown.of(figure, "scores", alt, f"{words.plural(len(both), 'gene')}.{line}")
    return Section("Validation", text, [shown])


def _corrected(step: Mapping[str, Any], target: str) -> str:
    """Describe the ratios by which scores were corrected, where they were."""
    texts = {
        "of_target": f"because {target} differs from the sources, by genes that it measured too",
        "transfer": "where a single slice measured the gene, for the step to another slice",
    }
    found = [f"times {step[k]:.2f} {t}" for k, t in texts.items() if k in step and round(step[k], 2) != 1]
    return "".join(f", {text}" for text in found)


def _best(kept: pd.DataFrame) -> Section:
    shown = kept.head(_LISTED).rename_axis("gene").reset_index().drop(columns="spread")
    note = words.further(len(kept) - len(shown), "gene", "genes.csv")
    text = (
        "The error is the root mean square difference from the measurement, in the unit of the values: "
        "log(1 + normalized counts) of the source slices. Use these values to compare cells, not platforms. "
        "Genes validated across slices come first."
    )
    if "lower" in shown and shown["lower"].notna().any():
        text += (
            " The interval holds 90 % of measured values in tried cells with an estimate of the same level. "
            "The table has the medians of its ends; those of every cell are layers of imputed.h5ad."
        )
    detected = (
        "Detected is the share of cells of each source slice with a count of the gene, – where it was not "
        "measured. All sources have the same weight, so a source with low detection lowers the level: if "
        "that is so, choose the sources."
    )
    has = any(str(column).startswith(DETECTED) for column in shown)
    return Section("Genes", [text, detected] if has else [text], tables=[_table(shown, note)])


def _table(frame: pd.DataFrame, note: str) -> Table:
    """Show a hold-out table, columns of detection last."""
    found = [c for c in map(str, frame.columns) if c.startswith(DETECTED)]
    headings = _GENES | {c: c[:1].upper() + c[1:] for c in found}
    return Table.of(frame, headings, shares=found, hundredths=_SCORES, note=note)


def _in_space(imputed: ad.AnnData, kept: pd.DataFrame) -> Section:
    if keys.SPATIAL not in imputed.obsm:
        return Section("")
    xy, shown = in_space(imputed, keys.SLICE).astype(float)[:, :2], []
    for gene in kept.index[:DRAWN]:
        values = np.asarray(imputed[:, gene].X, float).ravel()
        score, tried = kept.loc[gene, ["score", "validated"]]
        how = f"score {score:.2f}, validated {tried}" if np.isfinite(score) else "not validated"
        sd = float(np.mean(imputed[:, gene].layers["sd"]))
        caption = f"{gene}: {how}. Standard deviation of a value: {sd:.2f}."
        alt = f"Map of {len(xy):,} cells colored by the estimate of {gene}"
        scale = Scale.of(values, "log(1 + normalized counts)")
        draw = partial(slice_panels, positions={"": xy}, shades={"": scale}, whole=scale)
        figure = on_figure(panels_size({"": xy}, 0.9), draw)
        shown.append(Shown.of(figure, f"gene-{gene}", alt, caption))
    text = (
        f"The first {words.plural(len(shown), 'gene')} of the table. Estimates are means over similar cells, "
        "so they are smoother than measurements."
    )
    return Section("In space", [text], shown, pictures=True)


def _left_out(left_out: pd.DataFrame) -> Section:
    if not len(left_out):
        return Section("")
    shown = best_first(left_out).head(_LISTED)
    note = words.further(len(left_out) - len(shown), "gene", "genes.csv")
    table = shown.rename_axis("gene").reset_index().drop(columns=["spread", "error", *ENDS], errors="ignore")
    text = "Not estimated: the score is too low, or the gene could not be validated."
    return Section("Left out", [text], tables=[_table(table, note)])
