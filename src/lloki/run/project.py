"""New slices through a finished run: nothing is trained, the old slices' embeddings do not change."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from anndata import AnnData

from lloki._progress import Progress, Silent
from lloki._version import __version__
from lloki.cae import CAEModel
from lloki.embed import Precomputed, load_embedder
from lloki.errors import ModelError, UnknownTokenError
from lloki.genes import match_reference
from lloki.io import atomic
from lloki.run.assemble import assemble
from lloki.run.config import RunConfig
from lloki.run.inputs import ReadAs, SliceRecord, gather
from lloki.run.outputs import quality_control
from lloki.run.record import Recorder, versions
from lloki.run.reference import Reference
from lloki.run.store import Store, load_arrays
from lloki.run.work import Work


def project(
    slices: Any,
    *,
    run: str | Path,
    out: str | Path | None = None,
    technology: Mapping[str, str] | None = None,
    samples: Sequence[str] | None = None,
    panels: Sequence[str | None] | None = None,
    layers: Sequence[str | None] | None = None,
    layer: str | None = None,
    allow_normalised: bool = False,
    slice_key: str | None = None,
    label_key: str | None = None,
    skip_bad: bool = False,
    workers: int = 1,
    scheduler: str | None = None,
    progress: Progress | None = None,
) -> AnnData:
    """Embed new slices of known technologies and panels with a finished run's model. Nothing is trained.

    Parameters
    ----------
    slices
        One or several files or AnnData.
    run
        Folder of a finished run (or its ``model`` folder).
    out
        Folder for ``projected.h5ad``, ``qc.csv`` and ``run.json``; ``None`` writes nothing.
    technology, samples, panels, layers, layer, allow_normalised, slice_key, label_key, skip_bad
        How the slices are read; see :func:`lloki.integrate`.
    workers, scheduler, progress
        As for :func:`lloki.integrate`.

    Returns
    -------
    AnnData
        The new slices' cells, with ``obsm["X_lloki"]`` in the space of the run.

    Raises
    ------
    ModelError
        If there is no finished run.
    UnknownTokenError
        If the run was not trained with a slice's technology and panel; before any work.
    InputError, GeneError, OutputError
        As for :func:`lloki.integrate`.
    """
    started, folder = time.time(), _model_folder(Path(run))
    facts = json.loads((folder / "run.json").read_text())
    config = RunConfig.from_dict(facts["config"])
    model, embedder = CAEModel.load(folder), load_embedder(folder / "embedder")
    ref = Reference.load(folder / "reference.npz")
    with ExitStack() as stack:
        base = Path(out) if out is not None else Path(stack.enter_context(tempfile.TemporaryDirectory()))
        recorder = Recorder()
        work = Work(Store(base / "work"), config, recorder, progress or Silent(), workers, scheduler)
        read = ReadAs(
            layer, allow_normalised, slice_key, label_key, technology, samples, panels, layers, config.fp.k
        )
        taken = embedder if isinstance(embedder, Precomputed) else None
        records, messages = gather(slices, work.store, read=read, skip_bad=skip_bad, embedding=taken)
        messages += _fits(records, model, facts["panels"])
        for r in records:
            found = match_reference(r.genes, ref.genes, where=r.name, reference_name="the run's reference")
            ref.covered[r.name] = (len(found.used), len(found.dropped))
        features = work.features(records, ref) if embedder.uses_expression else {}
        units = work.embed(records, features, folder / "embedder", facts["embedder_key"])
        rows = {name: load_arrays(unit.path)["rows"] for name, unit in units.items()}
        with recorder.measure("encode", "all slices"):
            joint = {r.name: model.encode(rows[r.name], r.token) for r in records}
        said = {
            "version": __version__,
            "parameters": json.dumps(config.to_dict()),
            "run": str(run),
            "messages": [f"{m['slice']}: {m['text']}" for m in messages],
        }
        adata = assemble(records, fp=rows, joint=joint, facts=said)
        if out is not None:
            table, _ = quality_control(records, {n: u.path for n, u in features.items()}, ref)
            with atomic(base / "projected.h5ad") as temporary:
                adata.write_h5ad(temporary)
            with atomic(base / "qc.csv") as temporary:
                table.to_csv(temporary, index=False)
            record = {
                "lloki": __version__,
                "versions": versions(),
                "run": str(run),
                "parameters": config.to_dict(),
                "messages": messages,
                "stages": recorder.as_list(),
                "seconds": round(time.time() - started, 1),
            }
            with atomic(base / "run.json") as temporary:
                temporary.write_text(json.dumps(record, indent=1, default=str))
    return adata


def _model_folder(run: Path) -> Path:
    for folder in (run / "model", run):
        if (folder / "run.json").is_file() and (folder / "embedder").is_dir():
            return folder
    raise ModelError(f"{run}: holds no finished run. Give the folder that lloki integrate wrote (--out).")


def _fits(
    records: Sequence[SliceRecord], model: CAEModel, panels: Mapping[str, Sequence[str]]
) -> list[dict[str, str]]:
    """Every slice has a known batch token; genes that differ from its panel's are said."""
    messages = []
    for r in records:
        if r.token not in model.tokens:
            raise UnknownTokenError(
                f"{r.name}: the run was not trained with its technology and panel ({r.token}). Trained with: "
                f"{', '.join(model.tokens)}. If it is one of these under another name, say so with --technology "
                "(technology=) or the panel's name; otherwise run lloki integrate with this slice among the others."
            )
        known, own = set(panels[r.token]), set(r.genes)
        if known != own:
            text = f"genes differ from those that {r.token} was trained with: {len(known - own)} fewer, {len(own - known)} more"
            messages.append({"slice": r.name, "text": text})
    return messages
