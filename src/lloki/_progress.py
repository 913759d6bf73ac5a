"""Progress of a stage: a bar in a terminal or notebook, plain lines in a log, nothing by default.

Array functions take ``advance: Callable[[int], None] | None`` and call it with the number of cells (or steps)
done since the last call; they know nothing of bars.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TextIO

from lloki._settings import settings

Advance = Callable[[int], None]
_LOG_EVERY_S = 15.0  # seconds between two lines of a task where there is no terminal


@dataclass(frozen=True)
class Progress:
    """What a stage reports to.

    Attributes
    ----------
    shown
        Whether anything is shown.
    """

    shown: bool

    def bar(self, description: str, total: int, unit: str, **options: Any) -> Any:
        """Start a tqdm bar, disabled if nothing is shown; ``options`` are tqdm's."""
        from tqdm import auto
        from tqdm.notebook import tqdm_notebook

        options |= {"desc": description, "total": total, "unit": unit, "miniters": 1, "file": sys.stderr}
        if not issubclass(auto.tqdm, tqdm_notebook):
            options |= {"dynamic_ncols": True} if sys.stderr.isatty() else _in_log()
        return auto.tqdm(**options, disable=not self.shown)

    def task(self, description: str, total: int, unit: str = "cells") -> Advance:
        """Start a task; call the returned function with the number of units done."""
        if not self.shown:
            return lambda n: None
        bar = self.bar(description, total, f" {unit}")

        def advance(n: int) -> None:
            if bar.n + n < total:
                bar.update(n)
                return
            bar.n += n
            bar.delay = 0  # a task that was too short for a line gets its last one, which `close` writes
            bar.close()

        return advance


def chosen(progress: Progress | bool | None) -> Progress:
    """Return what a caller asked for: an object as it is; ``None`` is ``lloki.settings.progress``."""
    if progress is None or isinstance(progress, bool):
        return Progress(settings.progress if progress is None else progress)
    return progress


def _in_log() -> dict[str, Any]:
    return {
        "file": _Lines(sys.stderr),
        "mininterval": _LOG_EVERY_S,
        "delay": 1e-9,  # no line before anything is done
        "bar_format": "{desc}: {n_fmt}/{total_fmt}{unit}, {rate_fmt}, {elapsed} elapsed, {remaining} left",
    }


class _Lines:
    """Writes each state of a bar as a line of its own, for files that keep everything."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, text: str) -> None:
        if line := text.strip():
            self._file.write(f"{line}\n")

    def flush(self) -> None:
        self._file.flush()
