"""``lloki project``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from lloki.cli import options
from lloki.cli.failures import Debug
from lloki.cli.inputs import named_inputs
from lloki.cli.voice import speaking


def project(
    run: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder that lloki integrate wrote.", rich_help_panel="Inputs")
    ],
    out: options.Out,
    slices: options.Slices = None,
    samplesheet: options.Samplesheet = None,
    technology: options.Technology = None,
    label_key: options.LabelKey = None,
    layer: options.Layer = None,
    slice_key: options.SliceKey = None,
    allow_normalized: options.AllowNormalized = False,
    fit_token: Annotated[
        bool,
        typer.Option(
            "--fit-token",
            help="Fit the batch token of technologies and panels that the run does not know; all else of its "
            "model stays as it is.",
            rich_help_panel="Method",
        ),
    ] = False,
    skip_bad: options.SkipBad = False,
    workers: options.Workers = 1,
    scheduler: options.Scheduler = None,
    debug: Debug = False,
) -> None:
    """Embed new slices with a finished run's model. The run's own embedding does not change."""
    inputs = named_inputs(slices, samplesheet=samplesheet, technology=technology)
    with speaking(debug=debug) as voice:
        import lloki

        adata = lloki.project(
            inputs.paths,
            run=run,
            out=out,
            layer=layer,
            allow_normalized=allow_normalized,
            slice_key=slice_key,
            label_key=label_key,
            fit_token=fit_token,
            skip_bad=skip_bad,
            workers=workers,
            scheduler=scheduler,
            progress=voice.progress,
            **inputs.about(),
        )
        voice.messages(json.loads((out / "run.json").read_text())["messages"])
    typer.echo(f"{adata.n_obs:,} cells in the space of {run}: {(out / 'projected.h5ad').resolve()}")
