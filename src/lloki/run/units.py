"""The units of a run: one slice through one stage, from files to a file. They are what workers are sent.

A unit that finds its result in place does nothing, so it can be run again after its worker died.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from lloki._parallel import blocks
from lloki._progress import Advance
from lloki._sums import damage
from lloki.cae import CAEConfig, CAEModel, train
from lloki.cae.model import Output
from lloki.embed import Embedder, Precomputed, SliceSummary, load_embedder, propagate_slice
from lloki.errors import InputError, LlokiError, LlokiWarning, RunError
from lloki.fp import FPConfig, Propagation, align_features, log_normalize
from lloki.fp.align import PASSES
from lloki.run import _view
from lloki.run._view import Anchors, Sample, view
from lloki.run.labels import Labels
from lloki.run.record import StageRecord
from lloki.run.store import Piece, StoredRows, cached, load_arrays, save_arrays, write_arrays


@dataclass(frozen=True, kw_only=True)
class Unit:
    """Fields that all units have: the place of the result and the slice's cells."""

    piece: Piece
    cells: int

    @property
    def path(self) -> Path:
        """Of the result."""
        return self.piece.path


@dataclass(frozen=True, kw_only=True)
class FeatureUnit(Unit):
    """LLOKI-FP of one slice."""

    source: Path
    reference_sparsity: NDArray[np.float64]
    config: FPConfig


@dataclass(frozen=True, kw_only=True)
class SummaryUnit(Unit):
    """What a joint embedder needs of one slice."""

    features: Path
    genes: tuple[str, ...]
    embedder: Embedder

    def load(self) -> SliceSummary:
        """Read the summary."""
        return SliceSummary(self.genes, load_arrays(self.path))


@dataclass(frozen=True, kw_only=True)
class EmbeddingUnit(Unit):
    """The embedding of one slice's cells: from its features, or without them from the slice itself."""

    source: Path
    features: Path | None
    summary: SummaryUnit | None
    model: Path
    propagation: Propagation | None
    seed: int
    device: str


@dataclass(frozen=True, kw_only=True)
class TrainingUnit(Unit):
    """LLOKI-CAE, trained on the rows of several slices: slice → its file, its token, its labels if any."""

    rows: Mapping[str, Path]
    tokens: Mapping[str, str]
    labels: Labels | None
    config: CAEConfig
    device: str
    checkpoint: Path


@dataclass(frozen=True, kw_only=True)
class EncodeUnit(Unit):
    """The joint embedding of one slice's cells, by a trained LLOKI-CAE.

    ``source`` holds the rows before, ``model`` is the folder of the model; ``slice_name`` is that of a slice
    with a part of its own in the condition, else None; ``output`` is what the model gives.
    """

    source: Path
    model: Path
    token: str
    slice_name: str | None
    output: Output
    device: str


@dataclass(frozen=True, kw_only=True)
class ViewUnit(Unit):
    """UMAP, unless left out, and clusters of all cells, or of a sample of them if they are many.

    ``rows`` and ``sizes`` are the file of each slice and its number of cells, in the order of the cells.
    """

    rows: tuple[Path, ...]
    sizes: tuple[int, ...]
    layout: bool
    resolution: float
    seed: int


@dataclass(frozen=True, kw_only=True)
class PlaceUnit(Unit):
    """Clusters and positions of one slice's cells, by those of a sample of all cells (``anchors``)."""

    source: Path
    anchors: Path


def compute(unit: Unit, advance: Advance | None = None) -> StageRecord:
    """Run a unit and write its result, unless it is there.

    Raises
    ------
    LlokiError
        With the name of the slice; RunError for what lloki does not raise on purpose, such as too little
        memory.
    """
    stage, name = unit.piece.stage, unit.piece.name
    try:
        record = cached(unit.piece, lambda path: _write(unit, path, advance))
    except InputError as error:
        if error.where:
            raise
        raise type(error)(error.what, where=name, slot=error.slot, hint=error.hint) from error
    except LlokiError:
        raise
    except MemoryError as error:
        raise RunError(
            f"{name}: the memory is too small for the stage {stage!r}. What was finished before is kept: "
            "the same "
            "call again resumes there, on a larger machine or with fewer workers."
        ) from error
    except Exception as error:
        raise RunError(
            f"{name}: the stage {stage!r} failed with {type(error).__name__}: {error}. What was finished "
            "before is kept: the same call again resumes there."
        ) from error
    if isinstance(unit, EmbeddingUnit):
        shutil.rmtree(_parts(unit), ignore_errors=True)
    return record


