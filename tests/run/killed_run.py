"""A run in a process of its own that kills itself (``kill -9``) when a stage has come to a given point.

Called as ``python killed_run.py OUT REFERENCE STAGE DONE SETTINGS SLICE…``.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable

import lloki
from lloki.embed import ScGPT


class Killer:
    """A progress display that ends the process, without any clean-up, when ``stage`` has done so much."""

    def __init__(self, stage: str, done: int) -> None:
        self.stage, self.left = stage, done

    def task(self, description: str, total: int, unit: str = "cells") -> Callable[[int], None]:
        def advance(n: int) -> None:
            self.left -= n
            if self.left <= 0:
                os.kill(os.getpid(), signal.SIGKILL)

        return advance if description == self.stage else lambda n: None


if __name__ == "__main__":
    out, reference, stage, done, settings, *slices = sys.argv[1:]
    given = json.loads(settings)
    if "rows_per_piece" in given:
        ScGPT.rows_per_piece = given.pop("rows_per_piece")
    lloki.integrate(slices, reference=reference, out=out, progress=Killer(stage, int(done)), **given)
