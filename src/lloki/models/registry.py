"""The published weights that lloki knows of; ``published.toml`` beside this module lists them."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any

from lloki._names import did_you_mean
from lloki.errors import ConfigError


@dataclass(frozen=True)
class WeightsFile:
    """One file of a model's folder.

    Attributes
    ----------
    name
        Its name in the folder.
    url
        Where it is published; ``""`` where it has no address of its own, only the model's page.
    sha256
        SHA-256 of the content, 64 hex digits; ``None`` where it is not known yet.
    """

    name: str
    url: str = ""
    sha256: str | None = None


@dataclass(frozen=True)
class PublishedModel:
    """Published weights of one model.

    Attributes
    ----------
    name
        Its name in ``lloki models fetch``.
    embedder
        The embedder that takes the folder.
    what
        What it was trained on, and its size.
    page
        Page that describes and distributes it.
    license
        License, as far as it is stated.
    files
        What the folder holds.
    """

    name: str
    embedder: str
    what: str
    page: str
    license: str
    files: tuple[WeightsFile, ...]


@cache
def published_models() -> Mapping[str, PublishedModel]:
    """Return all published models that lloki knows of, by name."""
    table = tomllib.loads((files("lloki.models") / "published.toml").read_text(encoding="utf-8"))
    return MappingProxyType({name: _model(name, entry) for name, entry in table.items()})


def published(name: str) -> PublishedModel:
    """Return the entry of a published model.

    Raises
    ------
    ConfigError
        If there is none of that name.
    """
    known = published_models()
    if name not in known:
        raise ConfigError(f"there is no published model {name!r}. {did_you_mean(name, known)}")
    return known[name]


def _model(name: str, entry: dict[str, Any]) -> PublishedModel:
    base = entry.pop("base")
    listed = tuple(
        WeightsFile(file, base + about["url"] if "url" in about else "", about.get("sha256"))
        for file, about in entry.pop("files").items()
    )
    return PublishedModel(name=name, files=listed, **entry)
