"""lloki: one space for spatial transcriptomics slices of any platform and any gene panel."""

from __future__ import annotations

import importlib
from typing import Any

from lloki._version import __version__

# Lazily, so that `import lloki` and `lloki --help` stay light: torch, anndata and numba load on first use.
_MODULES = (
    "io",
    "tl",
    "pl",
    "datasets",
    "errors",
    "embed",
    "cae",
    "align",
    "analysis",
    "fp",
    "graph",
    "genes",
    "evaluate",
    "benchmark",
)
_NAMES = {
    "settings": "lloki._settings",
    "integrate": "lloki.run",
    "project": "lloki.run",
    "project_reference": "lloki.run",
}

__all__ = ["__version__", *_MODULES, *_NAMES]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"lloki.{name}")
    if name in _NAMES:
        return getattr(importlib.import_module(_NAMES[name]), name)
    raise AttributeError(f"module 'lloki' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
