"""The page of genes that a slice did not measure."""

from __future__ import annotations

from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd

from lloki import keys
from lloki.analysis import ACROSS, DETECTED
from lloki.report import words
from lloki.report.analysis_page import Section, build_analysis_page
from lloki.report.labeling import score_curve, value_panels
from lloki.report.panels import Shown
from lloki.report.table import Table

DRAWN = 6  # genes in space
_LISTED = 20  # genes in the table; all are in genes.csv
_SCORES = ("score", "error")
_GENES = {
    "gene": "Gene",
    "score": "Score",
    "validated": "Tried",
    "n_sources": "Sources",
    "error": "Error where tried",
}


def build_imputation_page(
    imputed: ad.AnnData,
    left_out: pd.DataFrame,
    *,
    target: str,
    least: float | None,
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
    least
        Least score, None if all genes were imputed.
    reference
        Single cells of a reference that lent as well.
    out
        The file to write.

    Raises
    ------
    OutputError
        If the page cannot be written there.
    """
    kept = best_first(imputed.var)
    lenders = "slices"
    if reference:
        lenders = f"slices and of the reference ({words.plural(reference, 'single cell')})"
    summary = (
        f"{words.plural(imputed.n_vars, 'gene')} estimated for {words.plural(imputed.n_obs, 'cell')} of "
        f"{target}, from the nearest cells of {lenders} that measured them"
    )
    if kept["score"].notna().any():
        summary += f"; median hold-out score {kept['score'].median():.2f}"
    summary += "."
    if len(left_out):
        summary += (
            f" {words.plural(len(left_out), 'gene')} were left out: too low a score, or no way to try them."
        )
    sections = [
        _scores(kept, left_out, least, lent=reference > 0),
        _best(kept),
        _in_space(imputed, kept),
        _left_out(left_out),
    ]
    return build_analysis_page(f"Genes imputed into {target}", summary, sections, out=out)


def best_first(table: pd.DataFrame) -> pd.DataFrame:
    """Sort a hold-out table: genes tried across slices first, as a score within one slice promises less."""
    order = pd.DataFrame({"within": table["validated"] != ACROSS, "down": -table["score"]})
    return table.loc[order.sort_values(["within", "down"], kind="stable").index]


def _scores(kept: pd.DataFrame, left_out: pd.DataFrame, least: float | None, *, lent: bool) -> Section:
    both = pd.concat([kept, left_out])
    across = int((both["validated"] == ACROSS).sum())
    text = [
        "Each gene was first estimated where it was measured, on cells of the slices that lend, from the "
        "other slices. The score is the rank correlation (Spearman) of estimate and measurement over cells: "
        "0 says nothing, 1 is perfect. With a few counts a cell, noise keeps even a perfect "
        "estimate near 0.5." + (" The reference counts as a slice in all this." if lent else ""),
    ]
    if across < len(both):
        text.append(
            f"{words.plural(len(both) - across, 'gene')} could not be tried across slices: one slice alone "
            "measured them, or they do not vary. What works within one slice may still not carry over to "
            "another platform."
        )
    said = "" if least is None else f" Below the dotted line ({least:g}) genes are left out."
    figure = score_curve(both, least=least)
    alt = f"Hold-out scores of {len(both)} genes in falling order"
    shown = Shown.of(figure, "scores", alt, f"{words.plural(len(both), 'gene')}.{said}")
    return Section("How well it works", text, [shown])


def _best(kept: pd.DataFrame) -> Section:
    shown = kept.head(_LISTED).rename_axis("gene").reset_index().drop(columns="spread")
    note = words.further(len(kept) - len(shown), "gene", "genes.csv")
    text = (
        "The error is the root mean square difference from the measurement, in the unit of the values: log "
        "of one plus normalized counts of the slices that lend. Compare cells by such values, not platforms. "
        "Genes that were tried across slices come first."
    )
    detected = (
        "Detected is the share of the cells of each slice that lends which have a count of the gene, – where "
        "it was not measured. All of them count alike, so one that hardly finds a gene draws the level down: "
        "choose who lends if that is so."
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
    xy, shown = np.asarray(imputed.obsm[keys.SPATIAL], float)[:, :2], []
    for gene in kept.index[:DRAWN]:
        values = np.asarray(imputed[:, gene].X, float).ravel()
        score, tried = kept.loc[gene, ["score", "validated"]]
        how = f"score {score:.2f}, tried {tried}" if np.isfinite(score) else "never tried"
        sd = float(np.mean(imputed[:, gene].layers["sd"]))
        caption = f"{gene}: {how}. A value is off by some {sd:.2f}."
        alt = f"Map of {len(xy):,} cells colored by the estimate of {gene}"
        figure = value_panels(xy, {"": values})
        shown.append(Shown.of(figure, f"gene-{gene}", alt, caption))
    text = (
        f"The first {words.plural(len(shown), 'gene')} of these. Estimates are means over like cells, "
        "so they are smoother than measurements."
    )
    return Section("In space", [text], shown)


def _left_out(left_out: pd.DataFrame) -> Section:
    if not len(left_out):
        return Section("")
    shown = best_first(left_out).head(_LISTED)
    note = words.further(len(left_out) - len(shown), "gene", "genes.csv")
    table = shown.rename_axis("gene").reset_index().drop(columns=["spread", "error"])
    text = "Not estimated: the score is too low, or there was no way to try them."
    return Section("Left out", [text], tables=[_table(table, note)])
