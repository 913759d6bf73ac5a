"""The pages of cell types: transferred from other slices, or assigned by markers."""

from __future__ import annotations

from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lloki import keys
from lloki.analysis import UNKNOWN, LabelTransfer
from lloki.pl._coloring import Coloring
from lloki.pl._curves import reliability_curve
from lloki.pl._figures import WIDTH
from lloki.pl._slots import by_slice
from lloki.pl._viewer import viewer_of
from lloki.report import words
from lloki.report.analysis_page import Section, build_analysis_page
from lloki.report.panels import Shown, maps
from lloki.report.svg import on_axes
from lloki.report.table import Table

_TYPES = {
    "type": "Type",
    "n_labeled": "Labeled cells",
    "n_slices": "Slices",
    "n_tested": "Tested cells",
    "recall": "Recall",
    "precision": "Precision",
    "f1": "F1",
    "unknown": "Unknown",
    "confused_with": "Most confused with",
    "n_assigned": "Assigned cells",
}
_SLICES = {
    "slice": "Slice",
    "cells": "Cells",
    "given": "Had a label",
    "assigned": "Assigned",
    "unknown": "Unknown",
}
_LEARNED = {
    "slices": "each labeled slice was labeled from the others, as if it had no labels",
    "batches": "each technology and panel with labels was labeled from the others, as if it had none",
    "cells": "cells were labeled from other cells, as no two labeled slices share a type",
}
_HEADS = {
    "neighbors": "their nearest labeled cells in the joint embedding",
    "joint": "a regression on the joint embedding",
    "before": "a regression on the embedding before batch alignment",
    "genes": "regressions on the genes that slices share",
    "average": "the average of neighbors and regressions",
}
_TRIED = {"method": "Method", "accuracy": "Accuracy"}
_FAR = 0.1  # error of the confidence that is worth a warning


def build_labels_page(
    adata: ad.AnnData, found: LabelTransfer, *, slice_key: str = keys.SLICE, out: str | Path
) -> Path:
    """Write the page of transferred labels.

    Parameters
    ----------
    adata
        All slices, as :func:`lloki.tl.transfer_labels` left them.
    found
        What it returned.
    slice_key
        ``obs`` column that names the slices.
    out
        The file to write.

    Raises
    ------
    OutputError
        If the page cannot be written there.
    """
    given = adata.obs[keys.LABEL_CONFIDENCE].isna().to_numpy()
    slices = _by_slice(adata, keys.LABEL, given, slice_key)
    labeled, unknown = int((~given).sum()), int(slices["unknown_cells"].sum())
    targets = int((slices["given"] < slices["cells"]).sum())
    from_reference = int(found.given[adata.n_obs :].sum())  # the reference's cells are the last
    sources = _sources(int(slices["given"].sum()), from_reference)
    kinds, by = words.plural(len(found.types), "cell type"), _HEADS[found.method]
    summary = (
        f"{words.plural(labeled, 'cell')} of {words.plural(targets, 'slice')} were labeled with {kinds} by "
        f"{by}{sources}. {unknown / max(labeled, 1):.0%} are unknown: the label is uncertain, or the cell "
        "resembles no labeled cell."
    )
    trust = Section(
        "Calibration",
        [
            "The confidence of a label is the probability that it is correct. It was calibrated on cells "
            f"whose type is known: {_LEARNED[found.left_out]}."
            + (" The reference counts as a slice here and in the table of types." if from_reference else ""),
            _how_far(found),
        ],
        [
            Shown.of(
                on_axes((WIDTH, WIDTH), lambda ax: reliability_curve(ax, found.curve)),
                "reliability",
                "Share of correct labels against their confidence, for cells whose type is known",
                f"{int(found.curve['n_cells'].sum()):,} cells of known type. Larger points hold more cells.",
            )
        ],
    )
    heads = Section(
        "Methods",
        [
            f"Accuracy on the {found.left_out} left out. "
            + (
                "Cells left out of one source do not show which method carries over to other slices: the "
                "average was used."
                if found.left_out == "cells" and found.method == "average"
                else f"Used: {found.method}."
            )
        ],
        tables=[Table.of(found.tried, _TRIED, shares=("accuracy",))],
    )
    untried = bool((found.table["n_tested"] == 0).any())
    types = Section(
        "Types",
        [
            "How well each type transfers, on cells whose type is known: recall, precision, and the share "
            "of its cells that would be called unknown."
            + (" Types that only one slice has could not be tested." if untried else "")
        ],
        tables=[Table.of(found.table, _TYPES, shares=("recall", "precision", "f1", "unknown"))],
    )
    sections = [_slices(slices), trust, heads, types, _maps(adata, keys.LABEL, slices, slice_key)]
    viewer = viewer_of(adata, first=keys.LABEL, slice_key=slice_key)
    return build_analysis_page("Transferred cell types", summary, sections, viewer=viewer, out=out)


def _how_far(found: LabelTransfer) -> str:
    """Say how far the confidence is off, and where that is known from."""
    if found.widened:
        return (
            "The sources do not show what the step to the other slices costs. There, confidences are lowered "
            f"by what it cost on other data, and are off by about {found.error:.2f}: interpret them with "
            "care. The curve is that of left-out cells of the source alone."
        )
    care = ": interpret it with care." if found.error >= _FAR else "."
    return (
        f"On {found.left_out} left out of the calibration, its mean error is {found.error:.2f}{care} Points "
        "should lie on the dotted line; below it, the confidence is too high."
    )


