"""Embedders: from any gene panel to one feature space."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from lloki.embed.base import (
    Embedder,
    HeldOut,
    HoldsOut,
    SliceSummary,
    get_embedder,
    load_embedder,
    save_embedder,
    settings_of,
)
from lloki.embed.factor import Factor, FactorConfig
from lloki.embed.precomputed import Precomputed
from lloki.embed.propagation import propagate_slice

__all__ = [
    "Embedder",
    "Factor",
    "FactorConfig",
    "Geneformer",
    "HeldOut",
    "HoldsOut",
    "Precomputed",
    "ScGPT",
    "SliceSummary",
    "get_embedder",
    "load_embedder",
    "propagate_slice",
    "save_embedder",
    "settings_of",
]

if TYPE_CHECKING:
    from lloki.embed.geneformer import Geneformer
    from lloki.embed.scgpt import ScGPT
else:

    def __getattr__(name: str) -> object:
        if name in ("ScGPT", "Geneformer"):  # torch loads with them
            return getattr(import_module(f"lloki.embed.{name.lower()}"), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
