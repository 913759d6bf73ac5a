"""The whole method on a set of slices, from files to a folder of results."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from anndata import AnnData

from lloki._device import choose_device
from lloki._keywords import keywords
from lloki._progress import Progress, chosen
from lloki.cae.config import CAEConfig, CAEOptions
from lloki.embed import get_embedder
from lloki.errors import ConfigError, LlokiWarning
from lloki.fp.config import FPConfig, FPOptions
from lloki.io import ReadOptions
from lloki.run.config import RunConfig
from lloki.run.execute import Workers
from lloki.run.inputs import Inputs
from lloki.run.opening import open_inputs
from lloki.run.outputs import write_outputs
from lloki.run.result import Result
from lloki.run.stages import Stages
from lloki.run.store import Store

NO_REFERENCE = (
    "a reference is needed: it links the panels, and LLOKI-FP takes its sparsity from it. Give --reference "
    "(reference=); only precomputed:KEY, and a pretrained embedder with --no-fp (fp=False), do without."
)


@keywords
def integrate(
    slices: Sequence[str | Path | AnnData] | str | Path | AnnData,
    *,
    reference: str | Path | AnnData | None = None,
    out: str | Path,
    technology: Mapping[str, str] | None = None,
    samples: Sequence[str] | None = None,
    panels: Sequence[str | None] | None = None,
    layers: Sequence[str | None] | None = None,
    layer: str | None = None,
    reference_layer: str | None = None,
    orthologs: bool = False,
    allow_normalized: bool = False,
    slice_key: str | None = None,
    min_counts: int = 0,
    max_control_rate: float | None = None,
    label_key: str | None = None,
    embedder: str = "factor",
    model: str | Path | None = None,
    preset: str = "default",
    fp: FPConfig | FPOptions | Literal[False] | None = None,
    cae: CAEConfig | CAEOptions | None = None,
    n_neighbors: int | None = None,
    alpha: float | None = None,
    latent_alpha: float | None = None,
    epochs: int | None = None,
    train_labels: str | None = None,
    train_label_slices: Sequence[str] = (),
    project_only: Sequence[str] = (),
    benchmark: Literal["fast", "full", "none"] = "fast",
    resolution: float = 1.0,
    umap: bool = True,
    seed: int = 0,
    skip_bad: bool = False,
    device: str | None = None,
    workers: int = 1,
    scheduler: str | None = None,
    progress: Progress | bool | None = None,
) -> Result:
    """Bring slices of any platforms and panels into one batch-free embedding.

    All inputs are checked first. Finished pieces are kept in ``out/work`` under a hash of their inputs and
    parameters: re-running resumes; adding slices is incremental. (``out/work`` may be removed
    after a run; it only saves time.)

    Parameters
    ----------
    slices
        Files, instruments' output folders or AnnData, one or several; see :func:`lloki.io.read_slices`. Each
        is opened once.
    reference
        scRNA-seq of matched tissue, with raw counts: file or AnnData. Not needed with
        ``embedder="precomputed:KEY"``, nor with a pretrained embedder and ``fp=False``.
    out
        Folder for the results, created if absent. Only one run at a time can write to it.
    technology, samples, panels, layers, layer, allow_normalized, slice_key, min_counts, max_control_rate
        How the slices are read; see :func:`lloki.io.read_slices`.
    reference_layer
        Layer of the reference that holds its counts.
    orthologs
        Match a reference of the other of mouse and human by one-to-one orthologs
        (:func:`lloki.genes.orthologs`); its other genes are left out.
    label_key
        ``obs`` column of cell types: shown and scored, not used to integrate.
    embedder
        ``"factor"``; ``"scgpt"`` or ``"geneformer"``, with ``model``; ``"precomputed:KEY"``, an ``obsm`` key
        of the slices; or the name of an installed embedder.
    model
        Checkpoint folder of a pretrained embedder.
    preset
        Parameters of LLOKI-FP: ``"default"``, ``"paper"`` or ``"published-code"``.
    fp
        Fields of :class:`lloki.fp.FPConfig` that differ from the preset, or a complete configuration.
        ``False`` skips LLOKI-FP: a pretrained embedder then reads raw counts.
    cae
        Fields of :class:`lloki.cae.CAEConfig` that differ from the defaults, or a complete configuration.
    n_neighbors, alpha
        Number of neighbors in the propagation of expression, and their share in denoising. Default: by the
        preset. An embedder that learns from the slices has expression averaged with neighbors, and nothing
        imputed, unless ``impute`` is set in ``fp`` or by the preset.
    latent_alpha
        Share of near cells of its kind that each cell's embedding is blended with, from 0 to 1. Default:
        chosen for each slice by held-out genes (:class:`lloki.fp.FPConfig`).
    epochs
        Number of epochs of LLOKI-CAE's training, instead of a fixed number of steps.
    train_labels, train_label_slices
        ``obs`` column of cell types that training may see, and the slices whose labels it may see (default:
        all that have the column). Default: training sees no labels.
    project_only
        Names of slices that are embedded but not trained on; each needs a trained slice of its technology and
        panel.
    benchmark
        Metrics that score the run by ``label_key``: ``"fast"``, ``"full"`` (minutes) or ``"none"``; see
        :func:`lloki.evaluate.scib`.
    resolution
        Leiden resolution.
    umap
        Whether to compute the UMAP, which nothing else needs: the slowest step after propagation on many
        cells, on one thread.
    seed
        Random seed. A complete `FPConfig` or `CAEConfig` has its own.
    skip_bad
        Skip invalid slices.
    device
        Torch device: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``; ``None`` is ``lloki.settings.device``.
    workers
        Number of local processes for the per-slice stages. With more than one, a script must call this under
        ``if __name__ == "__main__":``, since each process imports the script.
    scheduler
        Address of a Dask scheduler to use instead; its workers must have access to ``out``.
    progress
        ``True`` shows the progress of every stage; or an object to report to, see
        :class:`lloki._progress.Progress`. ``None`` is ``lloki.settings.progress``.

    Returns
    -------
    Result

    Raises
    ------
    InputError, GeneError
        If an input cannot be used, with all errors of all inputs, before any computation.
    ConfigError
        If a parameter is unknown or out of its range, parameters contradict each other, or the reference is
        missing.
    OutputError
        If ``out`` cannot be written, or the disk is full; finished pieces stay.
    RunError
        If another run is writing to ``out``, no scheduler answers, or workers die repeatedly.

    Notes
    -----
    Results do not depend on ``workers``, ``scheduler``, the number of threads or the order of the slices.
    Memory grows with the largest slice in the per-slice stages, then with all cells times the columns of the
    two embeddings (about 1 kB a cell).
    """
    config = RunConfig.make(
        embedder=embedder,
        model=model,
        preset=preset,
        fp=fp,
        cae=cae,
        n_neighbors=n_neighbors,
        alpha=alpha,
        latent_alpha=latent_alpha,
        epochs=epochs,
        label_key=label_key,
        train_labels=train_labels,
        train_label_slices=train_label_slices,
        benchmark=benchmark,
        resolution=resolution,
        umap=umap,
        seed=seed,
    )
    options = ReadOptions(
        layer=layer,
        allow_normalized=allow_normalized,
        slice_key=slice_key,
        min_counts=min_counts,
        max_control_rate=max_control_rate,
        label_key=label_key,
        technology=technology,
        samples=samples,
        panels=panels,
        layers=layers,
        n_neighbors=config.n_neighbors,
        reference_layer=reference_layer,
        orthologs=orthologs,
        skip_bad=skip_bad,
    )
    device = str(choose_device(device))  # fails before any work if it is not available
    places = Workers(workers, scheduler)
    made = get_embedder(config.embedder, model=config.model, seed=config.seed, device=device)
    if config.aligns(made) and reference is None:
        raise ConfigError(NO_REFERENCE)
    if idle := config.without_effect(made):
        text = f"{', '.join(idle)} has no effect: {config.embedder} has expression averaged, not imputed"
        warnings.warn(f"{text}. Set impute in fp as well, or leave it out.", LlokiWarning, stacklevel=3)
    started = time.perf_counter()
    inputs = Inputs.of(slices, reference, options, project_only=project_only)
    with Store((folder := Path(out).expanduser()) / "work") as store, places:
        places.check_sight(store.folder)
        stages = Stages(store, config, chosen(progress), places, device)
        with store.recorder.measure("check", "all inputs"):
            opened = open_inputs(inputs, store, config, made, workers=places)
        pieces = stages.plan(opened, made)
        embedded = stages.embed(opened, made, pieces)
        aligned = stages.align(opened, embedded, pieces.training)
        aligned, seen = stages.settle(opened, embedded, aligned, pieces)
        write_outputs(stages, inputs, opened, embedded, aligned, seen, started=started)
    return Result(folder)
