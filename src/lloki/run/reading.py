"""Inputs as units: each is opened once, checked and copied into the store, here or on a worker."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from anndata import AnnData

from lloki.embed import Embedder, Precomputed
from lloki.errors import InputError, RunError
from lloki.io import ReadOptions
from lloki.io.sections import Section, read_sections
from lloki.io.sources import Slices, Source
from lloki.run.execute import Workers
from lloki.run.record import StageRecord
from lloki.run.slices import SliceRecord, take_slice
from lloki.run.store import Store

Seen = tuple[str, int, int]


@dataclass(frozen=True, kw_only=True)
class ReadUnit:
    """One input.

    Attributes
    ----------
    number
        Its place among the inputs.
    source, options
        What to read, and how.
    store
        Folder of the store.
    copy
        Without, nothing is written.
    seen
        Where it lies, its size and its time, as the process that calls lloki sees it; ``None`` in memory.
    """

    number: int
    source: Source
    options: ReadOptions
    store: Path
    copy: bool
    seen: Seen | None


@dataclass
class Taken:
    """What one input gave.

    Attributes
    ----------
    number
        Its place among the inputs.
    sections
        With their findings, without their AnnData.
    slices
        One a section: its record, ``None`` where the input has an error, or what the slice lacks.
    stages, notes, made
        What was copied, and what was noted about that.
    """

    number: int
    sections: list[Section]
    slices: list[SliceRecord | InputError | None] = field(default_factory=list)
    stages: list[StageRecord] = field(default_factory=list)
    notes: list[tuple[str, str]] = field(default_factory=list)
    made: list[Path] = field(default_factory=list)


def read_inputs(
    slices: Slices,
    options: ReadOptions,
    store: Store,
    *,
    embedder: Embedder | None,
    workers: Workers | None,
    copy: bool,
) -> Iterator[Taken]:
    """Read all inputs, in their order; one is in memory at a time, in each process.

    Inputs in memory, those with a precomputed embedding, and those that a worker does not see as this
    process does, are read here.
    """
    units = [
        ReadUnit(number=i, source=source, options=options, store=store.folder, copy=copy, seen=_seen(source))
        for i, source in enumerate(options.sources(slices))
    ]
    here, taken = partial(take_input, embedder=embedder), dict[int, Taken]()
    if workers is not None and not workers.here and copy and not isinstance(embedder, Precomputed):
        there: Sequence[ReadUnit] = [u for u in units if u.seen is not None]
        for found in workers.run(take_seen_input, there):
            if found is not None:
                for path in found.made:
                    workers.require_result(path)
                taken[found.number] = found
    for unit in units:
        found = taken.pop(unit.number, None) or here(unit)
        store.adopt(found.stages, found.notes, found.made)
        yield found


def take_seen_input(unit: ReadUnit) -> Taken | None:
    """Read an input on a worker; ``None`` if it is not there, or not the same."""
    if _seen(unit.source) != unit.seen:
        return None
    try:
        return take_input(unit)
    except MemoryError as error:
        raise RunError(
            f"{unit.source.where}: the memory of a worker is too small to read it. Give workers more, or "
            "cut the file into sections (--slice-key)."
        ) from error


def take_input(unit: ReadUnit, *, embedder: Embedder | None = None) -> Taken:
    """Read one input, check it, and copy its slices into the store."""
    store = Store(unit.store)
    found = Taken(unit.number, read_sections(unit.source, unit.options, strict=False))
    errors = any(section.findings.errors for section in found.sections)
    for section in found.sections:
        if errors or section.adata is None:  # an input with an invalid section is skipped as a whole
            found.slices.append(None)
        else:
            try:
                found.slices.append(
                    take_slice(section.adata, section.name, store, embedder=embedder, copy=unit.copy)
                )
            except InputError as error:
                found.slices.append(error)
        section.adata = None  # before the next input is opened
    found.stages, found.notes, found.made = store.recorder.stages, store.recorder.notes, store.made
    return found


def _seen(source: Source) -> Seen | None:
    """Where an input lies, and its size and time: the same file to another process."""
    if isinstance(source.data, AnnData):
        return None
    path = os.path.abspath(source.data)  # by the working directory of the process
    try:
        about = os.stat(path)
    except OSError:
        return path, -1, -1
    return path, about.st_size, about.st_mtime_ns
