"""What holds for every call in this process: ``lloki.settings``."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, get_args

from lloki._log import StderrHandler, logger
from lloki._names import did_you_mean
from lloki.errors import ConfigError

Verbosity = Literal["debug", "info", "warning", "error"]


@dataclass
class Settings:
    """Defaults of a session; they change how results are computed and shown, never the results.

    Attributes
    ----------
    threads
        Threads for the stages; ``None`` takes ``LLOKI_THREADS``, else the cores that this process may use.
    device
        Torch device of calls with ``device=None``: ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"`` or
        ``"mps"``.
    progress
        Whether calls with ``progress=None`` show progress: bars in a terminal or notebook, lines in a log.
    verbosity
        Level of the package's log: ``"debug"``, ``"info"``, ``"warning"`` or ``"error"``. When it is set, the
        log goes to standard error, unless the program has log handlers of its own.

    Raises
    ------
    ConfigError
        When a setting is given a value that it cannot have, or there is no such setting.
    """

    threads: int | None = None
    device: str = "auto"
    progress: bool = False
    verbosity: Verbosity = "warning"

    if not TYPE_CHECKING:  # a type checker would take any name for a setting

        def __setattr__(self, name: str, value: Any) -> None:
            _check(name, value)
            initial = name not in vars(self)
            super().__setattr__(name, value)
            if name == "verbosity" and not initial:
                _log_from(value)


def _check(name: str, value: Any) -> None:
    """Refuse a setting that does not exist, or a value that it cannot have."""
    known = [field.name for field in fields(Settings)]
    if name not in known:
        raise ConfigError(f"lloki.settings has no {name!r}. {did_you_mean(name, known)}")
    whole = isinstance(value, int) and not isinstance(value, bool)
    valid, expected = {
        "threads": (value is None or (whole and value > 0), "a whole number above 0, or None"),
        "device": (
            isinstance(value, str) and re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", value) is not None,
            "'auto', 'cpu', 'cuda', 'cuda:1' or 'mps'",
        ),
        "progress": (isinstance(value, bool), "True or False"),
        "verbosity": (value in get_args(Verbosity), "'debug', 'info', 'warning' or 'error'"),
    }[name]
    if not valid:
        raise ConfigError(f"lloki.settings.{name} must be {expected}, got {value!r}.")


def _log_from(level: str) -> None:
    logger.setLevel(level.upper())
    if not logger.hasHandlers():
        logger.addHandler(StderrHandler())


settings = Settings()
