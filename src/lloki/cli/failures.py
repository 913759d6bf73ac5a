"""What users see when a command fails: one message, and an exit status that scripts can distinguish.

======  ==============================================================================
status  meaning
======  ==============================================================================
0       done
1       an error in the data, a model or the output folder (any ``LlokiError``)
2       an error in the command line, ``--config`` or ``--samplesheet`` (``ConfigError``)
130     stopped with Ctrl-C
======  ==============================================================================
"""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from lloki.cli.settings import source_of
from lloki.errors import ConfigError, LlokiError

_DEBUG = "lloki.debug"  # in ctx.meta, which a command shares with the group that runs it


class Commands(TyperGroup):
    """The group of all commands, which turns errors into messages."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command; with ``--debug`` its errors come with their traceback."""
        try:
            return super().invoke(ctx)
        except LlokiError as error:
            if ctx.meta.get(_DEBUG):
                raise
            typer.secho(str(error), fg="red", err=True)
            raise typer.Exit(2 if isinstance(error, ConfigError) else 1) from error
        except typer.BadParameter as error:
            error.message += source_of(error)
            raise
        except KeyboardInterrupt as error:
            typer.echo("Stopped; run the same command again to continue.", err=True)
            raise typer.Exit(130) from error


def _remember(ctx: typer.Context, asked: bool) -> bool:
    ctx.meta[_DEBUG] = asked
    return asked


Debug = Annotated[
    bool,
    typer.Option("--debug", callback=_remember, is_eager=True, help="Show tracebacks and the whole log."),
]
