"""What a run would do, before it does anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Unpack, get_type_hints

from anndata import AnnData

from lloki._device import choose_device
from lloki._keywords import keywords
from lloki.embed import Embedder, HoldsOut, get_embedder
from lloki.errors import ConfigError
from lloki.io import ReadOptions, SliceCheck
from lloki.run._estimate import Cost, Size, costs, timed
from lloki.run._integrate import NO_REFERENCE
from lloki.run.config import RunConfig, RunKeywords
from lloki.run.inputs import Inputs
from lloki.run.opening import Examined, Opened, examine, opened
from lloki.run.pieces import Pieces, plan_pieces
from lloki.run.store import Piece, Store
from lloki.run.units import Unit


class PlanKeywords(RunKeywords, total=False):
    """Keywords of :func:`lloki.integrate` that decide what a run computes."""

    technology: Mapping[str, str] | None
    samples: Sequence[str] | None
    panels: Sequence[str | None] | None
    layers: Sequence[str | None] | None
    layer: str | None
    reference_layer: str | None
    orthologs: bool
    allow_normalized: bool
    slice_key: str | None
    min_counts: int
    max_control_rate: float | None
    project_only: Sequence[str]
    skip_bad: bool
    device: str | None


@dataclass(frozen=True)
class PlannedStage:
    """One stage: its units of work, how many of them are done already, and the cells that they hold.

    ``seconds`` is the estimated time of those that are not done; NaN where that is not known.
    """

    stage: str
    units: int
    done: int
    cells: int
    seconds: float = float("nan")


@dataclass(frozen=True)
class Checked:
    """Result of checking the inputs, and the stages of the run.

    Attributes
    ----------
    slices
        One per section.
    genes_in_reference
        Slice → how many of its genes the reference has, and of how many.
    errors, warnings
        About the reference, and of the slices with it.
    """

    slices: list[SliceCheck]
    genes_in_reference: dict[str, tuple[int, int]] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing has an error."""
        return not self.errors and all(s.ok for s in self.slices)


@dataclass(frozen=True)
class Plan(Checked):
    """Checked inputs and the stages of a run.

    Attributes
    ----------
    stages
        In their order; none if the run would not start.
    seconds, memory, disk
        Estimate of a run on this machine, as busy as it is now: what is left to compute, and the most bytes
        of memory and of disk. Of a run with a pretrained embedder, without the embedder; with a scheduler, of
        a run without it. It is made from kernels that are timed for some seconds.
    """

    stages: list[PlannedStage] = field(default_factory=list)
    seconds: float = float("nan")
    memory: float = float("nan")
    disk: float = float("nan")


def check_inputs(
    slices: Sequence[str | Path | AnnData] | str | Path | AnnData,
    options: ReadOptions,
    *,
    reference: str | Path | AnnData | None = None,
) -> Checked:
    """Check slices, and whether a reference has their genes; each input is opened once."""
    inputs = Inputs.of(slices, reference, options)
    examined = examine(inputs, Store("work"), embedder=None, aligns=True, copy=False)
    return Checked(*_findings(examined))


@keywords
def plan(
    slices: Sequence[str | Path | AnnData] | str | Path | AnnData,
    *,
    reference: str | Path | AnnData | None = None,
    out: str | Path | None = None,
    **options: Unpack[PlanKeywords],
) -> Plan:
    """Check the inputs and list the stages of a run; nothing is computed or written.

    Parameters
    ----------
    slices, reference
        As for :func:`lloki.integrate`; each is opened once.
    out
        Folder of the run, where finished pieces are looked for; ``None``: nothing is done yet.
    options
        As for :func:`lloki.integrate`.

    Returns
    -------
    Plan

    Raises
    ------
    ConfigError
        As :func:`lloki.integrate` would. Errors of inputs are in the plan.
    """
    made: Any = {name: value for name, value in options.items() if name in get_type_hints(RunKeywords)}
    config, device = RunConfig.make(**made), str(choose_device(options.get("device")))
    read: Any = {name: value for name, value in options.items() if name in ReadOptions.__dataclass_fields__}
    read = ReadOptions(**read | {"n_neighbors": config.n_neighbors})
    embedder = get_embedder(config.embedder, model=config.model, seed=config.seed, device=device)
    aligns = config.aligns(embedder)
    if aligns and reference is None:
        raise ConfigError(NO_REFERENCE)
    inputs = Inputs.of(slices, reference, read, project_only=options.get("project_only", ()))
    store = Store(Path(out or "").expanduser() / "work")
    examined = examine(inputs, store, embedder=embedder, aligns=aligns, copy=False)
    found = _findings(examined)
    stopped = examined.reading.errors and not read.skip_bad
    if stopped or examined.errors or examined.reading.fatal or not examined.reading.records:
        return Plan(*found)
    run = opened(examined, inputs, config, aligns=aligns)
    pieces = plan_pieces(store, config, run, embedder, device=device)
    expected = _costs(run, config, embedder)
    stages = _stages(
        pieces,
        sum(r.cells for r in run.slices),
        looked_for=out is not None,
        umap=config.umap,
        expected=expected,
    )
    others = [cost for name, cost in expected.items() if name not in {s.stage for s in stages}]
    known = [s.seconds for s in stages if s.seconds == s.seconds]
    return Plan(
        *found,
        stages=stages,
        seconds=sum(known) + sum(cost.seconds for cost in others),
        memory=max(cost.memory for cost in expected.values()),
        disk=sum(cost.disk for cost in expected.values()),
    )


def _costs(run: Opened, config: RunConfig, embedder: Embedder) -> dict[str, Cost]:
    """Estimate what each stage takes on this machine."""
    columns, fp = embedder.dim, config.features(embedder)
    propagation = config.propagation(embedder)
    return costs(
        [Size(r.cells, len(r.genes), r.stored, r.token) for r in run.slices],
        timed(config.cae, columns),
        cae=config.cae,
        columns=columns,
        expression=fp if config.aligns(embedder) and fp.alpha else None,
        latent=propagation is not None and isinstance(embedder, HoldsOut),
        umap=config.umap,
        joint=embedder.joint,
    )


def _findings(
    examined: Examined,
) -> tuple[list[SliceCheck], dict[str, tuple[int, int]], list[str], list[str]]:
    reading = examined.reading
    checks = [SliceCheck.of(section) for section in reading.sections]
    genes, warnings = {}, []
    for r in reading.records:
        if r.coverage is not None:
            genes[r.name] = (len(r.coverage.used), len(r.coverage.used) + len(r.coverage.dropped))
            if r.coverage.diagnosis:
                warnings.append(f"{r.name}: {r.coverage.diagnosis}. {r.coverage.hint}".strip())
    return checks, genes, [str(error) for error in examined.errors], warnings


def _stages(
    pieces: Pieces, cells: int, *, looked_for: bool, umap: bool, expected: Mapping[str, Cost]
) -> list[PlannedStage]:
    def stage(name: str, units: Sequence[Unit | Piece]) -> PlannedStage:
        found = [u.piece if isinstance(u, Unit) else u for u in units]
        done, seconds = sum(looked_for and p.done for p in found), expected[name].seconds
        return PlannedStage(name, len(found), done, cells, seconds * (1 - done / max(len(found), 1)))

    stages = [
        stage("LLOKI-FP", list(pieces.features.values())),
        stage("embedding", [*pieces.summaries.values(), pieces.fit, *pieces.embedding.values()]),
        stage("LLOKI-CAE", [pieces.training]),
        stage("UMAP and clusters" if umap else "clusters", [pieces.view]),
    ]
    return [s for s in stages if s.units]
