"""What a run leaves in its folder; every file whole or not there."""

from __future__ import annotations

import json
import math
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lloki import keys
from lloki._sums import seal
from lloki._version import __version__
from lloki.cae import CAEModel, warnings_of
from lloki.embed import Embedder, load_embedder, settings_of
from lloki.errors import OutputError
from lloki.evaluate import quality
from lloki.evaluate.verdict import fits_reference, judge
from lloki.io import atomic
from lloki.io.messages import rank_of
from lloki.io.quality import CONTROL_COUNTS, overall_control_rate
from lloki.report import build_report
from lloki.report.figures import of_cells, write_figures
from lloki.run._assemble import assemble, counts_of_slices
from lloki.run._write import counts_of, write_h5ad
from lloki.run.config import RunConfig
from lloki.run.inputs import Inputs
from lloki.run.opening import Opened
from lloki.run.record import versions
from lloki.run.reference import Reference
from lloki.run.reference_types import nearest_types
from lloki.run.scores import labels_of, own_scores
from lloki.run.slices import SliceRecord
from lloki.run.stages import Aligned, Embedded, Seen, Stages
from lloki.run.store import load_arrays
from lloki.run.verdict import evidence

REFERENCE = "reference.npz"  # of the folder "model"
TABLES = ("qc.csv", "quality.csv", "held_out.csv", "benchmark.csv")
_OF_FEATURES = (  # not the expression
    *("sparsity_before", "targets", "sparsity_after"),
    *("w1_reference", "w1_before", "w1_after", "iterations"),
)


def write_outputs(
    stages: Stages,
    inputs: Inputs,
    opened: Opened,
    embedded: Embedded,
    aligned: Aligned,
    seen: Seen,
    *,
    started: float,
) -> None:
    """Write model, tables, joint AnnData, report and, last, ``run.json``, the mark of a finished run."""
    folder, config, recorder = stages.store.folder.parent, stages.config, stages.store.recorder
    model, reference = aligned.model, opened.reference
    umap, clusters, held_out = seen.umap, seen.clusters, seen.held_out
    slices, trained = opened.slices, [s.name for s in opened.trained]
    of_training = [*warnings_of(model.history), *([model.caution] if model.caution else [])]
    messages = [*opened.messages, *({"slice": "training", "text": t} for t in of_training)]
    if held_out.message:
        messages.append({"slice": "held-out genes", "text": held_out.message})
    messages += [{"slice": name, "text": text} for name, text in recorder.notes]
    discard(folder / "run.json")
    with recorder.measure("write", "model and tables"):
        save_model(
            *(folder / "model", model, embedded.embedder, embedded.embedder_key),
            config=config,
            reference=reference,
            slices=slices,
            trained=trained,
        )
        features = {name: unit.path for name, unit in embedded.features.items()}
        embedder = load_embedder(embedded.embedder)
        rows = {name: unit.path for name, unit in embedded.units.items()}
        qc, sparsity = quality_control(slices, features, rows, embedder, config)
        facts = {
            "version": __version__,
            "parameters": json.dumps(config.to_dict()),
            "seed": config.seed,
            "hashes": json.dumps({s.name: s.hash for s in slices}),
            "messages": [f"{m['slice']}: {m['text']}" for m in messages],
            "better_embedding": held_out.better,
            "joint_space": model.output,
        }
        adata = assemble(slices, fp=embedded.rows, joint=aligned.joint, facts=facts, counts=False)
        if seen.latent is not None:
            adata.obsm[keys.LATENT] = np.concatenate([seen.latent[s.name] for s in slices])
        if umap is not None:
            adata.obsm[keys.UMAP] = umap
        every = np.concatenate([clusters[s.name] for s in slices])
        names = [str(i) for i in range(int(every.max(initial=0)) + 1)]
        adata.obs[keys.CLUSTER] = pd.Categorical(every.astype(str), categories=names)
    labels = labels_of(adata, config.label_key)
    with recorder.measure("write", "quality figures"):
        figures = quality(
            adata.obsm[keys.FP],
            adata.obsm[keys.JOINT],
            slices=adata.obs[keys.SLICE].astype(str).to_numpy(),
            tokens=adata.obs[keys.TOKEN].astype(str).to_numpy(),
            labels=labels,
            seed=config.seed,
        )
        last = figures.iloc[-1].drop(["embedding", "cells"]).dropna()
        metrics = {str(name): value for name, value in last.items()}
    with recorder.measure("write", "verdict"):
        ends = np.cumsum([s.cells for s in slices])[:-1]
        found = evidence(
            opened.trained,
            reference,
            held_out,
            clusters,
            embedded.rows,
            aligned.joint,
            None if labels is None else dict(zip((s.name for s in slices), np.split(labels, ends))),
            metrics,
            seed=config.seed,
        )
        verdict = judge(found)
        unlike = found.slices["slice"][~fits_reference(found.slices)]
        adata.uns[keys.UNS][keys.UNLIKE_REFERENCE] = list(map(str, unlike))  # alignment asks
    with recorder.measure("write", "reference types"):
        fitted = load_embedder(embedded.embedder)
        types = nearest_types(reference, fitted, embedded.rows, clusters, seed=config.seed)
        if types is not None:
            adata.uns[keys.UNS][keys.NEAREST_TYPES] = types
    # of an earlier run: if this one is cut short, they must not describe it
    for name in (*TABLES, "report.html"):
        discard(folder / name)
    with recorder.measure("write", "integrated.h5ad"):
        most = sum(s.piece.path.stat().st_size for s in slices)
        write_h5ad(folder / "integrated.h5ad", adata, counts_of_slices(slices, adata.var_names), size=most)
    with recorder.measure("write", "benchmark"), counts_of(folder / "integrated.h5ad", adata):
        scores, about = own_scores(adata, config)
        unseen = None if held_out.why else held_out.table
        for name, table in zip(TABLES, (qc, figures, unseen, scores)):
            if table is not None:
                with atomic(folder / name) as temporary:
                    table.to_csv(temporary, index=False)
    run = {
        "lloki": __version__,
        "versions": versions(),
        "inputs": inputs.to_dict(),
        "device": stages.device,
        "parameters": config.to_dict(),
        "seed": config.seed,
        "slices": [
            {
                "name": s.name,
                "source": s.info.get("source", ""),
                "hash": s.hash,
                "token": s.token,
                "cells": s.cells,
            }
            | {"trained": s.name in trained}
            for s in slices
        ],
        "reference": {"hash": reference.hash, "cells": reference.counts.shape[0]} if reference else None,
        "embedder": {"name": embedder.name, "dim": embedder.dim, "settings": settings_of(embedder)},
        "messages": [{**m, "rank": rank_of(m["slice"], m["text"])} for m in messages],
        "verdict": verdict.to_dict(),
        "metrics": metrics,
        "benchmark": about,
        "held_out": held_out.to_dict(),
        "partnered": {t: None if math.isnan(share) else share for t, share in model.partnered.items()},
    }
    with recorder.measure("write", "report.html"), counts_of(folder / "integrated.h5ad", adata):
        build_report(
            adata,
            qc=qc,
            losses=pd.DataFrame(model.history),
            run=run | {"stages": recorder.as_list()},
            sparsity=sparsity,
            scores=scores,
            label_key=config.label_key,
            out=folder,
        )
    with recorder.measure("write", "figures"):
        write_figures(folder, of_cells(adata, config.label_key))
    run |= {"stages": recorder.as_list(), "seconds": round(time.perf_counter() - started, 1)}
    with atomic(folder / "run.json") as temporary:
        temporary.write_text(json.dumps(run, indent=1, default=str))


