"""The pages of cell types: carried over from other slices, or told by markers."""

from __future__ import annotations

from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lloki import keys
from lloki.analysis import UNKNOWN, LabelTransfer
from lloki.report import words
from lloki.report.analysis_page import Section, build_analysis_page
from lloki.report.coloring import Coloring
from lloki.report.labeling import reliability_curve
from lloki.report.panels import Shown, by_slice, maps
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
_SLICES = {"slice": "Slice", "cells": "Cells", "given": "Had a label", "told": "Told", "unknown": "Unknown"}
_LEARNED = {
    "slices": "each labeled slice was labeled from the others, as if it had none",
    "cells": "cells were labeled from other cells, as there are no two labeled slices that share a type. "
    "Differences between slices do not show in that: for other slices, expect less than it says",
}
_JUDGED = {"slices": "a slice", "cells": "cells"}
_FAR = 0.1  # error of the confidence from which on it is worth a warning


def build_labels_page(
    adata: ad.AnnData, found: LabelTransfer, *, slice_key: str = keys.SLICE, out: str | Path
) -> Path:
    """Write the page of labels that were carried over.

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
    told, unknown = int((~given).sum()), int(slices["unknown_cells"].sum())
    asked = int((slices["given"] < slices["cells"]).sum())
    lent = int(found.given[adata.n_obs :].sum())  # the reference's cells are the last
    lenders = _sources(int(slices["given"].sum()), lent)
    summary = (
        f"{words.plural(told, 'cell')} of {words.plural(asked, 'slice')} were labeled with "
        f"{words.plural(len(found.types), 'cell type')}, by the labeled cells that lie near them in the "
        f"joint embedding{lenders}. {unknown / max(told, 1):.0%} are unknown: too unsure, or like "
        "nothing that is labeled."
    )
    trust = Section(
        "Can labels be believed?",
        [
            f"The confidence of a label is the chance that it is right. It was learned where the truth is "
            f"known: {_LEARNED[found.left_out]}."
            + (" The reference counts as a slice in this and in the table of types." if lent else ""),
            f"Judged on {_JUDGED[found.left_out]} that it was not learned from, the confidence is off by "
            f"{found.error:.2f} on average"
            + (": take it with care." if found.error >= _FAR else ".")
            + " Points should lie on the dotted line; below it, labels are less often right than they say.",
        ],
        [
            Shown.of(
                reliability_curve(found.curve),
                "reliability",
                "Share of labels that are right against their confidence, on cells whose type is known",
                f"{int(found.curve['n_cells'].sum()):,} cells of known type. Larger points hold more cells.",
            )
        ],
    )
    untried = bool((found.table["n_tested"] == 0).any())
    types = Section(
        "Types",
        [
            "Whether each type can be carried over at all, tried where it is known: the share of its cells "
            "that were found again, how often a cell given the type was of it, and how often its cells "
            "would have been called unknown."
            + (" Types that one slice alone holds could not be tried." if untried else "")
        ],
        tables=[Table.of(found.table, _TYPES, shares=("recall", "precision", "f1", "unknown"))],
    )
    sections = [_slices(slices), trust, types, _maps(adata, keys.LABEL, slices, slice_key)]
    return build_analysis_page("Cell types carried over", summary, sections, out=out)


def build_annotation_page(
    adata: ad.AnnData, table: pd.DataFrame, *, slice_key: str = keys.SLICE, out: str | Path
) -> Path:
    """Write the page of cell types told by markers.

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
        "unknown: no type is likely enough."
    )
    notes = table["note"].where(~table["identifiable"], "")
    panel = table.assign(
        said=[n or f"{m} of {of}" for m, of, n in zip(table["n_markers"], table["n_markers_listed"], notes)]
    )
    able = Section(
        "What the panels can tell",
        [
            "How many markers of each type every panel has. A type without markers of its own in a panel can "
            "be told there only by neighbors from other slices in the joint embedding."
        ],
        tables=[_pivot(panel, "said")],
    )
    cells = Section(
        "Types",
        [
            "Cells that were given each type. Their confidence is the model's own; there is nothing to check "
            "it against, so compare what you see with what you know of the tissue."
        ],
        tables=[_pivot(table, "n_assigned")],
    )
    sections = [_slices(slices), able, cells, _maps(adata, keys.MARKER_TYPE, slices, slice_key)]
    return build_analysis_page("Cell types told by markers", summary, sections, out=out)


def _sources(given: int, lent: int) -> str:
    """Say where labels came from, if a reference lent some."""
    if not lent:
        return ""
    own = f"{words.plural(given, 'cell')} of slices and " if given else ""
    return f": {own}{words.plural(lent, 'single cell')} of the reference"


def _by_slice(adata: ad.AnnData, column: str, given: NDArray | None, slice_key: str) -> pd.DataFrame:
    """Cells of each slice: all, those that had a label, were told one, and are unknown."""
    doubted = (adata.obs[column].astype(str) == UNKNOWN).to_numpy()
    had = np.zeros(adata.n_obs, bool) if given is None else given
    rows = []
    for name, cells in by_slice(adata, slice_key).items():
        n, known, unknown = len(cells), int(had[cells].sum()), int(doubted[cells].sum())
        share = unknown / (n - known) if n > known else float("nan")
        row = {"slice": name, "cells": n, "given": known, "told": n - known - unknown, "unknown": share}
        rows.append(row | {"unknown_cells": unknown})
    return pd.DataFrame(rows)


def _slices(slices: pd.DataFrame) -> Section:
    shown, text = slices.drop(columns="unknown_cells"), []
    if shown["given"].any():
        text.append("Unknown is the share of the cells that had no label to begin with.")
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
        said = "all had a label" if given == cells else f"{unknown:.0%} unknown"
        if 0 < given < cells:
            said = f"{cells - given:,} had no label, {unknown:.0%} of these are unknown"
        about[str(name)] = f"{words.plural(int(cells), 'cell')}, {said}"
    text = (
        "Cells where they lie; a color means the same in every slice. Where a type is known to form layers "
        "or to keep to a place, it should do so here."
    )
    shown = maps(adata, coloring, slice_key=slice_key, title="cell type", about=about)
    return Section("In space", [text], shown, legend=coloring.legend)


def _pivot(table: pd.DataFrame, column: str) -> Table:
    order = list(dict.fromkeys(table["slice"]))
    wide = table.pivot(index="type", columns="slice", values=column)
    wide = wide.reindex(index=list(dict.fromkeys(table["type"])), columns=order)
    return Table.of(wide.rename_axis("Type").rename_axis(None, axis=1).reset_index())
