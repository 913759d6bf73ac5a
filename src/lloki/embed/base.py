"""What an embedder is, and how one is found by name."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from lloki._progress import Advance
from lloki.errors import ConfigError, ModelError
from lloki.genes import PanelCoverage

ENTRY_POINTS = "lloki.embedders"


@dataclass(frozen=True)
class SliceSummary:
    """What an embedder keeps of one whole slice: for its joint fit, and to embed the slice's cells.

    Attributes
    ----------
    genes
        The g genes that the arrays refer to.
    arrays
        Gene-sized arrays by name, never cell-sized: a summary is made where the slice is, and travels.
    """

    genes: tuple[str, ...]
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)


@runtime_checkable
class Embedder(Protocol):
    """Turns cells of any panel into rows of one space.

    A run calls ``summarise`` once for each slice and for the reference (independent units), ``fit`` once with
    all summaries, and ``embed`` for each slice. A pretrained embedder returns empty summaries and itself from
    ``fit``. Registered under the entry-point group ``lloki.embedders``, the class is called with
    ``model=PATH or None, seed=INT`` and keyword settings. What else its results depend on belongs into an
    attribute ``config`` (a dataclass or plain values): it enters the hashes by which finished work is found.
    """

    name: str
    joint: bool  # whether `fit` learns from the run's slices; it then uses expression
    uses_expression: bool  # False: LLOKI-FP is not run, no reference is needed, and `embed` gets raw counts

    @property
    def dim(self) -> int:
        """Columns of the embedding; known after ``fit``."""
        ...

    def coverage(self, genes: Sequence[str]) -> PanelCoverage:
        """Say which genes can be used and which are dropped."""
        ...

    def summarise(self, expression: sparse.csr_matrix, genes: Sequence[str]) -> SliceSummary:
        """Summarise one slice: (n, g) log-normalised expression, as LLOKI-FP gives it."""
        ...

    def fit(self, slices: Mapping[str, SliceSummary], reference: SliceSummary) -> Embedder:
        """Learn from all summaries; the order of ``slices`` does not matter."""
        ...

    def embed(
        self,
        expression: sparse.csr_matrix,
        genes: Sequence[str],
        *,
        state: SliceSummary,
        cell_ids: Sequence[str],
        seed: int = 0,
        threads: int | None = None,
        advance: Advance | None = None,
    ) -> NDArray[np.float32]:
        """Embed cells: (n, g) → (n, dim). A row depends on its cell, ``state`` and ``seed`` alone."""
        ...

    def save(self, folder: Path) -> None:
        """Write what ``load`` needs into an existing folder."""
        ...

    @classmethod
    def load(cls, folder: Path) -> Embedder:
        """Read what ``save`` wrote."""
        ...


def get_embedder(spec: str, *, model: str | Path | None = None, seed: int = 0) -> Embedder:
    """Make the embedder that ``spec`` names: ``"factor"``, ``"precomputed:KEY"``, or a plugin's name.

    Raises
    ------
    ConfigError
        If no installed package offers such an embedder.
    """
    name, _, argument = spec.partition(":")
    classes = embedder_classes()
    if name not in classes:
        known = ", ".join(sorted(classes))
        raise ConfigError(f"no embedder is called {name!r}. Installed: {known}.")
    options: dict[str, Any] = {"model": Path(model) if model else None, "seed": seed}
    if argument:
        options["key"] = argument
    try:
        return classes[name](**options)
    except TypeError as error:
        raise ConfigError(f"embedder {spec!r} does not take these options: {error}") from error


def save_embedder(embedder: Embedder, folder: Path) -> None:
    """Write a fitted embedder into an existing folder, with the name by which its class is found again."""
    embedder.save(folder)
    (folder / "embedder.json").write_text(json.dumps({"name": embedder.name}))


def load_embedder(folder: Path) -> Embedder:
    """Read what `save_embedder` wrote.

    Raises
    ------
    ModelError
        If the folder holds no embedder, or one that no installed package offers.
    """
    try:
        name = json.loads((folder / "embedder.json").read_text())["name"]
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"{folder}: holds no saved embedder ({error})") from error
    classes = embedder_classes()
    if name not in classes:
        raise ModelError(f"{folder}: was made with the embedder {name!r}, which is not installed here")
    loaded: Embedder = classes[name].load(folder)
    return loaded


def embedder_classes() -> dict[str, Any]:
    """Embedder classes by name: the built-in ones, then those of installed packages."""
    from lloki.embed.factor import Factor
    from lloki.embed.precomputed import Precomputed

    classes: dict[str, Any] = {"factor": Factor, "precomputed": Precomputed}
    for entry in entry_points(group=ENTRY_POINTS):
        if entry.name not in classes:
            classes[entry.name] = entry.load()
    return classes
