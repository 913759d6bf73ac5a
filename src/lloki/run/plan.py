"""What a run would do, and about what it would cost, before it does anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lloki.embed import get_embedder
from lloki.io import SliceCheck, check_slices
from lloki.run.config import RunConfig

# Core-seconds on one 2-core machine: the first two from benchmarks/fp.py at 50,000 cells, the others from the
# run.json of four real sections with 20,693 cells.
_NEIGHBORS = 1.6e-11  # per pair of cells and gene, one graph
_CELL_GENE = 6e-7  # per cell and gene: propagation, embedding
_FLOPS = 6e10  # of a transformer, benchmarks/scgpt.py
_TOKENS = 0.5  # of a panel's genes that a cell has a token for; LLOKI-FP decides
_STEP = 1.6e-5  # per cell of a batch and step of training
_VIEW = 1e-3  # per cell: UMAP and clusters
_BASE_MB = 700.0  # the interpreter with its libraries


@dataclass(frozen=True)
class PlannedStage:
    """One stage: what it works on and an estimate of its cost."""

    stage: str
    units: int
    core_seconds: float
    memory_mb: float


@dataclass(frozen=True)
class Plan:
    """Slices with what was found out about them, and stages with their estimated cost."""

    slices: list[SliceCheck]
    stages: list[PlannedStage]

    @property
    def ok(self) -> bool:
        """Whether no slice has an error."""
        return all(s.ok for s in self.slices)


def plan(slices: Sequence[Any], *, config: RunConfig | None = None, **read: Any) -> Plan:
    """Check the slices and estimate time and memory of every stage; nothing is written.

    Parameters
    ----------
    slices
        As for :func:`lloki.integrate`.
    config
        Parameters of the run.
    read
        How to read the slices; see :func:`lloki.io.check_slices`.

    Returns
    -------
    Plan
        Estimates are rough: they know neither this machine nor how sparse the slices are.
    """
    config = config or RunConfig()
    checks = check_slices(slices, **read)
    good = [c for c in checks if c.ok]
    cells = sum(c.cells for c in good)
    largest = max(((c.cells, c.genes) for c in good), default=(0, 0))
    stages = []
    if config.embedder.partition(":")[0] != "precomputed" and config.fp is not None:
        limit = config.fp.approximate_above
        pairs = sum(min(c.cells, limit) * c.cells * max(c.genes, 32) for c in good)
        seconds = 2 * _NEIGHBORS * pairs + sum(c.cells * c.genes for c in good) * _CELL_GENE
        # two graphs of up to 2k + 1 edges a cell (8 bytes) and copies of the matrix
        memory = largest[0] * (8 * (2 * config.fp.n_neighbors + 1) * 2 + 24 * largest[1]) / 2**20
        stages.append(PlannedStage("LLOKI-FP", len(good), seconds, _BASE_MB + memory))
    union = sum(c.genes for c in good)
    embed = sum(c.cells * c.genes for c in good) * _CELL_GENE
    if config.model is not None:
        embedder = get_embedder(config.embedder, model=config.model, seed=config.seed)
        work = getattr(embedder, "flop_per_token", 0.0) / _FLOPS  # with a GPU it is far less
        embed += sum(c.cells * c.genes for c in good) * _TOKENS * work
    stages.append(PlannedStage("embedding", len(good), embed, _BASE_MB + 8 * union**2 / 2**20))
    steps = config.cae.total_steps(cells)
    train = steps * config.cae.batch_size * _STEP
    stages.append(PlannedStage("LLOKI-CAE", 1, train, _BASE_MB + cells * 4 * 600 / 2**20))
    stages.append(
        PlannedStage("map, clusters, report", 1, cells * _VIEW + 10, _BASE_MB + cells * 4 * 1000 / 2**20)
    )
    return Plan(checks, stages)
