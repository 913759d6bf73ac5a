"""``lloki project-reference``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lloki.cli import options
from lloki.cli.failures import Debug
from lloki.cli.voice import speaking


def project_reference(
    reference: Annotated[Path, typer.Argument(metavar="REF", help="Single cells with counts.")],
    run: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder that lloki integrate wrote.", rich_help_panel="Inputs")
    ],
    out: options.Out,
    technology: Annotated[
        str, typer.Option(help="Its name; a batch token is fitted for it.", rich_help_panel="Inputs")
    ] = "scRNA-seq",
    layer: Annotated[
        str | None, typer.Option(help="Layer that holds counts.", rich_help_panel="Inputs")
    ] = None,
    allow_normalized: options.AllowNormalized = False,
    debug: Debug = False,
) -> None:
    """Give single cells a place in a finished run's space, to carry labels and genes over from them."""
    with speaking(debug=debug) as voice:
        import lloki

        adata = lloki.project_reference(
            reference,
            run=run,
            out=out,
            technology=technology,
            layer=layer,
            allow_normalized=allow_normalized,
            progress=voice.progress,
        )
    typer.echo(f"{adata.n_obs:,} cells in the space of {run}: {(out / 'reference.h5ad').resolve()}")
