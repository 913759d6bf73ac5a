"""The published weights that lloki knows of; ``published.toml`` beside this module lists them."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any

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
        Of its content, 64 hex digits; ``None`` where it is not known yet.
    """

    name: str
    url: str = ""
    sha256: str | None = None


@dataclass(frozen=True)
class PublishedModel:
    """Weights that somebody published.

    Attributes
    ----------
    name
        What to call it in ``lloki models fetch``.
    embedder
        The embedder that takes the folder.
    what
        What it was trained on, and its size.
    page
        Where it is described and given out.
    license
        The terms, as far as they are stated.
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
    """All published models that lloki knows of, by name."""
    table = tomllib.loads((files("lloki.models") / "published.toml").read_text(encoding="utf-8"))
    return MappingProxyType({name: _model(name, entry) for name, entry in table.items()})


def published(name: str) -> PublishedModel:
    """Return the entry of a published model.

    Raises
    ------
    ConfigError
        If there is none of that name; says which there are.
    """
    known = published_models()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise ConfigError(f"no published model is called {name!r}.{hint} There are: {', '.join(known)}.")
    return known[name]


def _model(name: str, entry: dict[str, Any]) -> PublishedModel:
    base = entry.pop("base")
    listed = tuple(
        WeightsFile(file, base + about["url"] if "url" in about else "", about.get("sha256"))
        for file, about in entry.pop("files").items()
    )
    return PublishedModel(name=name, files=listed, **entry)
