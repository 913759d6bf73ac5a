"""``lloki benchmark``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lloki.cli import options
from lloki.cli.console import reporting
from lloki.cli.defaults import defaults_from, given
from lloki.cli.failures import Debug
from lloki.cli.tables import show

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS = ("total", "bio", "batch", "transfer_accuracy", "transfer_macro_f1")


@defaults_from("lloki.benchmark:benchmark")
@defaults_from("lloki.benchmark:benchmark_alignment", paste="paste_python")
def benchmark(
    inputs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN_OR_H5AD",
            help="Folder of lloki integrate, or an .h5ad with embeddings in obsm. Further ones, of the same "
            "cells, add their embeddings.",
        ),
    ],
    out: options.Out,
    label_key: Annotated[
        str | None,
        typer.Option(help="obs column of cell types. Default: that of the run.", rich_help_panel="Inputs"),
    ] = None,
    batch_key: Annotated[
        str | None,
        typer.Option(help="obs column of batches. Default: slice.", rich_help_panel="Inputs"),
    ] = None,
    layer: options.Layer = None,
    methods: Annotated[
        list[str] | None,
        typer.Option(
            "--methods",
            metavar="NAME",
            help="lloki, fp, embedder, mofa, stabmap, scvi-masked, reference-ridge, reference-knn, "
            "pca-union, pca-shared, each but lloki also with -harmony; scvi; or an obsm key. Repeatable. "
            "Default: all but scvi and scvi-masked, and every embedding in the files.",
            rich_help_panel="Methods",
        ),
    ] = None,
    ablate: Annotated[
        bool | None,
        typer.Option(
            "--ablate",
            help="Also run LLOKI without each part of the method.",
            rich_help_panel="Methods",
        ),
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Number of repeats with different seeds; results are mean ± sd.",
            rich_help_panel="Methods",
        ),
    ] = None,
    profile: Annotated[
        str | None,
        typer.Option(
            help="full: all metrics on at most 8,000 cells; fast: without kBET and the batch silhouette, on "
            "at most 3,000.",
            rich_help_panel="Metrics",
        ),
    ] = None,
    max_cells: Annotated[
        int | None,
        typer.Option(
            min=100, help="Maximum number of cells, instead of the profile's.", rich_help_panel="Metrics"
        ),
    ] = None,
    pre: Annotated[
        str | None,
        typer.Option(
            metavar="KEY",
            help="obsm key from before integration, for the PCR comparison. Default: a PCA of all genes.",
            rich_help_panel="Metrics",
        ),
    ] = None,
    umap: Annotated[
        bool | None, typer.Option(help="Compute a UMAP of every method.", rich_help_panel="Metrics")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Random seed of the sampled cells.", rich_help_panel="Metrics")
    ] = None,
    task: Annotated[
        str,
        typer.Option(
            help="integration; or alignment: two slices of a run with positions in one frame are aligned "
            "with ever fewer shared genes, in --seeds replicates.",
            rich_help_panel="Alignment",
        ),
    ] = "integration",
    fixed: Annotated[
        str | None,
        typer.Option(
            metavar="SLICE",
            help="Slice that stays in place. Default: the first.",
            rich_help_panel="Alignment",
        ),
    ] = None,
    moving: Annotated[
        str | None,
        typer.Option(
            metavar="SLICE", help="Slice to align. Default: the second.", rich_help_panel="Alignment"
        ),
    ] = None,
    paste: Annotated[
        str | None,
        typer.Option(
            metavar="PYTHON",
            help="Also run PASTE, by the Python of an environment with paste-bio and POT==0.9.4.",
            rich_help_panel="Alignment",
        ),
    ] = None,
    debug: Debug = False,
) -> None:
    """Compare embeddings by the metrics of integration, by known cell types; or methods of slice alignment.

    What a run has computed is not computed again, and neither is what an earlier benchmark has.
    """
    with reporting(debug=debug):
        if _task(task) == "alignment":
            asked = given(
                fixed=fixed,
                moving=moving,
                label_key=label_key,
                replicates=seeds,
                paste_python=paste,
                seed=seed,
            )
            _alignment(inputs, out=out, **asked)
            return
        from lloki.benchmark import benchmark as compare

        result = compare(
            inputs,
            out=out,
            progress=True,
            **given(
                label_key=label_key,
                batch_key=batch_key,
                methods=methods,
                ablate=ablate,
                seeds=seeds,
                profile=profile,
                max_cells=max_cells,
                pre=pre,
                layer=layer,
                umap=umap,
                seed=seed,
            ),
        )
    _show(result.methods, "method", "Methods (0 to 1, higher is better)")
    if result.ablations is not None:
        _show(result.ablations, "ablation", "Ablations (differences from LLOKI)")
    for title, why in result.facts["skipped"].items():
        typer.echo(f"Left out: {title}. {why}")
    typer.echo(f"Figures and tables: {result.folder.resolve()}")


def _task(name: str) -> str:
    from lloki.errors import ConfigError

    if name not in ("integration", "alignment"):
        raise ConfigError(f"no task {name!r}. Choose one of: integration, alignment")
    return name


def _alignment(inputs: list[Path], *, out: Path, **settings: Any) -> None:
    from lloki.benchmark.alignment import benchmark_alignment, summarize
    from lloki.errors import ConfigError

    if len(inputs) != 1:
        raise ConfigError("--task alignment takes the folder of one run")
    means = summarize(benchmark_alignment(inputs[0], out=out, progress=True, **settings))
    rows = [
        [f"{r['overlap']:.0%}", str(r["method"]), *(float(r[c]) for c in means.columns[2:])]
        for _, r in means.iterrows()
    ]
    show(["overlap", *means.columns[1:]], rows, title="Alignment (means over replicates; worst: degrees)")
    typer.echo(f"Figure and table: {out.resolve()}")


def _show(table: pd.DataFrame, first: str, title: str) -> None:
    rows: list[list[object]] = []
    for _, row in table.iterrows():
        cells: list[object] = []
        for column in _COLUMNS:
            spread = row[f"{column}_sd"]
            cells.append(f"{row[column]:.3f} ± {spread:.3f}" if spread == spread else float(row[column]))
        rows.append([str(row[first]), *cells])
    show([first, *(c.replace("_", " ") for c in _COLUMNS)], rows, title=title)
