"""The units of a run: one slice through one stage, from files to a file. They are what workers are sent.

A unit that finds its result in place does nothing, so it can be run again after its worker died.
"""

from __future__ import annotations

import shutil
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
from lloki.embed import Embedder, Precomputed, SliceSummary, load_embedder, propagate_slice
from lloki.errors import InputError, LlokiError, RunError
from lloki.fp import FPConfig, Propagation, align_features
from lloki.fp.align import PASSES
from lloki.run.record import StageRecord
from lloki.run.store import Piece, cached, load_arrays, save_arrays, write_arrays


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
        record = cached(unit.piece, lambda path: write_arrays(path, _COMPUTE[type(unit)](unit, advance)))
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
    shutil.rmtree(_parts(unit), ignore_errors=True)
    return record


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
        known=np.diff(sparse.csr_matrix(cells["counts"]).indptr) > 0,
        seed=unit.seed,
    )
    return {"rows": rows, "latent_alpha": np.array(alpha)}


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


def _parts(unit: Unit) -> Path:
    return unit.path.with_suffix("")


_COMPUTE: dict[type[Unit], Callable[..., Mapping[str, Any]]] = {
    FeatureUnit: _features,
    SummaryUnit: _summary,
    EmbeddingUnit: _embedding,
}
