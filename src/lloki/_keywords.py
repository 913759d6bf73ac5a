"""Functions that answer a misspelled option with the nearest one they have."""

from __future__ import annotations

import inspect
import sys
import typing
from collections.abc import Callable
from functools import wraps
from types import SimpleNamespace
from typing import ParamSpec, TypeVar

from lloki._names import did_you_mean
from lloki.errors import ConfigError

P = ParamSpec("P")
R = TypeVar("R")


def keywords(function: Callable[P, R]) -> Callable[P, R]:
    """Check the keywords of a function before it is called; its type stays the same.

    A function that takes ``**options: Unpack[SomeTypedDict]`` has the keys of that dictionary as well.

    Raises
    ------
    ConfigError
        When the function is called with an unknown keyword; the message names the nearest one.
    """
    known: set[str] = set()  # filled at the first unknown name: resolving annotations imports their modules

    @wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        if not kwargs.keys() <= named:
            known.update(named, _options(function))
            for name in kwargs.keys() - known:
                raise ConfigError(f"{function.__name__} has no option {name!r}. {did_you_mean(name, known)}")
        return function(*args, **kwargs)

    parameters = inspect.signature(function).parameters.values()
    named = {p.name for p in parameters if p.kind is not inspect.Parameter.VAR_KEYWORD}
    return checked


def _options(function: Callable[..., object]) -> set[str]:
    """Keys of the ``TypedDict`` that ``**options`` is annotated with."""
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            # this annotation alone: others may name what is only imported for type checkers
            alone = SimpleNamespace(__annotations__={"options": parameter.annotation})
            unpacked = typing.get_type_hints(alone, vars(sys.modules[function.__module__]))["options"]
            return set().union(*(typing.get_type_hints(t) for t in typing.get_args(unpacked)))
    return set()
