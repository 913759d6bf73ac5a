"""Progress of a stage: a bar on a terminal, plain log lines elsewhere, nothing at all by default.

Array functions take ``advance: Callable[[int], None] | None`` and call it with the number of cells (or steps)
done since the last call; they know nothing of bars.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from lloki._log import logger

Advance = Callable[[int], None]


class Progress(Protocol):
    """What a stage reports to."""

    def task(self, description: str, total: int, unit: str = "cells") -> Advance:
        """Start a task; call the returned function with the number of units done."""
        ...


class Silent:
    """Report nothing: the default of every function."""

    def task(self, description: str, total: int, unit: str = "cells") -> Advance:
        return lambda n: None


class LogLines:
    """One plain line when a task starts getting long and when it ends, for logs of batch jobs.

    Parameters
    ----------
    every_s
        Seconds between two lines of a task.
    say
        Takes a line; default the package's log.
    """

    def __init__(self, every_s: float = 15.0, say: Callable[[str], None] = logger.info) -> None:
        self.every_s, self.say = every_s, say

    def task(self, description: str, total: int, unit: str = "cells") -> Advance:
        start = last = time.monotonic()
        done, ended = 0, False

        def advance(n: int) -> None:
            nonlocal done, ended, last
            done += n
            now = time.monotonic()
            finished = done >= total
            if ended:  # a stage may report once more, that nothing is left
                return
            if finished or now - last >= self.every_s:
                last, ended = now, finished
                rate = done / max(now - start, 1e-9)
                left = "" if finished else f", {max(total - done, 0) / max(rate, 1e-9):.0f} s left"
                self.say(f"{description}: {done}/{total} {unit}, {rate:.0f} {unit}/s{left}")

        return advance


def chosen(progress: Progress | bool | None) -> Progress:
    """Return what a caller asked for: ``True`` prints lines on standard error, None or False nothing."""
    if isinstance(progress, bool) or progress is None:
        return LogLines(say=lambda line: print(line, file=sys.stderr, flush=True)) if progress else Silent()
    return progress


class Bars:
    """Live rich bars with rate and time left. Use ``with Bars().live() as progress``."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as Rich

        self._rich = Rich(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[unit]} {task.fields[rate]}"),
            TimeElapsedColumn(),
            console=Console(stderr=True),
        )

    def task(self, description: str, total: int, unit: str = "cells") -> Advance:
        task = self._rich.add_task(description, total=total, unit=unit, rate="")
        start = time.monotonic()
        done = 0

        def advance(n: int) -> None:
            nonlocal done
            done += n
            rate = done / max(time.monotonic() - start, 1e-9)
            left = max(total - done, 0) / max(rate, 1e-9)
            note = f"{rate:,.0f}/s" + (f", {left:.0f} s left" if done < total else "")
            self._rich.update(task, completed=done, rate=note)

        return advance

    @contextmanager
    def live(self) -> Iterator[Bars]:
        with self._rich:
            yield self


@contextmanager
def for_terminal() -> Iterator[Progress]:
    """Bars where standard error is a terminal, log lines where it is not."""
    if sys.stderr.isatty():
        with Bars().live() as bars:
            yield bars
    else:
        yield LogLines()
