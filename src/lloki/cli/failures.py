"""What users see when a command fails: one message, and an exit status that scripts can distinguish.

======  ==============================================================================
status  meaning
======  ==============================================================================
0       done
1       an error in the data, a model or the output folder (any ``LlokiError``), or an unexpected one
2       an error in the command line, ``--config`` or ``--samplesheet`` (``ConfigError``)
130     stopped with Ctrl-C
143     stopped with SIGTERM, as batch systems send it
======  ==============================================================================
"""

from __future__ import annotations

import signal
import sys
import traceback
from tempfile import NamedTemporaryFile
from types import FrameType
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from lloki.cli.settings import source_of
from lloki.errors import NO_DOCSTRINGS, ConfigError, LlokiError

_DEBUG = "lloki.debug"  # in ctx.meta, which a command shares with the group that runs it

# what typer itself ends a command by: BadParameter is a UsageError, which is a ClickException
_OWN: tuple[type[Exception], ...] = (typer.Exit, typer.Abort, *typer.BadParameter.__mro__[1:3])


_OUT_OF_MEMORY = (
    "The memory is full. Finished steps are kept: the same command continues from them, on a larger "
    "machine, with "
    "fewer --workers, or with large files cut into sections (--slice-key)."
)


class Terminated(KeyboardInterrupt):
    """Stopped with SIGTERM."""


def stop_on_sigterm() -> None:
    """Stop a command on SIGTERM as on Ctrl-C, unless whoever started it has it ignored or handled."""
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _terminate)


def _terminate(number: int, frame: FrameType | None) -> None:
    raise Terminated


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
            raise typer.Exit(143 if isinstance(error, Terminated) else 130) from error
        except MemoryError as error:
            if ctx.meta.get(_DEBUG):
                raise
            typer.secho(_OUT_OF_MEMORY, fg="red", err=True)
            raise typer.Exit(1) from error
        except _OWN:
            raise
        except Exception as error:
            if ctx.meta.get(_DEBUG):
                raise
            typer.secho(_unexpected(error), fg="red", err=True)
            raise typer.Exit(1) from error


def _unexpected(error: Exception) -> str:
    """One sentence on an unforeseen error: what is kept, how to continue, where the log is."""
    reason = next(iter(str(error).splitlines()), "")
    what = f"{type(error).__name__}: {reason}" if reason else type(error).__name__
    if sys.flags.optimize > 1:
        return f"{NO_DOCSTRINGS} ({what})"
    text = "".join(traceback.format_exception(error))
    try:
        with NamedTemporaryFile("w", prefix="lloki-", suffix=".log", delete=False, encoding="utf-8") as log:
            log.write(text)
        where = f"the traceback is in {log.name}"
    except OSError:
        where = "--debug shows the traceback"
    return (
        f"Unexpected error ({what}): files in the output folder are complete and finished steps are kept, so "
        f"that the same command continues from them; {where}, to be reported with it."
    )


def _remember(ctx: typer.Context, asked: bool) -> bool:
    ctx.meta[_DEBUG] = asked
    return asked


Debug = Annotated[
    bool,
    typer.Option("--debug", callback=_remember, is_eager=True, help="Show tracebacks and the whole log."),
]
