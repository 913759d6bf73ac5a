"""The whole method on a set of slices, from files to a folder of results."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lloki._device import choose_device
from lloki._progress import Progress, chosen
from lloki.embed import get_embedder
from lloki.errors import ConfigError
from lloki.run.call import Call
from lloki.run.config import RunConfig
from lloki.run.door import ReadAs
from lloki.run.execute import Workers
from lloki.run.outputs import write_outputs
from lloki.run.record import Recorder
from lloki.run.result import Result
from lloki.run.stages import align_slices, embed_slices, open_inputs
from lloki.run.store import Store
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
    allow_normalized: bool = False,
    slice_key: str | None = None,
    project_only: Sequence[str] = (),
    skip_bad: bool = False,
    device: str | None = None,
    workers: int = 1,
    scheduler: str | None = None,
    progress: Progress | bool | None = None,
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
    technology, samples, panels, layers, layer, allow_normalized, slice_key
        How the slices are read; see :func:`lloki.io.read_slices`.
    reference_layer
        Layer of the reference that holds its counts.
    project_only
        Names of slices that are embedded but not trained on; each needs a trained slice of its technology and
        panel.
    skip_bad
        Set slices with an error aside, instead of stopping.
    device
        Where the autoencoder and pretrained embedders compute: ``"auto"``, ``"cpu"``, ``"cuda"``,
        ``"mps"``; ``None`` is ``lloki.settings.device``.
    workers
        Local processes for the per-slice stages. In a script, more than one needs the call to stand under
        ``if __name__ == "__main__":``, since each process imports the script.
    scheduler
        Address of a Dask scheduler for them instead; its workers must see ``out``.
    progress
        ``True`` prints a line for every stage, and every 15 s in long ones; or an object to report to, see
        :class:`lloki._progress.Progress`.
    settings
        Parameters by name, see :meth:`RunConfig.make`: ``embedder``, ``model``, ``preset``, ``n_neighbors``,
        ``alpha``, ``epochs``, ``label_key``, ``train_labels``, ``seed``, and ``fp``, ``cae`` for
        all others. ``fp=False`` leaves LLOKI-FP out.

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
    choose_device(device)  # raises if it is not available
    places = Workers(workers, scheduler)
    embedder = get_embedder(config.embedder, model=config.model, seed=config.seed, device=device)
    aligns = config.aligns(embedder)
    if aligns and reference is None:
        raise ConfigError(
            "a reference is needed: LLOKI-FP takes its sparsity from single-cell data. Give one with "
            "--reference (reference=); only precomputed:KEY, and a pretrained embedder with --no-fp "
            "(fp=False), do without."
        )
    started = time.time()
    read = ReadAs(
        layer,
        allow_normalized,
        slice_key,
        config.label_key,
        technology,
        samples,
        panels,
        layers,
        config.n_neighbors,
    )
    call = Call(slices, reference, read, reference_layer, project_only, skip_bad)
    with Store(Path(out) / "work") as store, places:
        places.check_sight(store.folder)
        work = Work(store, config, Recorder(), chosen(progress), places, device)
        opened = open_inputs(work, call, embedder)
        embedded = embed_slices(work, opened, embedder)
        aligned = align_slices(work, opened, embedded)
        joint = np.concatenate([aligned.joint[r.name] for r in opened.slices])
        umap, clusters = work.view(joint, aligned.key, opened.slices)
        write_outputs(work, call, opened, embedded, aligned, umap, clusters, started=started)
    return Result(Path(out))
