"""The command ``lloki``: each subcommand is a few lines over the Python API.

Nothing heavy is imported here or at the top of the commands' modules, so that ``lloki --help`` is quick.
"""

from __future__ import annotations

import os
from typing import Annotated

import typer

from lloki._version import __version__
from lloki.cli import models
from lloki.cli._align import align
from lloki.cli._annotate import annotate
from lloki.cli._benchmark import benchmark
from lloki.cli._check import check
from lloki.cli._compare import compare
from lloki.cli._demo import demo
from lloki.cli._doctor import doctor
from lloki.cli._export import export
from lloki.cli._impute import impute
from lloki.cli._integrate import integrate
from lloki.cli._neighborhood import neighborhood
from lloki.cli._programs import programs
from lloki.cli._project import project
from lloki.cli._project_reference import project_reference
from lloki.cli._read import read
from lloki.cli._transfer_labels import transfer_labels
from lloki.cli._view import view
from lloki.cli.defaults import Command
from lloki.cli.failures import Commands, stop_on_sigterm

app = typer.Typer(
    cls=Commands,
    name="lloki",
    help="One space for spatial transcriptomics slices of any platform and any gene panel.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # what is not a LlokiError is a bug: a plain traceback
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _command in (
    demo,
    integrate,
    project,
    project_reference,
    view,
    export,
    align,
    programs,
    transfer_labels,
    annotate,
    impute,
    neighborhood,
    compare,
    benchmark,
    check,
    read,
    doctor,
):
    app.command(cls=Command)(_command)
app.add_typer(models.app)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"lloki {__version__}")
        raise typer.Exit


@app.callback()
def _lloki(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    os.environ.setdefault("MPLBACKEND", "agg")  # no windows


def main() -> None:
    """Run the command line; the entry point of the installed script."""
    stop_on_sigterm()
    app()
