"""The page of a program of one cell type near another."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd

from lloki import keys
from lloki.analysis import NeighborhoodProgram
from lloki.pl._coloring import Scale
from lloki.pl._curves import score_against_share
from lloki.pl._figures import WIDTH
from lloki.pl._panels import panels_size, slice_panels
from lloki.pl._slots import by_slice, in_space
from lloki.pl._viewer import viewer_of
from lloki.pl.neighborhoods import score_ends
from lloki.report import words
from lloki.report.analysis_page import Answer, Section, build_analysis_page
from lloki.report.panels import Shown
from lloki.report.svg import on_axes, on_figure
from lloki.report.table import Table

_GENES = {
    "gene": "Gene",
    "n_datasets": "Data sets",
    "log2_fold": "Difference (log2)",
    "q": "FDR (q)",
    "share_correlation": "Correlation with neighbors",
    "share_q": "q of the correlation",
}
_RATIOS = ("log2_fold", "share_correlation", "pearson", "spearman")
_SETS = {"dataset": "Data set", "n_cells": "Cells", "pearson": "Pearson", "spearman": "Spearman", "p": "p"}
_LISTED = 15  # genes of each direction; all are in genes.csv


def build_neighborhood_page(
    adata: ad.AnnData,
    found: NeighborhoodProgram,
    *,
    focal: str,
    neighbor: str,
    label_key: str,
    k: int,
    slice_key: str = keys.SLICE,
    dataset_key: str | None = None,
    out: str | Path,
) -> Path:
    """Write the page of a neighborhood program.

    Parameters
    ----------
    adata
        All slices, as :func:`lloki.tl.neighborhood_program` left them.
    found
        What it returned.
    focal, neighbor, label_key
        Names of the types, and ``obs`` column of types.
    k
        Nearest cells that make up a neighborhood.
    slice_key, dataset_key
        ``obs`` columns that name slices and data sets.
    out
        The file to write.

    Raises
    ------
    OutputError
        If the page cannot be written there.
    """
    who, others = words.cells_of(focal), words.cells_of(neighbor)
    slices = len(by_slice(adata, slice_key))
    summary = (
        f"Which genes do {who} express near {others}? Tested in "
        f"{words.plural(len(found.share), 'cell')} of {words.plural(slices, 'slice')}, with the "
        f"{k} nearest cells of each as its neighborhood."
    )
    reason = found.reason
    if not found.found:
        reason += " The sections below show what was tested; they are not a result."
    answer = Answer(
        "A program was found" if found.found else "No program was found",
        "good" if found.found else "fair",
        reason,
    )
    sections = [
        _clusters(found, focal, neighbor),
        _genes(found),
        _against(adata, found, neighbor, dataset_key or slice_key),
        _in_space(adata, found, focal, neighbor, label_key, slice_key),
    ]
    title = f"{focal} near {neighbor}"
    first = keys.NEIGHBORHOOD_SCORE if np.isfinite(found.score).any() else keys.NEIGHBOR_SHARE
    viewer = viewer_of(
        adata, label_key=label_key, genes=[*found.up, *found.down], first=first, slice_key=slice_key
    )
    return build_analysis_page(title, summary, sections, answer=answer, viewer=viewer, out=out)


def _clusters(found: NeighborhoodProgram, focal: str, neighbor: str) -> Section:
    who, others = words.cells_of(focal), words.cells_of(neighbor)
    frame = pd.DataFrame({"cluster": found.cluster, "share": found.share, "rich": found.infiltrating})
    by = frame.groupby("cluster")
    table = pd.DataFrame({"cells": by.size(), "share": by["share"].mean(), "rich": by["rich"].first()})
    table = table.reset_index().astype({"cluster": object, "rich": object})
    headings = {
        "cluster": f"Cluster of {focal}",
        "cells": "Cells",
        "share": f"{neighbor} in the neighborhood",
        "rich": "Enriched",
    }
    text = (
        f"{who} of all slices were clustered in the joint embedding, and the clusters with the most {others} "
        f"in their neighborhoods were compared with the others. Their share of {others} is "
        f"{100 * found.contrast:.1f} percentage points higher; a difference as large occurs in "
        f"{found.contrast_p:.1%} of permutations of the positions."
    )
    return Section("Clusters", [text], tables=[Table.of(table, headings, shares=("share",))])


def _genes(found: NeighborhoodProgram) -> Section:
    text = (
        "Genes of the focal type that differ between the clusters in the same direction in every data set "
        f"and correlate with the share of neighbors. Permuted positions gave {found.null_genes:.2g} such "
        "genes on average."
    )
    tables = []
    for names, title in ((found.up, "Up near the neighbors"), (found.down, "Down near the neighbors")):
        if names:
            shown = found.genes.loc[names[:_LISTED], list(_GENES)[1:]]
            note = words.further(len(names) - len(shown), "gene", "genes.csv")
            table = shown.rename_axis("gene").reset_index()
            tables.append(Table.of(table, _GENES, hundredths=_RATIOS, title=title, note=note))
    if not tables:
        text += " None was found."
    return Section("Genes", [text], tables=tables)


def _against(adata: ad.AnnData, found: NeighborhoodProgram, neighbor: str, group: str) -> Section:
    if not np.isfinite(found.score).any():
        return Section("")
    share, score = (adata.obs[c].to_numpy(float) for c in (keys.NEIGHBOR_SHARE, keys.NEIGHBORHOOD_SCORE))
    groups = adata.obs[group].astype(str).to_numpy() if group in adata.obs else np.full(adata.n_obs, "all")
    text = (
        "The score of these genes against the share of neighbors. Lines are medians of eight equal parts of "
        "each data set; all of them should rise. The last column is the share of permutations of the "
        "positions with a rank correlation at least as high: it accounts for chance, not for other "
        "gradients in the tissue."
    )
    others = words.cells_of(neighbor)
    figure = on_axes((WIDTH, WIDTH), lambda ax: score_against_share(ax, share, score, groups))
    alt = f"Score of the program against the share of {others} in the neighborhood, with medians by data set"
    shown = Shown.of(figure, "score", alt, f"Each point is a cell; share of {others} in its neighborhood.")
    return Section(
        "Score and neighbors", [text], [shown], [Table.of(found.correlations, _SETS, hundredths=_RATIOS)]
    )


def _in_space(
    adata: ad.AnnData,
    found: NeighborhoodProgram,
    focal: str,
    neighbor: str,
    label_key: str,
    slice_key: str,
) -> Section:
    who, others = words.cells_of(focal), words.cells_of(neighbor)
    scored = bool(np.isfinite(found.score).any())
    column, label = (
        (keys.NEIGHBORHOOD_SCORE, "score of the program")
        if scored
        else (keys.NEIGHBOR_SHARE, f"% {neighbor} in the neighborhood")
    )
    xy, types = in_space(adata, slice_key).astype(float), adata.obs[label_key].astype(str).to_numpy()
    values = adata.obs[column].to_numpy(float) * (1 if scored else 100)
    whole, shown = Scale.of(values, label, ends=score_ends(values)), []
    for name, rows in by_slice(adata, slice_key).items():
        near = types[rows] == neighbor
        drawn = rows[near | np.isfinite(values[rows])]
        positions = {"": xy[drawn]}
        draw = partial(slice_panels, positions=positions, shades={"": whole.part(drawn)}, whole=whole)
        figure = on_figure(panels_size(positions, 0.9), draw)
        cells = int(np.isfinite(values[rows]).sum())
        caption = f"{name}: {cells:,} {who} in color, {int(near.sum()):,} {others} in gray."
        alt = f"Map of slice {name}: {who} colored by {label}, {others} in gray"
        shown.append(Shown.of(figure, f"space-{name}", alt, caption))
    what = "the score of the program" if scored else f"the share of {others} in their neighborhood"
    text = f"{who} by {what}, all slices on one color scale. Cells of other types are not drawn."
    return Section("In space", [text], shown, pictures=True)
