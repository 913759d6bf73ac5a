"""What a command shows while it works: log lines and warnings, on standard error as the progress is."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import typer

from lloki._log import logger, show
from lloki.errors import LlokiWarning


@dataclass
class Console:
    """Shows each warning once, as a plain sentence.

    Attributes
    ----------
    shown
        Warnings so far.
    """

    shown: set[str] = field(default_factory=set)

    def warn(self, text: str) -> None:
        """Show a warning, unless it was shown before."""
        if text not in self.shown:
            self.shown.add(text)
            line = f"Warning: {text}"
            show(typer.style(line, fg="yellow") if sys.stderr.isatty() else line)

    def messages(self, messages: Iterable[Mapping[str, str]], *, files: Iterable[Path] = ()) -> None:
        """Show what a run corrected, with the slices' names where the text does not begin with its file.

        Trivial corrections are left to the report.
        """
        from lloki.io.messages import grouped, line, rank_of

        known = tuple(map(str, files))
        for text, names in grouped((message["slice"], message["text"]) for message in messages):
            logged = text.startswith("skipped: ") or text.endswith("it is made again")  # when it was done
            if not logged and rank_of(next(iter(names), ""), text) != "trivial":
                self.warn(text if text.startswith(known) else line(text, names))


class _Handler(logging.Handler):
    def __init__(self, console: Console) -> None:
        super().__init__()
        self.console = console

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.WARNING:
            self.console.warn(record.getMessage())
        else:
            show(record.getMessage())


@contextmanager
def reporting(*, debug: bool = False) -> Iterator[Console]:
    """Inside, lloki's warnings and log are shown; those of other packages only with ``debug``."""
    with warnings.catch_warnings():
        console = Console()

        def show_warning(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
            console.warn(str(message) if category is LlokiWarning else f"{category.__name__}: {message}")

        warnings.simplefilter("default" if debug else "ignore")
        warnings.simplefilter("always", LlokiWarning)
        warnings.showwarning = show_warning
        handler, level = _Handler(console), logger.level
        logger.addHandler(handler)
        logger.setLevel(logging.DEBUG if debug else logging.INFO)
        try:
            yield console
        finally:
            logger.removeHandler(handler)
            logger.setLevel(level)
