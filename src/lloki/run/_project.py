"""New slices through a finished run: nothing is trained, the old slices' embeddings do not change."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData

from lloki import keys
from lloki._device import choose_device
from lloki._keywords import keywords
from lloki._progress import Progress, chosen
from lloki._sums import require_whole, seal
from lloki._version import __version__
from lloki.cae import CAEModel
from lloki.cae.model import WEIGHTS
from lloki.embed import load_embedder
from lloki.errors import ConfigError, ModelError, UnknownTokenError
from lloki.io import ReadOptions, atomic
from lloki.io.messages import rank_of
from lloki.run._assemble import assemble
from lloki.run._write import write_h5ad
from lloki.run.config import RunConfig
from lloki.run.execute import Workers
from lloki.run.opening import read_slices_once
from lloki.run.outputs import REFERENCE, discard, quality_control
from lloki.run.record import Recorder, versions
from lloki.run.reference import Reference
from lloki.run.slices import Demands, Message, SliceRecord
from lloki.run.stages import Stages
from lloki.run.store import Store, hash_of_files


@keywords
def project(
    slices: Sequence[str | Path | AnnData] | str | Path | AnnData,
    *,
    run: str | Path,
    out: str | Path | None = None,
    technology: Mapping[str, str] | None = None,
    samples: Sequence[str] | None = None,
    panels: Sequence[str | None] | None = None,
    layers: Sequence[str | None] | None = None,
    layer: str | None = None,
    allow_normalized: bool = False,
    slice_key: str | None = None,
    min_counts: int = 0,
    max_control_rate: float | None = None,
    label_key: str | None = None,
    fit_token: bool = False,
    skip_bad: bool = False,
    device: str | None = None,
    workers: int = 1,
    scheduler: str | None = None,
    progress: Progress | bool | None = None,
) -> AnnData:
    """Embed new slices with a finished run's model. The run's own embedding does not change.

    Parameters
    ----------
    slices
        One or several files or AnnData. Each is opened once.
    run
        Folder of a finished run (or its ``model`` folder).
    out
        Folder for ``projected.h5ad``, ``qc.csv`` and ``run.json``, not the run's own; ``None`` writes
        nothing. If tokens were fitted, it also holds ``fitted-model``, which can be given as ``run``.
    technology, samples, panels, layers, layer, allow_normalized, slice_key, label_key
        How the slices are read; see :func:`lloki.integrate`.
    min_counts, max_control_rate
        Which cells are left out; see :func:`lloki.io.read_slices`.
    fit_token
        For slices whose technology and panel the run was not trained with: fit their batch token; the rest
        of the model is unchanged (:func:`lloki.cae.fit_token`). By default such slices are an error, so that
        the embedding of a slice does not depend on what else is projected.
    skip_bad, device, workers, scheduler, progress
        As for :func:`lloki.integrate`.

    Returns
    -------
    AnnData
        The new slices' cells, with ``obsm["X_lloki"]`` in the space of the run.

    Raises
    ------
    ModelError
        If there is no finished run, or it cannot be read.
    UnknownTokenError
        If the run was not trained with a slice's technology and panel and ``fit_token`` is not set; before
        any work.
    ConfigError, InputError, GeneError, OutputError, RunError
        As for :func:`lloki.integrate`.
    """
    device = str(choose_device(device))  # fails before any work if it is not available
    places = Workers(workers, scheduler)
    started, folder = time.perf_counter(), model_folder(Path(run).expanduser())
    out = None if out is None else Path(out).expanduser()
    check_place(out, folder)
    facts = read_facts(folder)
    config = RunConfig.from_dict(facts["config"])
    model = CAEModel.load(folder, device=device)
    embedder = load_embedder(folder / "embedder", device=device)
    ref = Reference.load(folder / REFERENCE) if config.aligns(embedder) else None
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
        skip_bad=skip_bad,
    )
    demands = Demands(embedder, ref.genes if ref else None, "the run's reference")
    with ExitStack() as stack:
        place = stack.enter_context(tempfile.TemporaryDirectory()) if out is None else out
        store = stack.enter_context(Store(Path(place) / "work"))
        stack.enter_context(places).check_sight(store.folder)
        recorder = store.recorder
        stages = Stages(store, config, chosen(progress), places, device)
        with recorder.measure("check", "all inputs"), store.provisional():
            reading = read_slices_once(slices, options, store, demands=demands, workers=places)
            records = reading.usable(skip_bad=skip_bad)
            for r in records:
                _check_token(r.name, r.token, model, fit=fit_token)
        known = [r for r in records if r.token in model.tokens]
        messages = reading.messages() + _other_genes(known, facts["panels"])
        new = [r for r in records if r.token not in model.tokens]
        embedded = stages.embed_by(records, ref, embedder, folder / "embedder", facts["embedder_key"])
        rows, weights, key = embedded.rows, folder, hash_of_files(str(folder / WEIGHTS))
        for token in sorted({r.token for r in new}):
            own = {r.name: rows[r.name] for r in new if r.token == token}
            model, weights, key = stages.fit_token(model, key, token, own, embedded.units)
        messages += [
            {"slice": r.name, "text": f"the token {r.token} was fitted to the run's model"} for r in new
        ]
        named = {r.name for r in new}  # fitted slices have a part of their own, where slices have any
        joint = stages.encode(records, embedded, weights, key, model.output, own=named)
        adata = assemble(
            records,
            fp=rows,
            joint=joint,
            facts={
                "version": __version__,
                "parameters": json.dumps(config.to_dict()),
                "run": str(run),
                "messages": [f"{m['slice']}: {m['text']}" for m in messages],
            },
        )
        if model.output == "inputs":
            latent = stages.encode(records, embedded, weights, key, "latent", own=named)
            adata.obsm[keys.LATENT] = np.concatenate([latent[r.name] for r in records])
        if out is not None:
            record = {
                "lloki": __version__,
                "versions": versions(),
                "run": str(run),
                "parameters": config.to_dict(),
                "device": device,
                "messages": [{**m, "rank": rank_of(m["slice"], m["text"])} for m in messages],
            }
            features = {name: unit.path for name, unit in embedded.features.items()}
            found = {name: unit.path for name, unit in embedded.units.items()}
            table, _ = quality_control(records, features, found, embedder, config)
            place = store.folder.parent
            if new:
                _save_fitted(place / "fitted-model", folder, model, facts, new)
            _write(place, adata, table, record, recorder, started)
    return adata


def _write(
    folder: Path,
    adata: AnnData,
    qc: pd.DataFrame,
    record: dict[str, Any],
    recorder: Recorder,
    started: float,
) -> None:
    discard(folder / "run.json")
    with recorder.measure("write", "projected.h5ad"):
        write_h5ad(folder / "projected.h5ad", adata)
        with atomic(folder / "qc.csv") as temporary:
            qc.to_csv(temporary, index=False)
    record |= {"stages": recorder.as_list(), "seconds": round(time.perf_counter() - started, 1)}
    with atomic(folder / "run.json") as temporary:
        temporary.write_text(json.dumps(record, indent=1, default=str))


def _save_fitted(
    place: Path, run: Path, model: CAEModel, facts: dict[str, Any], new: Sequence[SliceRecord]
) -> None:
    """Copy the run's model folder, with the tokens that were fitted."""
    panels = facts["panels"] | {r.token: list(r.genes) for r in new}
    with atomic(place) as temporary:
        shutil.copytree(run, temporary)
        model.save(temporary)
        (temporary / "run.json").write_text(json.dumps(facts | {"panels": panels}, indent=1))
        seal(temporary, place)