def save_model(
    folder: Path,
    model: CAEModel,
    embedder_folder: Path,
    embedder_key: str,
    *,
    config: RunConfig,
    reference: Reference | None,
    slices: Sequence[SliceRecord],
    trained: Sequence[str],
) -> None:
    """Write the folder that `lloki.project` reads."""
    with atomic(folder) as temporary:
        temporary.mkdir()
        model.save(temporary)
        shutil.copytree(embedder_folder, temporary / "embedder", copy_function=_link)
        if reference is not None:
            reference.save(temporary / REFERENCE)
        panels = {s.token: list(s.genes) for s in slices if s.name in trained}
        facts = {
            "lloki": __version__,
            "config": config.to_dict(),
            "panels": panels,
            "embedder_key": embedder_key,
        }
        (temporary / "run.json").write_text(json.dumps(facts, indent=1))
        seal(temporary, folder)


def _link(source: str, target: str) -> None:
    """Give a file a second name, since weights may be large and are never changed; else copy it."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def quality_control(
    slices: Sequence[SliceRecord],
    features: Mapping[str, Path],
    embedding: Mapping[str, Path],
    embedder: Embedder,
    config: RunConfig,
) -> tuple[pd.DataFrame, dict[str, dict[str, NDArray[np.float64]]]]:
    """One row a slice, and each cell's sparsity before, as aimed for, and after, where LLOKI-FP changed it.

    Genes are used or dropped by the embedder; how many the reference has matters to sparsity targets alone.
    """
    table, sparsity = [], {}
    for s in slices:
        obs = s.obs
        row: dict[str, Any] = {
            "slice": s.name,
            "technology": str(obs[keys.TECHNOLOGY].iloc[0]),
            "panel": str(obs[keys.PANEL].iloc[0]),
            "cells": s.cells,
            "cells_flagged": int((obs[keys.FLAG] != "").sum()),
            "genes": len(s.genes),
        }
        if CONTROL_COUNTS in obs:
            row |= {
                "control_rate": overall_control_rate(
                    load_arrays(s.piece.path, only=("counts",))["counts"], s.obs
                )
            }
        covered = embedder.coverage(s.genes)
        row |= {"genes_used": len(covered.used), "genes_dropped": len(covered.dropped)}
        if s.coverage is not None:
            row |= {"genes_in_reference": len(s.coverage.used)}
        if s.name in features and not config.features(embedder).imputes:
            before = load_arrays(features[s.name], only=("sparsity_before",))["sparsity_before"]
            row |= {"sparsity_before": float(before.mean())}
        elif s.name in features:
            fp = load_arrays(features[s.name], only=_OF_FEATURES)
            sparsity[s.name] = {
                "before": fp["sparsity_before"],
                "target": fp["targets"],
                "after": fp["sparsity_after"],
            }
            row |= {f"sparsity_{name}": float(values.mean()) for name, values in sparsity[s.name].items()}
            row |= {name: float(fp[name]) for name in ("w1_reference", "w1_before", "w1_after")}
            row |= {"fp_iterations": int(fp["iterations"])}
        found = load_arrays(embedding[s.name], only=("latent_alpha",))
        if "latent_alpha" in found:
            row |= {"latent_alpha": float(found["latent_alpha"])}
        table.append(row)
    return pd.DataFrame(table), sparsity


def discard(path: Path) -> None:
    """Remove a file that is out of date.

    Raises
    ------
    OutputError
        If that is not allowed.
    """
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be replaced ({error}). Choose another place with --out (out=)."
        ) from error