def compute_and_warn(unit: Unit) -> tuple[StageRecord, list[str]]:
    """Run a unit; what it warned of comes back as text, as nobody reads the output of a worker."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        record = compute(unit)
    return record, [str(w.message) for w in caught if issubclass(w.category, LlokiWarning)]


def _write(unit: Unit, path: Path, advance: Advance | None) -> None:
    if isinstance(unit, TrainingUnit):
        _trained(unit, advance).save(path)
    else:
        write_arrays(path, _COMPUTE[type(unit)](unit, advance))


def _trained(unit: TrainingUnit, advance: Advance | None) -> CAEModel:
    return train(
        StoredRows(unit.rows),
        unit.tokens,
        labels=unit.labels,
        config=unit.config,
        device=unit.device,
        checkpoint=unit.checkpoint,
        advance=advance,
    )


def _features(unit: FeatureUnit, advance: Advance | None) -> Mapping[str, Any]:
    part = _thirds(advance)
    cells = load_arrays(unit.source)
    result = align_features(
        cells["counts"],
        cells["spatial"],
        unit.reference_sparsity,
        config=unit.config,
        advance=part,
    )
    return vars(result)


def _thirds(advance: Advance | None) -> Advance | None:
    """Count a cell once although LLOKI-FP passes over it `PASSES` times."""
    if advance is None:
        return None
    seen = 0

    def part(n: int) -> None:
        nonlocal seen
        before, seen = seen // PASSES, seen + n
        advance(seen // PASSES - before)

    return part


def _summary(unit: SummaryUnit, advance: Advance | None) -> Mapping[str, Any]:
    expression = load_arrays(unit.features)["expression"]
    arrays = unit.embedder.summarize(expression, unit.genes).arrays
    if advance:
        advance(unit.cells)
    return arrays


def _embedding(unit: EmbeddingUnit, advance: Advance | None) -> Mapping[str, Any]:
    embedder = load_embedder(unit.model, device=unit.device)
    cells = load_arrays(unit.source)
    if not isinstance(embedder, Precomputed):
        return _embedded(unit, embedder, cells, advance)
    if advance:
        advance(unit.cells)
    return {"rows": cells["embedding"]}


def _embedded(
    unit: EmbeddingUnit, embedder: Embedder, cells: dict[str, Any], advance: Advance | None
) -> Mapping[str, Any]:
    """Embed a slice from its features, or without them from its counts, and propagate."""
    genes = tuple(cells["genes"].tolist())
    expression = load_arrays(unit.features)["expression"] if unit.features else cells["counts"]
    state = unit.summary.load() if unit.summary else SliceSummary(genes)
    rows = _in_parts(unit, embedder, expression, genes, cells["cells"].tolist(), state, advance)
    if unit.propagation is None:
        return {"rows": rows}
    rows, alpha = propagate_slice(
        rows,
        cells["spatial"],
        unit.propagation,
        embedder=embedder,
        expression=expression,
        genes=genes,
        state=state,
        observed=log_normalize(cells["counts"]),
        known=np.diff(sparse.csr_matrix(cells["counts"]).indptr) > 0,
        seed=unit.seed,
    )
    return {"rows": rows, "latent_alpha": np.array(alpha)}


def _encoded(unit: EncodeUnit, advance: Advance | None) -> Mapping[str, Any]:
    model = CAEModel.load(unit.model, device=unit.device)
    before = load_arrays(unit.source, only=("rows",))["rows"]
    rows = model.giving(unit.output).encode(before, unit.token, slice_name=unit.slice_name)
    if advance:
        advance(unit.cells)
    return {"rows": rows}


def _viewed(unit: ViewUnit, advance: Advance | None) -> Mapping[str, Any]:
    how: dict[str, Any] = {"layout": unit.layout, "resolution": unit.resolution, "seed": unit.seed}
    rows = StoredRows({str(i): path for i, path in enumerate(unit.rows)})
    if unit.cells <= _view.MOST:
        umap, clusters = view(np.concatenate(list(rows.values())), **how)
        found = {"clusters": clusters, "umap": umap}
    else:

        def take(cells: NDArray[np.int64]) -> NDArray[np.float32]:
            ends = np.cumsum(unit.sizes)
            parts, starts = np.split(cells, np.searchsorted(cells, ends[:-1])), ends - unit.sizes
            return np.concatenate([rows[str(i)][part - starts[i]] for i, part in enumerate(parts)])

        sample = Sample.of(unit.cells, take, **how)
        found = {"drawn": sample.drawn, "clusters": sample.clusters, "umap": sample.umap}
        of = sample.anchors
        found |= {"anchors": of.rows, "anchor_clusters": of.clusters, "anchor_umap": of.umap}
    if advance:
        advance(unit.cells)
    return {name: values for name, values in found.items() if values is not None}


def _placed(unit: PlaceUnit, advance: Advance | None) -> Mapping[str, Any]:
    known = load_arrays(unit.anchors)
    anchors = Anchors(known["anchors"], known["anchor_clusters"], known.get("anchor_umap"))
    umap, clusters = anchors.place(load_arrays(unit.source, only=("rows",))["rows"])
    if advance:
        advance(unit.cells)
    return {"clusters": clusters} | ({} if umap is None else {"umap": umap})


def _in_parts(
    unit: EmbeddingUnit,
    embedder: Embedder,
    expression: sparse.csr_matrix,
    genes: Sequence[str],
    names: Sequence[str],
    state: SliceSummary,
    advance: Advance | None,
) -> NDArray[np.float32]:
    """Embed a slice; what a slow embedder has done is kept: a stopped run resumes inside the slice."""
    rows = []
    for block in blocks(len(names), getattr(embedder, "rows_per_piece", len(names))):
        part = _parts(unit) / f"{block.start}-{block.stop}.npz"
        if part.exists() and not damage(part):
            rows.append(load_arrays(part)["rows"])
            if advance:
                advance(len(rows[-1]))
            continue
        rows.append(
            embedder.embed(
                expression[block], genes, state=state, cell_ids=names[block], seed=unit.seed, advance=advance
            )
        )
        if len(rows[-1]) < len(names):
            save_arrays(part, {"rows": rows[-1]})
    return np.concatenate(rows)


def _parts(unit: EmbeddingUnit) -> Path:
    return unit.path.with_suffix("")


_COMPUTE: dict[type[Unit], Callable[..., Mapping[str, Any]]] = {
    FeatureUnit: _features,
    SummaryUnit: _summary,
    EmbeddingUnit: _embedding,
    EncodeUnit: _encoded,
    ViewUnit: _viewed,
    PlaceUnit: _placed,
}