def model_folder(run: Path) -> Path:
    """Find the folder with the model of a finished run.

    Raises
    ------
    ModelError
        If there is none, or a file of it is damaged.
    """
    for folder in (run / "model", run):
        if (folder / "run.json").is_file() and (folder / "embedder").is_dir():
            require_whole(folder)
            return folder
    raise ModelError(f"{run}: holds no finished run. Give the folder that lloki integrate wrote (--out).")


def read_facts(folder: Path) -> dict[str, Any]:
    """Read the record of a model folder: parameters of its run, and panels by token.

    Raises
    ------
    ModelError
        If it cannot be read, or lacks something.
    """
    try:
        facts: dict[str, Any] = json.loads((folder / "run.json").read_text())
        missing = {"config", "panels", "embedder_key"} - set(facts)
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{folder / 'run.json'}: cannot be read ({error}). Run lloki integrate again."
        ) from error
    if missing:
        raise ModelError(f"{folder / 'run.json'}: lacks {sorted(missing)[0]!r}. Run lloki integrate again.")
    return facts


def check_place(out: str | Path | None, model: Path) -> None:
    """Results of a projection must not take the place of the run's own tables."""
    if out is not None and any((Path(out) / name).exists() for name in ("integrated.h5ad", "model")):
        raise ConfigError(f"{out}: holds the results of a run. Choose another place with --out (out=).")
    if out is not None and Path(out).resolve() == model.resolve():
        raise ConfigError(f"{out}: is the model itself. Choose another place with --out (out=).")


def _check_token(name: str, token: str, model: CAEModel, *, fit: bool) -> None:
    if token in model.tokens:
        return
    if not fit:
        raise UnknownTokenError(
            f"{name}: the run was not trained with its technology and panel ({token}). Trained with: "
            f"{', '.join(model.tokens)}. If it is one of these under another name, give that one with "
            "--technology (technology=) or the panel's name (panels=); otherwise fit the new one with "
            "--fit-token (fit_token=True), or run lloki integrate with this slice among the others."
        )
    if name in model.conditions.slices:
        raise ConfigError(
            f"{name}: a slice of this name, of another technology or panel, was trained with. Give the new "
            "one another name (samples=, or the column sample of a samplesheet)."
        )


def _other_genes(records: Sequence[SliceRecord], panels: Mapping[str, Sequence[str]]) -> list[Message]:
    """Report where a panel's name is known but its genes differ."""
    messages = []
    for r in records:
        known, own = set(panels[r.token]), set(r.genes)
        if known != own:
            text = (
                f"genes differ from those that {r.token} was trained with: {len(known - own)} fewer, "
                f"{len(own - known)} more"
            )
            messages.append({"slice": r.name, "text": text})
    return messages
