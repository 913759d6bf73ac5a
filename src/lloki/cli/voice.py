"""How a command speaks while it works: progress, log lines and warnings, all on standard error."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import typer

from lloki._log import logger
from lloki._progress import Progress, for_terminal
from lloki.errors import LlokiWarning


@dataclass
class Voice:
    """Says warnings once each, as plain sentences.

    Attributes
    ----------
    progress
        For the functions that take one.
    said
        Warnings so far.
    """

    progress: Progress
    said: set[str] = field(default_factory=set)

    def warn(self, text: str) -> None:
        """Say a warning, unless it was said before."""
        if text not in self.said:
            self.said.add(text)
            typer.secho(f"Warning: {text}", fg="yellow", err=True)

    def messages(self, messages: Iterable[Mapping[str, str]], *, files: Iterable[Path] = ()) -> None:
        """Say what a run corrected, with the slices' names where the text does not begin with its file."""
        from lloki.io.messages import grouped, line

        known = tuple(map(str, files))
        for text, names in grouped((message["slice"], message["text"]) for message in messages):
            if not text.startswith("skipped: "):  # logged when it was done
                self.warn(text if text.startswith(known) else line(text, names))


class _ToVoice(logging.Handler):
    def __init__(self, voice: Voice) -> None:
        super().__init__()
        self.voice = voice

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.WARNING:
            self.voice.warn(record.getMessage())
        else:
            typer.echo(record.getMessage(), err=True)


@contextmanager
def speaking(*, debug: bool = False) -> Iterator[Voice]:
    """Inside, warnings and the log of lloki are said aloud; other packages are heard with ``debug`` only."""
    with warnings.catch_warnings(), for_terminal() as progress:
        voice = Voice(progress)

        def show(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
            voice.warn(str(message) if category is LlokiWarning else f"{category.__name__}: {message}")

        warnings.simplefilter("default" if debug else "ignore")
        warnings.simplefilter("always", LlokiWarning)
        warnings.showwarning = show
        handler, level = _ToVoice(voice), logger.level
        logger.addHandler(handler)
        logger.setLevel(logging.DEBUG if debug else logging.INFO)
        try:
            yield voice
        finally:
            logger.removeHandler(handler)
            logger.setLevel(level)
