"""``lloki project``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from lloki.cli import options
from lloki.cli.console import reporting
from lloki.cli.defaults import defaults_from, given
from lloki.cli.failures import Debug
from lloki.cli.inputs import named_inputs


@defaults_from("lloki.run:project")
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
    allow_normalized: options.AllowNormalized = None,
    min_counts: options.MinCounts = None,
    max_control_rate: options.MaxControlRate = None,
    fit_token: Annotated[
        bool | None,
        typer.Option(
            "--fit-token",
            help="Fit a batch token for technologies and panels that the run was not trained with; the rest "
            "of its model is unchanged.",
            rich_help_panel="Method",
        ),
    ] = None,
    skip_bad: options.SkipBad = None,
    workers: options.Workers = None,
    scheduler: options.Scheduler = None,
    debug: Debug = False,
) -> None:
    """Embed new slices with a finished run's model. The run's own embedding does not change."""
    paths, how = named_inputs(slices, samplesheet=samplesheet, technology=technology)
    with reporting(debug=debug) as console:
        import lloki

        adata = lloki.project(
            paths,
            run=run,
            out=out,
            progress=True,
            **how,
            **given(
                layer=layer,
                allow_normalized=allow_normalized,
                min_counts=min_counts,
                max_control_rate=max_control_rate,
                slice_key=slice_key,
                label_key=label_key,
                fit_token=fit_token,
                skip_bad=skip_bad,
                workers=workers,
                scheduler=scheduler,
            ),
        )
        console.messages(json.loads((out / "run.json").read_text())["messages"])
    typer.echo(f"{adata.n_obs:,} cells in the space of {run}: {(out / 'projected.h5ad').resolve()}")
