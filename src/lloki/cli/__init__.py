"""The command ``lloki``: each subcommand is a few lines over the Python API.

Nothing heavy is imported here or at the top of the commands' modules, so that ``lloki --help`` is quick.
"""

from __future__ import annotations

from typing import Annotated

import typer

from lloki._version import __version__
from lloki.cli import (
    align,
    annotate,
    benchmark,
    check,
    demo,
    doctor,
    impute,
    integrate,
    models,
    neighborhood,
    programs,
    project,
    project_reference,
    transfer_labels,
)
from lloki.cli.defaults import Command
from lloki.cli.failures import Commands

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
    demo.demo,
    integrate.integrate,
    project.project,
    project_reference.project_reference,
    align.align,
    programs.programs,
    transfer_labels.transfer_labels,
    annotate.annotate,
    impute.impute,
    neighborhood.neighborhood,
    benchmark.benchmark,
    check.check,
    doctor.doctor,
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
    pass


def main() -> None:
    """Run the command line; the entry point of the installed script."""
    app()
