"""What an embedder is, and how one is found by name."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, is_dataclass
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from lloki._progress import Advance
from lloki._sums import require_whole
from lloki.errors import ConfigError, ModelError
from lloki.genes import PanelCoverage

ENTRY_POINTS = "lloki.embedders"
_BUILT_IN = {  # as module and class: the pretrained ones bring torch with them
    "factor": ("lloki.embed.factor", "Factor"),
    "geneformer": ("lloki.embed.geneformer", "Geneformer"),
    "precomputed": ("lloki.embed.precomputed", "Precomputed"),
    "scgpt": ("lloki.embed.scgpt", "ScGPT"),
}
WITHOUT_WEIGHTS = ("factor", "precomputed")


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

    A run calls ``summarize`` once for each slice and for the reference (independent units), ``fit`` once with
    all summaries, and ``embed`` for each slice. A pretrained embedder returns empty summaries and itself from
    ``fit``. Registered under the entry-point group ``lloki.embedders``, the class is called with
    ``model=PATH or None, seed=INT`` and keyword settings. What else its results depend on belongs into an
    attribute ``config`` (a dataclass or plain values): it enters the hashes by which finished work is found.
    A ``diagnosis`` in the coverage of a pretrained embedder means that the slice is refused.

    Optional are the attributes ``device``, set to the name of the device (``None``: that of the session)
    before ``config`` is read and before ``embed``, and
    ``rows_per_piece``, for one so slow that a run should keep what is done of a slice after so many cells;
    and ``match(genes, where=, min_genes=)``, as :func:`lloki.genes.match_vocabulary` gives it, for one with a
    vocabulary of its own.
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

    def summarize(self, expression: sparse.csr_matrix, genes: Sequence[str]) -> SliceSummary:
        """Summarize one slice: (n, g) log-normalized expression, as LLOKI-FP gives it."""
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


@dataclass(frozen=True)
class HeldOut:
    """Cells of a slice embedded without some genes, and those genes.

    Attributes
    ----------
    genes
        The h genes that were left out.
    rows
        (n, d) embedding by the others.
    predict
        (h, d) loadings: ``rows @ predict.T`` is what the model expects of the genes.
    values
        (n, h) their standardized expression.
    """

    genes: tuple[str, ...]
    rows: NDArray[np.float32]
    predict: NDArray[np.float64]
    values: NDArray[np.float32]


@runtime_checkable
class HoldsOut(Protocol):
    """An embedder that can leave genes out of a slice's embedding, and predict them from it."""

    def hold_out(
        self,
        expression: sparse.csr_matrix,
        genes: Sequence[str],
        folds: Sequence[Sequence[str]],
        *,
        state: SliceSummary,
        observed: sparse.csr_matrix | None = None,
    ) -> Iterator[HeldOut]:
        """Embed (n, g) without the genes of each fold, of which ``observed`` has the values to predict."""
        ...


def get_embedder(
    spec: str, *, model: str | Path | None = None, seed: int = 0, device: str | None = None
) -> Embedder:
    """Make the embedder that ``spec`` names: ``"factor"``, ``"precomputed:KEY"``, or a plugin's name.

    Parameters
    ----------
    spec
        Its name; after a colon, what it is made of.
    model
        Folder of its weights, for those that have any.
    seed
        Random seed.
    device
        Where one with an attribute ``device`` computes; ``None`` is ``lloki.settings.device``.

    Raises
    ------
    ConfigError
        If no installed package offers such an embedder, or weights are given to one that has none.
    """
    name, _, argument = spec.partition(":")
    made = _embedder_class(name)
    if made is None:
        raise ConfigError(f"no embedder is called {name!r}. Installed: {', '.join(embedder_names())}.")
    if model is not None and name in WITHOUT_WEIGHTS:
        raise ConfigError(
            f"embedder {name!r} reads no weights, but model is {str(model)!r}. Leave out --model (model=), "
            "or name the embedder that they are of with --embedder (embedder=)."
        )
    options: dict[str, Any] = {"model": Path(model).expanduser() if model else None, "seed": seed}
    if argument:
        options["key"] = argument
    try:
        return _on(made(**options), device)
    except TypeError as error:
        raise ConfigError(f"embedder {spec!r} does not take these options: {error}") from error


def settings_of(embedder: Embedder) -> Any:
    """Plain values of what an embedder's results depend on beside its data; ``None`` if it says nothing."""
    settings = getattr(embedder, "config", getattr(embedder, "key", None))
    return asdict(settings) if is_dataclass(settings) and not isinstance(settings, type) else settings


def save_embedder(embedder: Embedder, folder: Path) -> None:
    """Write a fitted embedder into an existing folder, with the name by which its class is found again."""
    embedder.save(folder)
    (folder / "embedder.json").write_text(json.dumps({"name": embedder.name}))


def load_embedder(folder: Path, *, device: str | None = None) -> Embedder:
    """Read what `save_embedder` wrote.

    Parameters
    ----------
    folder
        With the embedder.
    device
        Where one with an attribute ``device`` computes; ``None`` is ``lloki.settings.device``.

    Raises
    ------
    ModelError
        If the folder holds no embedder, a damaged one, or one that no installed package offers.
    """
    require_whole(folder)
    try:
        name = json.loads((folder / "embedder.json").read_text())["name"]
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"{folder}: holds no saved embedder ({error})") from error
    made = _embedder_class(name)
    if made is None:
        raise ModelError(f"{folder}: was made with the embedder {name!r}, which is not installed here")
    return _on(made.load(folder), device)


def _on(embedder: Embedder, device: str | None) -> Embedder:
    """Set the device of an embedder that has one."""
    if hasattr(embedder, "device"):
        embedder.device = device
    return embedder


def embedder_names() -> list[str]:
    """Names of the built-in embedders and of those of installed packages."""
    return sorted(set(_BUILT_IN) | {entry.name for entry in entry_points(group=ENTRY_POINTS)})


def _embedder_class(name: str) -> Any:
    """Import the class of one name; ``None`` if nothing offers it. The others are not loaded."""
    if name in _BUILT_IN:
        return getattr(import_module(_BUILT_IN[name][0]), _BUILT_IN[name][1])
    found = [entry for entry in entry_points(group=ENTRY_POINTS) if entry.name == name]
    return found[0].load() if found else None
