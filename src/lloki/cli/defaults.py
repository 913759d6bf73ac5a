"""Defaults of options have one home: the signature of the Python function that they belong to.

1. Above a command, name its functions: ``@defaults_from("lloki.tl:impute", gene="genes")``. Options belong to
   parameters of the same name, or as ``option="parameter"`` says; with several decorators the topmost wins.
   A configuration's dataclass will do as well: ``"lloki.fp.config:FPConfig"``.
2. Those options, flags too, have the default ``None``: ``seed: options.Seed = None``. Only where the command
   itself needs the value (``slice_key``) it has the constant of ``lloki.keys`` that the function has.
3. The command passes on what the user gave: ``lloki.tl.impute(adata, **given(genes=gene, seed=seed))``.
4. ``lloki CMD --help`` imports the functions and shows their defaults; nothing else imports them.
"""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from collections.abc import Callable
from functools import reduce
from pathlib import PurePath
from typing import Any, TypeVar

from typer.core import TyperCommand

F = TypeVar("F", bound=Callable[..., Any])
_SOURCES = "defaults_from"  # attribute of a command's function


def defaults_from(function: str, /, **parameters: str | None) -> Callable[[F], F]:
    """Declare that options of a command belong to a function, given as ``"module:name"``.

    Parameters
    ----------
    function
        A function, class method or configuration dataclass; imported when the command's help is shown.
    parameters
        ``option="parameter"`` where the names differ, ``option=None`` where only the names are the same.
    """

    def declare(command: F) -> F:
        setattr(command, _SOURCES, [(function, parameters), *getattr(command, _SOURCES, [])])
        return command

    return declare


def given(**options: Any) -> dict[str, Any]:
    """Return the options that the user gave: all that are not ``None``."""
    return {name: value for name, value in options.items() if value is not None}


def function_defaults(command: Any) -> dict[str, Any]:
    """Look up the default of every option of a command that belongs to a declared function."""
    defaults: dict[str, Any] = {}
    names = {param.name for param in command.params}
    for function, parameters in getattr(command.callback, _SOURCES, ()):
        module, _, name = function.partition(":")
        target: Any = reduce(getattr, name.split("."), importlib.import_module(module))
        known = inspect.signature(target).parameters
        for option in names & (known.keys() | parameters):
            parameter = parameters.get(option, option)
            if parameter is not None and known[parameter].default is not inspect.Parameter.empty:
                defaults.setdefault(option, known[parameter].default)
    return defaults


def _at_home(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return type(value)(map(_at_home, value))
    found = isinstance(value, (str, PurePath)) and str(value).startswith("~/")
    return type(value)(os.path.expanduser(value)) if found else value


class Command(TyperCommand):
    """A command whose help shows the defaults of the functions that it calls."""

    def invoke(self, ctx: Any) -> Any:
        """Run it, with ``~/`` as the home: shells leave it in ``--out=~/run`` and in quotes."""
        ctx.params = {name: _at_home(value) for name, value in ctx.params.items()}
        return super().invoke(ctx)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help; values of ``--config`` come first, as they do in a run."""
        # without docstrings (-OO) anndata, and with it the functions, cannot be imported
        found = function_defaults(self).items() if sys.flags.optimize < 2 else ()
        shown = {option: value for option, value in found if isinstance(value, (bool, int, float, str))}
        ctx.default_map = shown | dict(ctx.default_map or {})
        super().format_help(ctx, formatter)
