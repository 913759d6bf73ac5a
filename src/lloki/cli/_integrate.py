"""``lloki integrate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from lloki.cli import options
from lloki.cli.console import reporting
from lloki.cli.defaults import defaults_from, given
from lloki.cli.dry_run import show_plan
from lloki.cli.failures import Debug
from lloki.cli.inputs import named_inputs
from lloki.cli.settings import Config, tables
from lloki.cli.tables import show_result


@defaults_from("lloki.run:integrate", train_labels_of="train_label_slices")
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
    orthologs: options.Orthologs = None,
    slice_key: options.SliceKey = None,
    allow_normalized: options.AllowNormalized = None,
    min_counts: options.MinCounts = None,
    max_control_rate: options.MaxControlRate = None,
    embedder: Annotated[
        str | None,
        typer.Option(
            help="factor; scgpt or geneformer, with --model; precomputed:KEY (an obsm key of the slices); "
            "or an installed embedder's name.",
            rich_help_panel="Method",
        ),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Checkpoint folder of a pretrained embedder.", rich_help_panel="Method"
        ),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            help="Parameters of LLOKI-FP: default, paper or published-code.", rich_help_panel="Method"
        ),
    ] = None,
    no_fp: Annotated[
        bool,
        typer.Option(
            "--no-fp",
            help="Skip LLOKI-FP: a pretrained embedder reads raw counts.",
            rich_help_panel="Method",
        ),
    ] = False,
    n_neighbors: Annotated[
        int | None,
        typer.Option(
            help="Number of neighbors in the propagation of expression. Default: by --preset.",
            rich_help_panel="Method",
        ),
    ] = None,
    alpha: Annotated[
        float | None,
        typer.Option(
            help="Share of neighbors in the denoising of expression. Default: by --preset; with factor 0.3, "
            "without imputation.",
            rich_help_panel="Method",
        ),
    ] = None,
    latent_alpha: Annotated[
        float | None,
        typer.Option(
            help="Share of near cells of its kind in each cell's embedding; 0 leaves propagation out. "
            "Default: chosen for each slice by held-out genes, or by --preset.",
            rich_help_panel="Method",
        ),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(
            help="Number of training epochs of LLOKI-CAE, instead of a fixed number of steps.",
            rich_help_panel="Method",
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
            help="Slice whose labels training may see; repeatable. Default: all that have the column.",
            rich_help_panel="Method",
        ),
    ] = None,
    benchmark: Annotated[
        str | None,
        typer.Option(
            help="Metrics of integration by --label-key: fast, full (takes minutes) or none.",
            rich_help_panel="Method",
        ),
    ] = None,
    resolution: Annotated[
        float | None, typer.Option(help="Leiden resolution.", rich_help_panel="Method")
    ] = None,
    no_map: Annotated[
        bool,
        typer.Option(
            "--no-map",
            help="Leave out the UMAP, the slowest step after propagation on many cells.",
            rich_help_panel="Method",
        ),
    ] = False,
    seed: options.Seed = None,
    project_only: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Name of a slice that is embedded but not trained on; repeatable.",
            rich_help_panel="Method",
        ),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(
            help="Device for training and pretrained embedders: auto, cpu, cuda or mps.",
            rich_help_panel="Running",
        ),
    ] = None,
    skip_bad: options.SkipBad = None,
    workers: options.Workers = None,
    scheduler: options.Scheduler = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Check the inputs and print the plan; write nothing.", rich_help_panel="Running"
        ),
    ] = False,
    debug: Debug = False,
) -> None:
    """Bring slices of any platforms and panels into one batch-free embedding.

    Re-running resumes; adding slices is incremental.
    """
    fields: dict[str, Any] = (
        dict(tables(ctx)) | ({"fp": False} if no_fp else {}) | ({"umap": False} if no_map else {})
    )
    paths, how = named_inputs(slices, samplesheet=samplesheet, technology=technology)
    how |= fields | given(
        reference=reference,
        layer=layer,
        reference_layer=reference_layer,
        orthologs=orthologs,
        slice_key=slice_key,
        allow_normalized=allow_normalized,
        min_counts=min_counts,
        max_control_rate=max_control_rate,
        embedder=embedder,
        model=model,
        preset=preset,
        n_neighbors=n_neighbors,
        alpha=alpha,
        latent_alpha=latent_alpha,
        epochs=epochs,
        label_key=label_key,
        train_labels=train_labels,
        train_label_slices=train_labels_of,
        project_only=project_only,
        benchmark=benchmark,
        resolution=resolution,
        seed=seed,
        skip_bad=skip_bad,
        device=device,
    )
    with reporting(debug=debug) as console:
        if dry_run:
            raise typer.Exit(0 if show_plan(paths, out=out, **how) else 1)
        from lloki.run import integrate as run

        places = given(workers=workers, scheduler=scheduler)
        result = run(paths, out=out, progress=True, **how, **places)
        console.messages(result.run["messages"], files=[reference] if reference else [])
    show_result(result)
