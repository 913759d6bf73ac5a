"""Cost of fitting the batch token of a slice after training instead of including the slice.

    python benchmarks/fit_token.py TASK SLICE OUT [--labels cell_type] [--seeds N] [--steps N]

TASK holds slices and reference.h5ad. Trains on all slices; trains on all but SLICE (a name of a file, without
.h5ad) and projects it with ``fit_token=True``; compares. OUT keeps the runs: finished runs are reused. Prints
a Markdown table:

- *mixing* of `lloki.evaluate` over all slices, and of the cells of SLICE; their *preservation*;
- *transfer*: share of them that are correctly labeled from the other slices by 15 nearest neighbors, if SLICE
  has labels;
- *markers*: how well their expression is predicted from the other slices: correlation of a gene's value in a
  cell with its mean in the cell's 15 nearest cells of another slice, the mean over genes that both measure;
- *agreement*: share of them that are assigned the same label as in the first row; to be compared with that of
  another seed;
- *changed*: largest difference of any value of the other slices' embedding.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import anndata as ad
import numpy as np
from scipy import sparse

import lloki
from lloki.evaluate import mixing, preservation
from lloki.evaluate.transfer import nearest_label
from lloki.graph import cosine_neighbors

CELLS = 2_000  # of each slice, for the figures


def log_normalized(x: sparse.csr_matrix) -> sparse.csr_matrix:
    total = np.maximum(np.asarray(x.sum(1)).ravel(), 1)
    return sparse.csr_matrix(sparse.diags_array(100 / total) @ x).log1p()


def unit(x: np.ndarray) -> np.ndarray:
    return (x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)).astype(np.float32)


def markers(joint: ad.AnnData, own: np.ndarray, k: int = 15) -> float:
    """Correlation of a slice's expression with that of its nearest cells in the other slices."""
    slices = joint.obs["slice"].astype(str).to_numpy()
    names, measured = list(joint.uns["lloki"]["slices"]), np.asarray(joint.varm["lloki_measured"])
    target = str(slices[own][0])
    x, z, found = log_normalized(joint.X), unit(joint.obsm["X_lloki"]), []
    for name in names:
        if name == target:
            continue
        genes = np.flatnonzero(measured[:, names.index(name)] & measured[:, names.index(target)])
        rows = np.flatnonzero(slices == name)
        near = np.argpartition(-(z[own] @ z[rows].T), k, axis=1)[:, :k]
        expected = x[rows][:, genes].toarray()[near].mean(1)
        true = x[own][:, genes].toarray()
        spread = (expected.std(0) > 0) & (true.std(0) > 0)
        pairs = zip(expected[:, spread].T, true[:, spread].T)
        found += [np.corrcoef(a, b)[0, 1] for a, b in pairs]
    return float(np.mean(found))


def labeled(joint: ad.AnnData, rows: np.ndarray, own: np.ndarray, label_key: str) -> tuple[np.ndarray, float]:
    """Labels that the other slices give to a slice's cells, and how many are right (NaN without labels)."""
    column = joint.obs[label_key]
    labels = np.where(column.isna(), "", column.astype(str))[rows]
    z, given = unit(joint.obsm["X_lloki"][rows]), ~own & (labels != "")
    kinds = np.unique(labels[given])
    found = kinds[nearest_label(z[own], z[given], np.searchsorted(kinds, labels[given]), n_neighbors=15)]
    known = np.isin(labels[own], kinds)
    return found, float((found == labels[own])[known].mean()) if known.any() else float("nan")


def figures(joint: ad.AnnData, target: str, label_key: str) -> tuple[np.ndarray, list[float]]:
    slices = joint.obs["slice"].astype(str).to_numpy()
    tokens = joint.obs["lloki_token"].astype(str).to_numpy()
    rng = np.random.default_rng(0)
    rows = [np.flatnonzero(slices == s) for s in np.unique(slices)]
    rows = np.sort(np.concatenate([rng.permutation(r)[:CELLS] for r in rows]))
    z, x, own = joint.obsm["X_lloki"][rows], joint.obsm["X_lloki_fp"][rows], slices[rows] == target
    near = cosine_neighbors(z, 15)
    foreign = (tokens[rows][near] != tokens[rows][:, None]).mean(1)[own].mean()
    labels, right = labeled(joint, rows, own, label_key)
    kept = preservation(x[own], z[own], slices[rows][own])
    mixed = mixing(z, tokens[rows]), foreign / (1 - own.mean())
    return labels, [*mixed, kept, right, markers(joint, rows[own])]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("task", type=Path)
    parser.add_argument("slice")
    parser.add_argument("out", type=Path)
    parser.add_argument("--labels", default="cell_type")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--steps", type=int)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    files = sorted(f for f in options.task.glob("*.h5ad") if f.stem != "reference")
    rest = [f for f in files if f.stem != options.slice]
    print(
        "| seed | slice is | mixing | its mixing | preservation | transfer | markers | agreement | changed |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    first = None
    for seed in range(options.seeds):
        how = {
            "reference": options.task / "reference.h5ad",
            "seed": seed,
            "cae": {"steps": options.steps} if options.steps else {},
        }
        folder = options.out / f"{options.task.name}-{options.slice}-{seed}"
        whole = lloki.integrate(files, out=folder / "all", **how).adata
        part = lloki.integrate(rest, out=folder / "part", **how).adata
        target = options.task / f"{options.slice}.h5ad"
        new = lloki.project(target, run=folder / "part", out=folder / "new", fit_token=True)
        fitted = lloki.project(rest, run=folder / "new" / "fitted-model", out=folder / "old")
        change = np.abs(fitted[part.obs_names].obsm["X_lloki"] - part.obsm["X_lloki"]).max()
        both = ad.concat([part, new], join="outer", fill_value=0)
        both = both[whole.obs_names].copy()
        both.X, both.varm["lloki_measured"] = whole.X, whole.varm["lloki_measured"]
        both.uns["lloki"] = whole.uns["lloki"]
        for name, joint, changed in (
            ("trained with", whole, ""),
            ("fitted afterward", both, f"{change:.1g}"),
        ):
            labels, values = figures(joint, options.slice, options.labels)
            first = labels if first is None else first
            cells = " | ".join(f"{value:.3f}" for value in (*values, (labels == first).mean()))
            print(f"| {seed} | {name} | {cells} | {changed} |", flush=True)


if __name__ == "__main__":
    main()
