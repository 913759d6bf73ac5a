"""``lloki export``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from lloki.cli import options
from lloki.cli.console import reporting
from lloki.cli.defaults import defaults_from, given
from lloki.cli.failures import Debug


class Format(StrEnum):
    """Names of ``lloki.export.FORMATS``, for the help, which must not import it."""

    csv = "csv"
    spatialdata = "spatialdata"
    cellxgene = "cellxgene"
    vitessce = "vitessce"
    xenium_explorer = "xenium-explorer"
    seurat = "seurat"


_NEXT = {
    Format.csv: "A row a cell; cell_id is its name in its own file.",
    Format.spatialdata: "Open it: spatialdata.read_zarr(PATH); napari: Interactive(sdata).run()",
    Format.cellxgene: "Open it: cellxgene launch {path}\nIts differential expression takes genes that a "
    "slice did not measure for 0: compare cells of one slice, or of slices with one panel.",
    Format.vitessce: "Serve the folder: npx http-server --cors -p 8000 {folder}; then open "
    "https://vitessce.io/#?url=http://localhost:8000/vitessce.json",
    Format.xenium_explorer: "In Xenium Explorer: Cells, Add cell categorization, the CSV file.",
    Format.seurat: 'In R: source("{path}", chdir = TRUE)',
}


@defaults_from("lloki.export:export")
def export(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="Folder of a run, or the .h5ad that an analysis wrote.")
    ],
    out: options.Out,
    to: Annotated[Format, typer.Option("--to", help="Program or format to write for.")],
    slices: Annotated[
        list[str] | None,
        typer.Option("--slice", metavar="SLICE", help="Slice to export; repeatable. Default: all."),
    ] = None,
    slice_key: options.SliceColumn = None,
    in_place: Annotated[
        bool | None,
        typer.Option(
            "--in-place",
            help="SpatialData: add a table 'lloki' to the stores that the slices were read from.",
        ),
    ] = None,
    debug: Debug = False,
) -> None:
    """Write clusters, labels, domains and programs for another program."""
    with reporting(debug=debug):
        import lloki

        written = lloki.io.export(
            run, to=to.value, out=out, **given(slices=slices, slice_key=slice_key, in_place=in_place)
        )
    for path in written[:6]:
        typer.echo(f"Wrote {path.resolve()}")
    if len(written) > 6:
        typer.echo(f"… and {len(written) - 6} more in {out.resolve()}")
    typer.echo(_NEXT[to].format(path=written[0].resolve(), folder=out.resolve()))
