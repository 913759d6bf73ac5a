"""The package's one logger. No import attaches a handler to it; ``lloki.settings.verbosity`` may."""

from __future__ import annotations

import logging
import sys

logger = logging.getLogger("lloki")


def show(text: str) -> None:
    """Write a line to standard error, above the progress bars there."""
    if "tqdm" not in sys.modules:
        print(text, file=sys.stderr, flush=True)
        return
    from tqdm import tqdm

    with tqdm.external_write_mode(file=sys.stderr):
        print(text, file=sys.stderr, flush=True)


class StderrHandler(logging.Handler):
    """Shows records on standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        show(self.format(record))
