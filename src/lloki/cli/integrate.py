"""``lloki integrate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from lloki.cli import options
from lloki.cli.dry_run import show_plan
from lloki.cli.failures import Debug
from lloki.cli.inputs import named_inputs
from lloki.cli.settings import Config, tables
from lloki.cli.tables import show_result
from lloki.cli.voice import speaking


def integrate(
    ctx: typer.Context,
    out: options.Out,
    slices: options.Slices = None,
    reference: options.Reference = None,
    samplesheet: options.Samplesheet = None,
    config: Config = None,
    technology: options.Technology = None,
    label_key: options.LabelKey = None,
    layer: options.Layer = None,
    reference_layer: options.ReferenceLayer = None,
    slice_key: options.SliceKey = None,
    allow_normalized: options.AllowNormalized = False,
    embedder: Annotated[
        str,
        typer.Option(
            help="factor; scgpt or geneformer, with --model; precomputed:KEY (an obsm key of the slices); "
            "or an installed embedder's name.",
            rich_help_panel="Method",
        ),
    ] = "factor",
    model: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Checkpoint folder of a pretrained embedder.", rich_help_panel="Method"
        ),
    ] = None,
    preset: Annotated[
        str, typer.Option(help="Of LLOKI-FP: default, paper, published-code.", rich_help_panel="Method")
    ] = "default",
    no_fp: Annotated[
        bool,
        typer.Option(
            "--no-fp",
            help="Leave LLOKI-FP out: a pretrained embedder reads raw counts.",
            rich_help_panel="Method",
        ),
    ] = False,
    n_neighbors: Annotated[
        int | None,
        typer.Option(help="Neighbors in LLOKI-FP; left out, the preset's.", rich_help_panel="Method"),
    ] = None,
    alpha: Annotated[
        float | None,
        typer.Option(
            help="Share of neighbors in denoising; left out, the preset's.",
            rich_help_panel="Method",
        ),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(
            help="Of LLOKI-CAE's training, in place of its fixed number of steps.", rich_help_panel="Method"
        ),
    ] = None,
    train_labels: Annotated[
        str | None,
        typer.Option(
            metavar="KEY",
            help="obs column of cell types that training may see; cells without a label are fine. Default: "
            "training sees no labels.",
            rich_help_panel="Method",
        ),
    ] = None,
    train_labels_of: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Slice whose labels training may see; left out, all that have the column. Repeatable.",
            rich_help_panel="Method",
        ),
    ] = None,
    benchmark: Annotated[
        str,
        typer.Option(
            help="Metrics that score the run by --label-key: fast, full (minutes) or none.",
            rich_help_panel="Method",
        ),
    ] = "fast",
    resolution: Annotated[
        float, typer.Option(help="Of the clusters in the report.", rich_help_panel="Method")
    ] = 1.0,
    seed: options.Seed = 0,
    project_only: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Name of a slice that is embedded but not trained on. Repeatable.",
            rich_help_panel="Method",
        ),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(
            help="auto, cpu, cuda or mps, for training and for pretrained embedders; left out, auto.",
            rich_help_panel="Running",
        ),
    ] = None,
    skip_bad: options.SkipBad = False,
    workers: options.Workers = 1,
    scheduler: options.Scheduler = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Check the inputs, print the plan, write nothing.", rich_help_panel="Running"
        ),
    ] = False,
    debug: Debug = False,
) -> None:
    """Bring slices of any platforms and panels into one batch-free embedding.

    Run it again after a stop, or with a slice more: only what is missing is computed.
    """
    fields: dict[str, Any] = dict(tables(ctx)) | ({"fp": False} if no_fp else {})
    inputs = named_inputs(slices, samplesheet=samplesheet, technology=technology)
    with speaking(debug=debug) as voice:
        from lloki.run import RunConfig
        from lloki.run import integrate as run

        settings = RunConfig.make(
            preset=preset,
            n_neighbors=n_neighbors,
            alpha=alpha,
            epochs=epochs,
            seed=seed,
            embedder=embedder,
            model=None if model is None else str(model),
            label_key=label_key,
            train_labels=train_labels,
            train_label_slices=tuple(train_labels_of or ()),
            benchmark=benchmark,
            resolution=resolution,
            **fields,
        )
        read: dict[str, Any] = {
            "layer": layer,
            "slice_key": slice_key,
            "allow_normalized": allow_normalized,
        }
        if dry_run:
            ok = show_plan(
                inputs,
                settings,
                reference=reference,
                reference_layer=reference_layer,
                skip_bad=skip_bad,
                **read,
            )
            raise typer.Exit(0 if ok else 1)
        result = run(
            inputs.paths,
            reference=reference,
            out=out,
            config=settings,
            reference_layer=reference_layer,
            project_only=project_only or (),
            skip_bad=skip_bad,
            device=device,
            workers=workers,
            scheduler=scheduler,
            progress=voice.progress,
            **read,
            **inputs.about(),
        )
        voice.messages(result.run["messages"], files=[reference] if reference else [])
    show_result(result)
