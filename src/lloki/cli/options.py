"""Options that several commands share, each described once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lloki._config import MOST_SEED

_INPUTS, _SLICES, _METHOD, _RUNNING = "Inputs", "Slices", "Method", "Running"

Slices = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="SLICE",
        help="Spatial slices: .h5ad, AnnData .zarr, SpatialData .zarr, or output folders of instruments.",
    ),
]
Samplesheet = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE.csv",
        help="Table of the slices instead of SLICE: columns path, sample, technology, panel, layer; only "
        "path is needed. Paths are relative to the table.",
        rich_help_panel=_INPUTS,
    ),
]
Technology = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=FILE",
        help="Technology of a slice whose file has no uns or obs 'technology'; repeatable.",
        rich_help_panel=_INPUTS,
    ),
]
Reference = Annotated[
    Path | None,
    typer.Option(
        "--reference",
        "-r",
        metavar="REF",
        help="scRNA-seq of matched tissue, with raw counts.",
        rich_help_panel=_INPUTS,
    ),
]
Out = Annotated[
    Path,
    typer.Option("--out", "-o", metavar="DIR", help="Folder for the results.", rich_help_panel=_INPUTS),
]
Layer = Annotated[
    str | None,
    typer.Option(
        help="Layer of the slices with raw counts; 'raw' for .raw. Default: X.", rich_help_panel=_INPUTS
    ),
]
ReferenceLayer = Annotated[
    str | None,
    typer.Option(help="Layer of the reference with raw counts. Default: X.", rich_help_panel=_INPUTS),
]
Orthologs = Annotated[
    bool | None,
    typer.Option(
        "--orthologs",
        help="Match a reference of the other of mouse and human by one-to-one orthologs.",
        rich_help_panel=_INPUTS,
    ),
]
SliceKey = Annotated[
    str | None,
    typer.Option(help="obs column that separates the sections of one file.", rich_help_panel=_INPUTS),
]
LabelKey = Annotated[
    str | None,
    typer.Option(
        help="obs column of cell types: shown and scored, not used to integrate.", rich_help_panel=_INPUTS
    ),
]
AllowNormalized = Annotated[
    bool | None,
    typer.Option(
        "--allow-normalized",
        help="Accept values that are not counts; log-transformed values are transformed back.",
        rich_help_panel=_INPUTS,
    ),
]
MinCounts = Annotated[
    int | None,
    typer.Option(min=0, help="Leave out cells with fewer counts.", rich_help_panel=_INPUTS),
]
MaxControlRate = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=1,
        metavar="SHARE",
        help="Leave out cells with a larger share of control counts, in slices from instruments' folders. "
        "Default: keep all.",
        rich_help_panel=_INPUTS,
    ),
]
SkipBad = Annotated[
    bool | None,
    typer.Option("--skip-bad", help="Skip invalid slices.", rich_help_panel=_RUNNING),
]
Workers = Annotated[
    int | None,
    typer.Option(min=1, help="Number of processes for the per-slice stages.", rich_help_panel=_RUNNING),
]
Scheduler = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="Address of a Dask scheduler to use instead, for example tcp://head:8786.",
        rich_help_panel=_RUNNING,
    ),
]
Integrated = Annotated[
    Path, typer.Argument(metavar="INTEGRATED.h5ad", help="Slices with a joint embedding, in one AnnData.")
]
AdditionalReference = Annotated[
    Path | None,
    typer.Option(
        "--reference",
        "-r",
        metavar="REF.h5ad",
        help="Single cells as an additional reference, as written by lloki project-reference.",
        rich_help_panel=_SLICES,
    ),
]
SliceColumn = Annotated[
    str | None, typer.Option("--slice-key", help="obs column that names the slices.", rich_help_panel=_SLICES)
]
TypeColumn = Annotated[
    str, typer.Option("--label-key", help="obs column of cell types.", rich_help_panel=_SLICES)
]
UseRep = Annotated[
    str | None, typer.Option("--use-rep", help="obsm key of the joint embedding.", rich_help_panel=_METHOD)
]
CountsLayer = Annotated[
    str | None,
    typer.Option("--layer", help="Layer with raw counts. Default: X.", rich_help_panel=_SLICES),
]
Seed = Annotated[int | None, typer.Option(min=0, max=MOST_SEED, help="Random seed.", rich_help_panel=_METHOD)]