def build_annotation_page(
    adata: ad.AnnData, table: pd.DataFrame, *, slice_key: str = keys.SLICE, out: str | Path
) -> Path:
    """Write the page of cell types assigned by markers.

    Parameters
    ----------
    adata
        All slices, as :func:`lloki.tl.annotate_by_markers` left them.
    table
        What it returned.
    slice_key
        ``obs`` column that names the slices.
    out
        The file to write.

    Raises
    ------
    OutputError
        If the page cannot be written there.
    """
    slices = _by_slice(adata, keys.MARKER_TYPE, None, slice_key)
    unknown = int(slices["unknown_cells"].sum())
    kinds = table["type"].nunique()
    summary = (
        f"{words.plural(adata.n_obs, 'cell')} of {words.plural(len(slices), 'slice')} were compared with the "
        f"marker genes of {words.plural(kinds, 'cell type')}. {unknown / max(adata.n_obs, 1):.0%} are "
        "unknown: no type has a high enough probability."
    )
    notes = table["note"].where(~table["identifiable"], "")
    panel = table.assign(
        present=[
            n or f"{m} of {of}" for m, of, n in zip(table["n_markers"], table["n_markers_listed"], notes)
        ]
    )
    able = Section(
        "Coverage of the panels",
        [
            "The number of markers of each type in every panel. A type without markers of its own in a "
            "panel can be assigned there only through neighbors from other slices in the joint embedding."
        ],
        tables=[_pivot(panel, "present")],
    )
    cells = Section(
        "Types",
        [
            "Cells assigned to each type. Their confidence is the model's own and not calibrated: compare "
            "the result with what is known of the tissue."
        ],
        tables=[_pivot(table, "n_assigned")],
    )
    sections = [_slices(slices), able, cells, _maps(adata, keys.MARKER_TYPE, slices, slice_key)]
    viewer = viewer_of(adata, first=keys.MARKER_TYPE, slice_key=slice_key)
    return build_analysis_page("Marker-based cell types", summary, sections, viewer=viewer, out=out)


def _sources(given: int, from_reference: int) -> str:
    """Name the sources of the labels, if a reference is among them."""
    if not from_reference:
        return ""
    own = f"{words.plural(given, 'cell')} of slices and " if given else ""
    return f": {own}{words.plural(from_reference, 'single cell')} of the reference"


def _by_slice(adata: ad.AnnData, column: str, given: NDArray | None, slice_key: str) -> pd.DataFrame:
    """Cells of each slice: all, those that had a label, were assigned one, and are unknown."""
    doubted = (adata.obs[column].astype(str) == UNKNOWN).to_numpy()
    had = np.zeros(adata.n_obs, bool) if given is None else given
    rows = []
    for name, cells in by_slice(adata, slice_key).items():
        n, known, unknown = len(cells), int(had[cells].sum()), int(doubted[cells].sum())
        share = unknown / (n - known) if n > known else float("nan")
        row = {"slice": name, "cells": n, "given": known, "assigned": n - known - unknown, "unknown": share}
        rows.append(row | {"unknown_cells": unknown})
    return pd.DataFrame(rows)


def _slices(slices: pd.DataFrame) -> Section:
    shown, text = slices.drop(columns="unknown_cells"), []
    if shown["given"].any():
        text.append("Unknown is the share among the cells that had no label.")
    else:
        shown = shown.drop(columns="given")
    return Section("Slices", text, tables=[Table.of(shown, _SLICES, shares=("unknown",))])


def _maps(adata: ad.AnnData, column: str, slices: pd.DataFrame, slice_key: str) -> Section:
    if keys.SPATIAL not in adata.obsm:
        return Section("")
    values = adata.obs[column].astype(object)
    types = [t for t in adata.obs[column].cat.categories if t != UNKNOWN]
    coloring = Coloring.of(
        pd.Series(pd.Categorical(values.where(values != UNKNOWN), categories=types)), missing=UNKNOWN
    )
    about = {}
    for name, cells, given, unknown in zip(*(slices[c] for c in ("slice", "cells", "given", "unknown"))):
        state = "all had a label" if given == cells else f"{unknown:.0%} unknown"
        if 0 < given < cells:
            state = f"{cells - given:,} had no label, {unknown:.0%} of these are unknown"
        about[str(name)] = f"{words.plural(int(cells), 'cell')}, {state}"
    text = (
        "Cells in space; colors are the same in every slice. Types that are known to form layers or to be "
        "confined to a region should do so here."
    )
    shown = maps(adata, coloring, slice_key=slice_key, title="cell type", about=about)
    return Section("In space", [text], shown, legend=coloring.legend, pictures=True)


def _pivot(table: pd.DataFrame, column: str) -> Table:
    order = list(dict.fromkeys(table["slice"]))
    wide = table.pivot(index="type", columns="slice", values=column)
    wide = wide.reindex(index=list(dict.fromkeys(table["type"])), columns=order)
    return Table.of(wide.rename_axis("Type").rename_axis(None, axis=1).reset_index())
