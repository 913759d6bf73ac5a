"""``lloki annotate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lloki import keys
from lloki.cli import options
from lloki.cli.console import reporting
from lloki.cli.defaults import defaults_from, given
from lloki.cli.failures import Debug
from lloki.cli.integrated import (
    check_place,
    look_at,
    read_integrated,
    types_in_space,
    write_results,
)
from lloki.cli.tables import show_frame

_METHOD = "Method"


@defaults_from("lloki.tl:annotate_by_markers")
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
    slice_key: options.SliceColumn = None,
    layer: options.CountsLayer = None,
    use_rep: options.UseRep = None,
    n_neighbors: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Number of neighbors to average over; 0: each cell by its own counts alone.",
            rich_help_panel=_METHOD,
        ),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Minimum probability of a type.", rich_help_panel=_METHOD),
    ] = None,
    debug: Debug = False,
) -> None:
    """Assign cell types by marker genes, unknown where none is likely enough."""
    page = out / "annotation.html"
    with reporting(debug=debug):
        check_place(page)
        adata = read_integrated(integrated)

        import lloki
        from lloki.report.figures import write_figures
        from lloki.report.pages import build_annotation_page

        table = lloki.tl.annotate_by_markers(
            adata,
            markers,
            **given(
                use_rep=use_rep,
                slice_key=slice_key,
                layer=layer,
                n_neighbors=n_neighbors,
                threshold=threshold,
            ),
        )
        slice_key = slice_key or keys.SLICE
        write_results(out, "annotated", adata, {"types": table})
        build_annotation_page(adata, table, slice_key=slice_key, out=page)
        write_figures(out, types_in_space(adata, keys.MARKER_TYPE, slice_key))
    look_at(page, integrated)
    typer.echo(f"Slices with types: {(out / 'annotated.h5ad').resolve()}")
    unknown = (adata.obs[keys.MARKER_TYPE] == lloki.analysis.UNKNOWN).mean()
    typer.echo(f"{adata.n_obs} cells, {unknown:.0%} of them unknown.")
    counts = table.pivot_table(index="type", columns="slice", values="n_assigned", sort=False)
    show_frame(counts.astype(int).rename_axis(columns=None).reset_index(), title="Cells of each type")
