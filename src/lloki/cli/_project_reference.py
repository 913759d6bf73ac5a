"""``lloki project-reference``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lloki.cli import options
from lloki.cli.console import reporting
from lloki.cli.defaults import defaults_from, given
from lloki.cli.failures import Debug


@defaults_from("lloki.run:project_reference")
def project_reference(
    reference: Annotated[
        Path, typer.Argument(metavar="REF", help="Single cells with raw counts, such as scRNA-seq.")
    ],
    run: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder that lloki integrate wrote.", rich_help_panel="Inputs")
    ],
    out: options.Out,
    technology: Annotated[
        str | None,
        typer.Option(
            help="Name of its technology; a batch token is fitted for it.", rich_help_panel="Inputs"
        ),
    ] = None,
    layer: Annotated[
        str | None, typer.Option(help="Layer that holds counts.", rich_help_panel="Inputs")
    ] = None,
    orthologs: options.Orthologs = None,
    allow_normalized: options.AllowNormalized = None,
    debug: Debug = False,
) -> None:
    """Embed single cells with a finished run's model, as a source of labels and genes."""
    with reporting(debug=debug):
        import lloki

        adata = lloki.project_reference(
            reference,
            run=run,
            out=out,
            progress=True,
            **given(
                technology=technology, layer=layer, orthologs=orthologs, allow_normalized=allow_normalized
            ),
        )
    typer.echo(f"{adata.n_obs:,} cells in the space of {run}: {(out / 'reference.h5ad').resolve()}")
