"""lloki: one space for spatial transcriptomics slices of any platform and any gene panel."""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING

from lloki._version import __version__

__all__ = [
    "__version__",
    "align",
    "analysis",
    "benchmark",
    "cae",
    "compare",
    "datasets",
    "embed",
    "errors",
    "evaluate",
    "fp",
    "genes",
    "graph",
    "integrate",
    "io",
    "models",
    "pl",
    "project",
    "project_reference",
    "settings",
    "tl",
]

# Loaded at first use, so that `import lloki` and `lloki --help` stay quick; a type checker sees them all.
if TYPE_CHECKING:
    from lloki import (
        align,
        analysis,
        benchmark,
        cae,
        compare,
        datasets,
        embed,
        errors,
        evaluate,
        fp,
        genes,
        graph,
        io,
        models,
        pl,
        tl,
    )
    from lloki._settings import settings
    from lloki.run import integrate, project, project_reference
else:
    _NAMES = {
        "settings": "lloki._settings",
        "integrate": "lloki.run",
        "project": "lloki.run",
        "project_reference": "lloki.run",
    }

    def __getattr__(name: str) -> object:
        if name not in __all__:
            raise AttributeError(f"module 'lloki' has no attribute {name!r}")
        try:
            if name in _NAMES:
                return getattr(importlib.import_module(_NAMES[name]), name)
            return importlib.import_module(f"lloki.{name}")
        except AttributeError as error:
            if sys.flags.optimize < 2:
                raise
            from lloki.errors import NO_DOCSTRINGS, ConfigError

            raise ConfigError(NO_DOCSTRINGS) from error


def __dir__() -> list[str]:
    return sorted(__all__)
