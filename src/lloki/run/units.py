"""The units of a run: one slice through one stage, from files to a file. They are what workers are sent.

A unit that finds its result in place does nothing, so it can be run again after its worker died.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lloki._progress import Advance
from lloki.embed import Embedder, Precomputed, SliceSummary, load_embedder
from lloki.errors import InputError, LlokiError, RunError
from lloki.fp import FPConfig, align_features
from lloki.fp.align import PASSES
from lloki.run.record import StageRecord, metered
from lloki.run.store import load_arrays, save_arrays


@dataclass(frozen=True, kw_only=True)
class Unit:
    """Fields that all units have: the slice's name, the key of the result and its place."""

    stage: str
    name: str
    cells: int
    key: str
    path: Path


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


@dataclass(frozen=True, kw_only=True)
class EmbeddingUnit(Unit):
    """The embedding of one slice's cells: from its features, or without them from the slice itself."""

    source: Path
    features: Path | None
    summary: Path | None
    model: Path
    seed: int


def compute(unit: Unit, advance: Advance | None = None) -> StageRecord:
    """Run a unit and write its result, unless it is there.

    Raises
    ------
    LlokiError
        With the name of the slice; RunError for what lloki does not raise on purpose, such as too little
        memory.
    """
    if unit.path.exists():
        return StageRecord(unit.stage, unit.name, unit.key, status="reused")
    try:
        with metered(unit.stage, unit.name, unit.key) as record:
            _COMPUTE[type(unit)](unit, advance)
    except InputError as error:
        if error.where:
            raise
        raise type(error)(error.what, where=unit.name, slot=error.slot, mend=error.mend) from error
    except LlokiError:
        raise
    except Exception as error:
        raise RunError(
            f"{unit.name}: the stage {unit.stage!r} failed with {type(error).__name__}: {error}. What was "
            "finished before is kept: the same call again goes on from there."
        ) from error
    return record


def _features(unit: FeatureUnit, advance: Advance | None) -> None:
    part = _thirds(advance)
    cells = load_arrays(unit.source)
    result = align_features(
        cells["counts"],
        cells["spatial"],
        unit.reference_sparsity,
        config=unit.config,
        advance=part,
    )
    save_arrays(unit.path, vars(result))


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


def _summary(unit: SummaryUnit, advance: Advance | None) -> None:
    expression = load_arrays(unit.features)["expression"]
    save_arrays(unit.path, unit.embedder.summarise(expression, unit.genes).arrays)
    if advance:
        advance(unit.cells)


def _embedding(unit: EmbeddingUnit, advance: Advance | None) -> None:
    embedder = load_embedder(unit.model)
    cells = load_arrays(unit.source)
    if isinstance(embedder, Precomputed):
        rows = cells["embedding"]
        if advance:
            advance(len(rows))
    else:
        genes = tuple(cells["genes"].tolist())
        arrays = load_arrays(unit.summary) if unit.summary else {}
        expression = load_arrays(unit.features)["expression"] if unit.features else cells["counts"]
        rows = embedder.embed(
            expression,
            genes,
            state=SliceSummary(genes, arrays),
            cell_ids=cells["cells"].tolist(),
            seed=unit.seed,
            advance=advance,
        )
    save_arrays(unit.path, {"rows": rows})


_COMPUTE: dict[type[Unit], Callable[..., None]] = {
    FeatureUnit: _features,
    SummaryUnit: _summary,
    EmbeddingUnit: _embedding,
}
