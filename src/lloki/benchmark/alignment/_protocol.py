"""Methods of slice alignment beside each other, with ever fewer genes in common: the paper's protocol."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy import sparse

from lloki import keys
from lloki._missing import text_labels
from lloki._progress import Progress, chosen
from lloki.align import align
from lloki.benchmark.alignment._paste import paste
from lloki.benchmark.alignment.trial import (
    FEWEST_SHARED,
    Measured,
    Placed,
    Trial,
    draw_trial,
    joint_embedding,
    nearest_kabsch,
    shared_pca,
)
from lloki.errors import ConfigError, InputError
from lloki.io import atomic, iter_slices, read_reference
from lloki.pl._measures import SIZE, alignment_measures
from lloki.run.inputs import Inputs
from lloki.run.store import Store, hash_of_files

OVERLAPS = tuple(i / 10 for i in range(10, -1, -1))  # of the paper: 10 % steps
MEASURES = ("degrees", "displacement", "distance", "correlation", "agreement")


def benchmark_alignment(
    run: str | Path,
    *,
    out: str | Path,
    fixed: str | None = None,
    moving: str | None = None,
    label_key: str | None = None,
    overlaps: Sequence[float] = OVERLAPS,
    replicates: int = 5,
    paste_python: str | None = None,
    seed: int = 0,
    progress: Progress | bool | None = None,
) -> pd.DataFrame:
    """Align two slices of a run whose places are known, with ever fewer genes in common.

    For every overlap and replicate, other genes are taken away and the moving slice is turned and shifted at
    random. Methods: ``lloki``; ``kabsch``, mutual nearest neighbors and Kabsch in the same embedding;
    ``pca``, the same in a PCA of the shared genes; ``paste``; and ``truth``, the frame as given. Embeddings
    are those of the factor model alone, so that 55 trials take minutes.

    Parameters
    ----------
    run
        Folder of `lloki.integrate`: says where the slices and the reference are. Positions of the two slices
        must lie in one frame.
    out
        Folder for ``alignment.csv`` and the figure ``alignment``; finished trials are kept in its ``work``.
    fixed, moving
        Names of the slices; default the first two.
    label_key
        ``obs`` column of cell types; default that of the run. Without one, that measure is empty.
    overlaps
        Fractions of the common genes that stay common.
    replicates
        Of every overlap.
    paste_python
        Python of an environment with PASTE; see `lloki.benchmark.alignment._paste`. The best of its
        alphas counts, by the truth, as in the paper.
    seed
        Random seed of the first replicate.
    progress
        Where to report; ``True`` prints lines.

    Returns
    -------
    pandas.DataFrame
        A row an overlap, replicate and method: the pose's error, and the paper's three measures.

    Raises
    ------
    InputError
        If the folder holds no run, or there is no such slice or column.
    ConfigError
        If the run's inputs are gone, ``replicates`` is below 1, or PASTE does not run.
    """
    if replicates < 1:
        raise ConfigError(f"replicates must be at least 1, got {replicates}")
    folder = Path(run).expanduser()
    if not (folder / "run.json").exists():
        raise InputError(
            "is no run of lloki integrate", where=str(folder), hint="Give the folder that it wrote."
        )
    record = json.loads((folder / "run.json").read_text())
    if "inputs" not in record:
        raise ConfigError(f"{folder}: does not say what it was called with. Run lloki integrate again.")
    given = Inputs.from_dict(record["inputs"])
    if given.reference is None:
        raise ConfigError(f"{folder}: was made without a reference, which alignment trials need")
    names = _names([s["name"] for s in record["slices"]], fixed, moving)
    placed = _read(given, names, label_key or (record.get("parameters") or {}).get("label_key"))
    cells = read_reference(
        given.reference,
        layer=given.options.reference_layer,
        allow_normalized=given.options.allow_normalized,
    )
    reference = _measured(cells)
    plan = [(r, o) for r in range(seed, seed + replicates) for o in overlaps]
    advance = chosen(progress).task("Aligning", len(plan), "trials")
    rows: list[dict[str, Any]] = []
    with Store(Path(out).expanduser() / "work") as store:
        inputs = (
            [s["hash"] for s in record["slices"]],
            names,
            label_key,
            hash_of_files(str(given.reference)),
        )
        for replicate, overlap in plan:

            def make(path: Path, replicate: int = replicate, overlap: float = overlap) -> None:
                trial = draw_trial(*placed, overlap=overlap, seed=replicate * 1000 + round(overlap * 100))
                path.write_text(json.dumps(list(_methods(trial, reference, paste_python, replicate))))

            piece = store.piece(
                *("trials", f"{overlap}-{replicate}", *inputs, bool(paste_python), overlap, replicate),
                ending=".json",
            )
            kept = store.cached(piece, make)
            about = {"overlap": overlap, "replicate": replicate}
            rows += [about | row for row in json.loads(kept.read_text())]
            advance(1)
        table = pd.DataFrame(rows)
        _write(store.folder.parent, table)
    return table


def summarize(table: pd.DataFrame) -> pd.DataFrame:
    """Means of each overlap and method over the replicates, with the worst rotation."""
    groups = table.groupby(["overlap", "method"], sort=False)
    out = groups[list(MEASURES)].mean()
    out.insert(1, "worst", groups["degrees"].max())
    return out.reset_index()


def _names(known: list[str], fixed: str | None, moving: str | None) -> tuple[str, str]:
    for name in (fixed, moving):
        if name is not None and name not in known:
            raise InputError(f"there is no slice {name!r}", hint=f"There are: {', '.join(known)}.")
    first = fixed or next((n for n in known if n != moving), None)
    second = moving or next((n for n in known if n != first), None)
    if first is None or second is None or first == second:
        raise ConfigError("alignment needs two slices")
    return first, second


def _read(given: Inputs, names: tuple[str, str], label_key: str | None) -> tuple[Placed, Placed]:
    found: dict[str, Placed] = {}
    for adata in iter_slices(given.slices, given.options):
        name = str(adata.obs[keys.SLICE].iloc[0])
        if name not in names:
            continue
        if label_key is not None and label_key not in adata.obs:
            raise InputError("the column is absent", where=name, slot=f"obs[{label_key!r}]")
        column = adata.obs[label_key] if label_key is not None else pd.Series("", index=adata.obs_names)
        labels = text_labels(column, unknown=True)
        xy = np.asarray(adata.obsm[keys.SPATIAL], np.float64)[:, :2]
        found[name] = Placed(_measured(adata), xy, labels)
    return found[names[0]], found[names[1]]


def _measured(adata: Any) -> Measured:
    return Measured(sparse.csr_matrix(adata.X), tuple(map(str, adata.var_names)))


def _methods(
    trial: Trial, reference: Measured, paste_python: str | None, seed: int
) -> Iterator[dict[str, Any]]:
    x = joint_embedding(trial.panels, reference)
    fixed, moving = trial.positions
    result = align(x[0], fixed, x[1], moving, shared_genes=len(trial.shared))
    yield {"method": "lloki", "verdict": result.verdict.word} | trial.score(result.transform)
    yield {"method": "kabsch"} | trial.score(nearest_kabsch(x, trial.positions))
    if len(trial.shared) >= FEWEST_SHARED:
        yield {"method": "pca"} | trial.score(nearest_kabsch(shared_pca(trial), trial.positions))
        if paste_python:
            runs = [{"alpha": a} | trial.score(t) for a, t in paste(paste_python, trial, seed=seed)]
            yield {"method": "paste"} | min(runs, key=lambda row: row["distance"])
    yield {"method": "truth"} | trial.score(trial.put.inverse())


def _write(folder: Path, table: pd.DataFrame) -> None:
    with atomic(folder / "alignment.csv") as temporary:
        table.to_csv(temporary, index=False)
    figure = Figure(figsize=SIZE, facecolor="white", layout="constrained")
    alignment_measures(figure, table)
    for kind in ("png", "svg", "pdf"):
        with atomic(folder / f"alignment.{kind}") as temporary:
            figure.savefig(temporary, format=kind, dpi=200)
