"""``lloki read``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lloki.cli import options
from lloki.cli.console import reporting
from lloki.cli.defaults import defaults_from, given
from lloki.cli.failures import Debug
from lloki.cli.tables import show_samples


@defaults_from("lloki.io:read_folder")
def read(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER",
            help="Output folder of Xenium, MERSCOPE, CosMx, STARmap PLUS, seqFISH, Stereo-seq and others.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE.h5ad",
            help="File for the slice; a folder, for one file a sample, if FOLDER holds several.",
            rich_help_panel="Inputs",
        ),
    ],
    min_counts: options.MinCounts = None,
    max_control_rate: options.MaxControlRate = None,
    pixel_size: Annotated[
        float | None,
        typer.Option(
            metavar="MICROMETERS",
            help="Size of a pixel, where the files have positions in pixels. Default: the instrument's.",
            rich_help_panel="Inputs",
        ),
    ] = None,
    debug: Debug = False,
) -> None:
    """Turn an instrument's output folder into an .h5ad file that lloki, scanpy and squidpy read."""
    with reporting(debug=debug):
        from lloki.io.converting import convert_folder

        limits = given(min_counts=min_counts, max_control_rate=max_control_rate, pixel_size=pixel_size)
        samples = convert_folder(folder, out, **limits)
    show_samples(samples)
    for sample in samples:
        typer.echo(str(sample.file.resolve()))
