"""The whole method on a set of slices: the one place that knows the order of the stages."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lloki._progress import Progress, Silent
from lloki.embed import Precomputed, get_embedder
from lloki.errors import ConfigError
from lloki.run.config import RunConfig
from lloki.run.inputs import ReadAs, SliceRecord, gather
from lloki.run.outputs import write_outputs
from lloki.run.record import Recorder
from lloki.run.reference import Reference
from lloki.run.result import Result
from lloki.run.store import Store, load_arrays
from lloki.run.work import Work


def integrate(
    slices: Sequence[Any],
    *,
    reference: Any,
    out: str | Path,
    config: RunConfig | None = None,
    technology: Mapping[str, str] | None = None,
    samples: Sequence[str] | None = None,
    panels: Sequence[str | None] | None = None,
    layers: Sequence[str | None] | None = None,
    layer: str | None = None,
    reference_layer: str | None = None,
    allow_normalised: bool = False,
    slice_key: str | None = None,
    project_only: Sequence[str] = (),
    skip_bad: bool = False,
    workers: int = 1,
    scheduler: str | None = None,
    progress: Progress | None = None,
    **settings: Any,
) -> Result:
    """Bring slices of any platforms and panels into one batch-free embedding.

    Every slice is checked before any work. A finished piece of work is kept in ``out/work`` under a hash of its
    inputs and parameters: the same call again, after a stop or with one slice more, computes only what is missing.

    Parameters
    ----------
    slices
        Files or AnnData; see :func:`lloki.io.read_slices`.
    reference
        scRNA-seq of like tissue, with counts: file or AnnData.
    out
        Folder for the results; made if absent.
    config
        All parameters at once, in place of ``settings``.
    technology, samples, panels, layers, layer, allow_normalised, slice_key
        How the slices are read; see :func:`lloki.io.read_slices`.
    reference_layer
        Layer of the reference that holds its counts.
    project_only
        Names of slices that are embedded but not trained on; each needs a trained slice of its technology and panel.
    skip_bad
        Set slices with an error aside, instead of stopping.
    workers
        Local processes for the per-slice stages.
    scheduler
        Address of a Dask scheduler for them instead; its workers must see ``out``.
    progress
        Where to report; see :mod:`lloki._progress`.
    settings
        Parameters by name, see :meth:`RunConfig.make`: ``embedder``, ``model``, ``preset``, ``k``, ``alpha``,
        ``epochs``, ``label_key``, ``device``, ``seed``, and ``fp``, ``cae`` for all others.

    Returns
    -------
    Result

    Raises
    ------
    InputError, GeneError
        If an input cannot be used. Nothing but the folder has been made then.
    ConfigError
        If a parameter is out of its range.
    OutputError
        If ``out`` cannot be written.
    """
    if config is not None and settings:
        raise ConfigError(f"give config or single settings, not both: {', '.join(settings)}")
    config = config or RunConfig.make(**settings)
    if workers < 1:
        raise ConfigError(f"workers must be at least 1, got {workers}")
    embedder = get_embedder(config.embedder, model=config.model, seed=config.seed)
    started, folder = time.time(), Path(out)
    read = ReadAs(
        layer, allow_normalised, slice_key, config.label_key, technology, samples, panels, layers, config.fp.k
    )
    work = Work(Store(folder / "work"), config, Recorder(), progress or Silent(), workers, scheduler)
    with work.recorder.measure("check", "all slices"):
        taken = embedder if isinstance(embedder, Precomputed) else None
        records, messages = gather(slices, work.store, read=read, skip_bad=skip_bad, embedding=taken)
        trained = _trained(records, project_only)
        ref = Reference.read(
            reference, trained, records, layer=reference_layer, allow_normalised=allow_normalised
        )
        messages += ref.messages
    features = work.features(records, ref) if embedder.uses_expression else {}
    fitted, fit_key = work.fit(embedder, trained, features, ref)
    embeddings = work.embed(records, features, fitted, fit_key)
    rows = {name: load_arrays(unit.path)["rows"] for name, unit in embeddings.items()}
    model, model_key = work.align(trained, rows, embeddings)
    with work.recorder.measure("encode", "all slices"):
        joint = {r.name: model.encode(rows[r.name], r.token) for r in records}
    umap, clusters = work.view(np.concatenate([joint[r.name] for r in records]), model_key, records)
    write_outputs(
        folder,
        config=config,
        slices=records,
        trained=[r.name for r in trained],
        features={name: unit.path for name, unit in features.items()},
        rows=rows,
        joint=joint,
        umap=umap,
        clusters=clusters,
        model=model,
        embedder_folder=fitted,
        reference=ref,
        recorder=work.recorder,
        messages=messages,
        started=started,
    )
    return Result(folder)


def _trained(records: Sequence[SliceRecord], project_only: Sequence[str]) -> list[SliceRecord]:
    names = [r.name for r in records]
    unknown = [name for name in project_only if name not in names]
    if unknown:
        raise ConfigError(
            f"project_only names {unknown[0]!r}, which is no slice. They are: {', '.join(names)}."
        )
    trained = [r for r in records if r.name not in set(project_only)]
    tokens = {r.token for r in trained}
    for r in records:
        if r.token not in tokens:
            raise ConfigError(
                f"slice {r.name!r} is not trained on, and no trained slice has its technology and panel "
                f"({r.token}). Train on it, or on another slice like it."
            )
    return trained
