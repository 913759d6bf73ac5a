"""Reading and checking inputs: any accepted file or AnnData in, one checked AnnData a section out.

Everything a user can get wrong in a file is met here, once: it is corrected with a warning (``LlokiWarning``,
and kept in ``uns["lloki"]["messages"]``), or refused with an error that names the file, the slot and the fix.
"""

from __future__ import annotations

import importlib
from typing import Any

from lloki.io.folders import read_folder
from lloki.io.hashing import content_hash
from lloki.io.options import ReadOptions
from lloki.io.reference import read_reference
from lloki.io.slices import SliceCheck, check_slices, iter_slices, read_slices
from lloki.io.writing import atomic

__all__ = [
    "ReadOptions",
    "SliceCheck",
    "atomic",
    "check_slices",
    "content_hash",
    "export",
    "iter_slices",
    "read_folder",
    "read_reference",
    "read_slices",
]


def __getattr__(name: str) -> Any:
    """Load :func:`lloki.io.export` at its first use: it comes after all else, and draws on all of it."""
    if name == "export":
        return importlib.import_module("lloki.export").export
    raise AttributeError(f"module 'lloki.io' has no attribute {name!r}")
