"""Units for worker processes to die of; in a module of their own, since workers import what they run."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from lloki.errors import GeneError


def die_once(marker: Path) -> str:
    """Kill the worker at the first try, leave a mark, and do well at the second."""
    if not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return marker.name


def fail(unit: str) -> None:
    raise GeneError("has no gene in common", where=unit, slot="var_names", hint="Rename them.")


def process(unit: object) -> int:
    return os.getpid()


def threads(unit: object) -> str:
    return os.environ["LLOKI_THREADS"]


def slow(unit: tuple[Path, int]) -> int:
    """Take half a second, and leave a mark with the process that did it."""
    folder, number = unit
    time.sleep(0.5)
    (folder / str(number)).write_text(str(os.getpid()))
    return number
