"""Embedders: from any gene panel to one feature space."""

from lloki.embed.base import Embedder, SliceSummary, get_embedder, load_embedder, save_embedder
from lloki.embed.factor import Factor, FactorConfig
from lloki.embed.precomputed import Precomputed

__all__ = [
    "Embedder",
    "Factor",
    "FactorConfig",
    "Precomputed",
    "SliceSummary",
    "get_embedder",
    "load_embedder",
    "save_embedder",
]
