"""Published weights: the registry, downloads, and what a folder of weights holds."""

from __future__ import annotations

from lloki.models._fetch import Fetched, FetchedFile, fetch, models_folder
from lloki.models.inspect import FileFacts, ModelFacts, embedder_of, inspect_model, match_panel
from lloki.models.registry import PublishedModel, WeightsFile, published, published_models

__all__ = [
    "Fetched",
    "FetchedFile",
    "FileFacts",
    "ModelFacts",
    "PublishedModel",
    "WeightsFile",
    "embedder_of",
    "fetch",
    "inspect_model",
    "match_panel",
    "models_folder",
    "published",
    "published_models",
]
