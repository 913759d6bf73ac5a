"""The whole method on a set of slices: the one place that knows the order of the stages."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from lloki._device import choose_device
from lloki._progress import Progress, Silent
from lloki.embed import get_embedder
from lloki.errors import ConfigError
from lloki.io import read_reference
from lloki.keys import UNS
from lloki.run.config import RunConfig
from lloki.run.door import ReadAs, check_inputs
from lloki.run.execute import Workers
from lloki.run.inputs import Demands, gather
from lloki.run.outputs import write_outputs
from lloki.run.record import Recorder
from lloki.run.reference import Reference
from lloki.run.result import Result
from lloki.run.store import Store, load_arrays
from lloki.run.work import Work


def integrate(
    slices: Sequence[Any],
    *,
    reference: Any = None,
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

    Everything is checked before any work. A finished piece of work is kept in ``out/work`` under a hash of
    its inputs and parameters: the same call again, after a stop or with one slice more, computes only what is
    missing. (``out/work`` may be removed when a run is finished; it only saves time.)

    Parameters
    ----------
    slices
        Files or AnnData; see :func:`lloki.io.read_slices`.
    reference
        scRNA-seq of like tissue, with counts: file or AnnData. Not needed with
        ``embedder="precomputed:KEY"``, nor with a pretrained embedder and ``fp=False``.
    out
        Folder for the results; made if absent. One run at a time can write to it.
    config
        All parameters at once, in place of ``settings``.
    technology, samples, panels, layers, layer, allow_normalised, slice_key
        How the slices are read; see :func:`lloki.io.read_slices`.
    reference_layer
        Layer of the reference that holds its counts.
    project_only
        Names of slices that are embedded but not trained on; each needs a trained slice of its technology and
        panel.
    skip_bad
        Set slices with an error aside, instead of stopping.
    workers
        Local processes for the per-slice stages. In a script, more than one needs the call to stand under
        ``if __name__ == "__main__":``, since each process imports the script.
    scheduler
        Address of a Dask scheduler for them instead; its workers must see ``out``.
    progress
        Where to report; see :mod:`lloki._progress`.
    settings
        Parameters by name, see :meth:`RunConfig.make`: ``embedder``, ``model``, ``preset``, ``k``, ``alpha``,
        ``epochs``, ``label_key``, ``device``, ``seed``, and ``fp``, ``cae`` for all others. ``fp=False``
        leaves LLOKI-FP out.

    Returns
    -------
    Result

    Raises
    ------
    InputError, GeneError
        If an input cannot be used. Nothing has been computed then.
    ConfigError
        If a parameter is out of its range, parameters contradict each other, or the reference is missing.
    OutputError
        If ``out`` cannot be written, or the disk is full; finished pieces stay.
    RunError
        If another run is at work in ``out``, if no scheduler answers, or if workers die again and again.

    Notes
    -----
    Results do not depend on ``workers``, ``scheduler``, the number of threads or the order of the slices.
    Memory grows with the largest slice in the per-slice stages, then with all cells times the columns of the
    two embeddings (about 1 kB a cell) and all stored counts.
    """
    if config is not None and settings:
        raise ConfigError(f"give config or single settings, not both: {', '.join(settings)}")
    config = config or RunConfig.make(**settings)
    choose_device(config.cae.device)  # says so if it is not there
    places = Workers(workers, scheduler)
    embedder = get_embedder(config.embedder, model=config.model, seed=config.seed)
    aligns = config.aligns(embedder)
    if aligns and reference is None:
        raise ConfigError(
            "a reference is needed: LLOKI-FP takes its sparsity from single-cell data. Give one with "
            "--reference (reference=); only precomputed:KEY, and a pretrained embedder with --no-fp "
            "(fp=False), do without."
        )
    started = time.time()
    read = ReadAs(
        layer, allow_normalised, slice_key, config.label_key, technology, samples, panels, layers, config.k
    )
    with Store(Path(out) / "work") as store, places:
        folder = store.folder.parent
        places.check_sight(store.folder)
        work = Work(store, config, Recorder(), progress or Silent(), places)
        with work.recorder.measure("check", "all slices"):
            given = check_inputs(slices, read=read, skip_bad=skip_bad)
            _trained(given.tokens, project_only, known=(*given.tokens, *given.aside))
            single_cells, demands, messages = None, Demands(embedder=embedder), []
            if aligns:
                single_cells = read_reference(
                    reference, layer=reference_layer, allow_normalised=allow_normalised
                )
                said = single_cells.uns[UNS]
                demands = replace(demands, genes=list(single_cells.var_names), reference_name=said["source"])
                messages = [{"slice": "reference", "text": str(text)} for text in said["messages"]]
            elif reference is not None:
                text = f"{config.embedder} without LLOKI-FP: the reference is not used"
                messages = [{"slice": "reference", "text": text}]
            records, more = gather(given, store, demands=demands, skip_bad=skip_bad)
            tokens = {r.name: r.token for r in records}
            names = _trained(tokens, project_only, known=(*given.tokens, *given.aside))
            trained = [r for r in records if r.name in names]
            ref = Reference.cut(single_cells, trained, records) if single_cells is not None else None
            del single_cells
        features = work.features(records, ref) if ref is not None else {}
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
            messages=[*messages, *more],
            started=started,
        )
    return Result(Path(out))


def _trained(tokens: Mapping[str, str], project_only: Sequence[str], *, known: Sequence[str]) -> list[str]:
    """Names of the slices to train on; every other one must have the technology and panel of one of them.

    Parameters
    ----------
    tokens
        Slice → batch token.
    project_only
        Not to be trained on.
    known
        Names that there are, with those of slices that were set aside.
    """
    only = {project_only} if isinstance(project_only, str) else set(project_only)
    unknown = sorted(only - set(known))
    if unknown:
        raise ConfigError(
            f"project_only names {unknown[0]!r}, which is no slice. They are: {', '.join(known)}."
        )
    trained = [name for name in tokens if name not in only]
    able = {tokens[name] for name in trained}
    for name, token in tokens.items():
        if token not in able:
            raise ConfigError(
                f"slice {name!r} is not trained on, and no trained slice has its technology and panel "
                f"({token}). Train on it, or on another slice like it."
            )
    return trained
