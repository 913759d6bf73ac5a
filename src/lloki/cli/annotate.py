"""``lloki annotate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lloki import keys
from lloki.cli import options
from lloki.cli.console import reporting
from lloki.cli.failures import Debug
from lloki.cli.integrated import (
    check_place,
    look_at,
    read_integrated,
    types_in_space,
    write_figures,
    write_results,
)
from lloki.cli.tables import show_frame

_METHOD = "Method"


def annotate(
    integrated: options.Integrated,
    out: options.Out,
    markers: Annotated[
        Path,
        typer.Option(
            metavar="FILE.csv",
            help="Columns type, positive and, if wanted, negative: genes separated by ';'.",
            rich_help_panel="Inputs",
        ),
    ],
    slice_key: options.SliceColumn = "slice",
    layer: options.CountsLayer = None,
    key: options.JointKey = "X_lloki",
    k: Annotated[
        int,
        typer.Option(
            min=0,
            help="Neighbors to average over; 0: each cell by its own counts alone.",
            rich_help_panel=_METHOD,
        ),
    ] = 15,
    threshold: Annotated[
        float, typer.Option(min=0, max=1, help="Least probability of a type.", rich_help_panel=_METHOD)
    ] = 0.5,
    debug: Debug = False,
) -> None:
    """Tell cell types by marker genes, unknown where in doubt."""
    page = out / "annotation.html"
    with reporting(debug=debug):
        check_place(page)
        adata = read_integrated(integrated)

        import lloki
        from lloki.report.pages import build_annotation_page

        table = lloki.tl.annotate_by_markers(
            adata, markers, key=key, slice_key=slice_key, layer=layer, k=k, threshold=threshold
        )
        write_results(out, "annotated", adata, {"types": table})
        build_annotation_page(adata, table, slice_key=slice_key, out=page)
        write_figures(out, types_in_space(adata, keys.MARKER_TYPE, slice_key))
    look_at(page)
    typer.echo(f"Slices with types: {(out / 'annotated.h5ad').resolve()}")
    unknown = (adata.obs[keys.MARKER_TYPE] == lloki.analysis.UNKNOWN).mean()
    typer.echo(f"{adata.n_obs} cells, {unknown:.0%} of them unknown.")
    counts = table.pivot_table(index="type", columns="slice", values="told", sort=False)
    show_frame(counts.astype(int).rename_axis(columns=None).reset_index(), title="Cells of each type")
