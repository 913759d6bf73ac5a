"""Reliability of label transfer: accuracy, coverage, calibration, and detection of unknown cells.

    python benchmarks/transfer.py RUN [RUN ...] [--labels cell_type] [--reference FILE] [--figures FOLDER]

RUN is a folder of `lloki integrate`. Prints two Markdown tables. First, the labels of one slice at a time are
hidden and transferred from the other slices; with --reference, from labeled single cells
(`lloki.project_reference`) and from both as well: accuracy and macro-F1 of the most likely type, accuracy
among cells whose type is present in the source (possible), share of cells that got a label (coverage) and
accuracy among them (kept), expected calibration error (ECE) of the confidence on the hidden slice, and the
predicted ECE of the result. Second, each type in turn is removed from the source as well: the share of its
cells that are unknown, the same when the type is known, and the share of the other cells; how well the
novelty score alone, and with the confidence, separates cells of the missing type from others (AUROC); and the
type they are most often mistaken for.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path

import anndata as ad
import numpy as np
from sklearn.metrics import f1_score, roc_auc_score

import lloki
from lloki.analysis import LabelTransfer, expected_error, reliability, transfer_labels

FEWEST = 30  # cells of a type in the hidden slice, for the test of unknown


def hidden(
    x: np.ndarray, labels: np.ndarray, slices: np.ndarray, name: str, without: str = ""
) -> LabelTransfer:
    seen = np.where((slices == name) | (labels == without), "", labels)
    keep = (slices == name) | (seen != "") | (labels == "")
    found = transfer_labels(x[keep], seen[keep], slices[keep])
    return found, np.flatnonzero(keep)


def column_of(adata: ad.AnnData, key: str) -> np.ndarray:
    column = adata.obs[key]
    return np.where(column.isna(), "", column.astype(str)).astype(str)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--labels", default="cell_type")
    parser.add_argument("--reference", type=Path)
    parser.add_argument("--figures", type=Path)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    first, second = [], []
    for run in options.runs:
        task = run.parent.name if run.name == "run" else run.name
        adata = ad.read_h5ad(run / "integrated.h5ad")
        x, labels = np.asarray(adata.obsm["X_lloki"]), column_of(adata, options.labels)
        slices = adata.obs["slice"].astype(str).to_numpy()
        given = [("slices", x, labels, slices)]
        if options.reference:
            single = lloki.project_reference(options.reference, run=run)
            cells = np.concatenate([x, single.obsm["X_lloki"]])
            names = np.append(slices, np.full(single.n_obs, "reference"))
            known = column_of(single, options.labels)
            given.append(("reference", cells, np.append(np.full(len(x), ""), known), names))
            given.append(("both", cells, np.append(labels, known), names))
        for name in np.unique(slices[labels != ""]):
            for source, cells, seen, names in given:
                found, rows = hidden(cells, seen, names, name)
                asked = np.isin(rows, np.flatnonzero((slices == name) & (labels != "")))
                truth, best, assigned = labels[rows[asked]], found.best[asked], found.labels[asked]
                right, kept = best == truth, assigned != "unknown"
                curve = reliability(found.confidence[asked], right)
                f1 = f1_score(truth, best, average="macro", labels=np.unique(truth))
                possible = right[np.isin(truth, found.types)].mean()
                scores = (right.mean(), f1, possible, kept.mean(), right[kept].mean())
                first.append(
                    (task, name, source, found.left_out, *scores, expected_error(curve), found.error)
                )
                print(f"{task}: {name} done", file=sys.stderr, flush=True)
                if options.figures and source == "slices":
                    draw(found, curve, truth, assigned, options.figures / f"{task}-{name}")
        name = np.unique(slices[labels != ""])[0]
        known, rows = hidden(x, labels, slices, name)
        base = {
            t: known.labels[(slices[rows] == name) & (labels[rows] == t)] == "unknown" for t in known.types
        }
        for kind in known.types:
            if len(base[kind]) < FEWEST:
                continue
            found, rows = hidden(x, labels, slices, name, without=kind)
            asked = (slices[rows] == name) & (labels[rows] != "")
            new = labels[rows][asked] == kind
            score = roc_auc_score(new, -np.log(found.novelty[asked]))
            both = roc_auc_score(new, -np.log(found.novelty[asked]) - np.log(found.confidence[asked] + 1e-3))
            assigned = found.labels[asked]
            wrong = found.best[asked][new]
            kinds, counts = np.unique(wrong, return_counts=True)
            unknown = (
                (assigned[new] == "unknown").mean(),
                base[kind].mean(),
                (assigned[~new] == "unknown").mean(),
            )
            mistaken = kinds[counts.argmax()]
            second.append((task, kind, str(new.sum()), *unknown, score, both, mistaken))
    heads = (
        "task",
        "hidden slice",
        "labels from",
        "left out",
        "accuracy",
        "macro-F1",
        "possible",
        "coverage",
    )
    show((*heads, "accuracy kept", "ECE", "predicted ECE"), first, digits=3)
    heads = ("task", "type removed", "cells", "unknown", "unknown if not removed", "others unknown", "AUROC")
    show((*heads, "with confidence", "mistaken for"), second, digits=2)


def show(heads: tuple[str, ...], rows: list[tuple], *, digits: int) -> None:
    print(f"| {' | '.join(heads)} |\n{'|---' * len(heads)}|")
    for row in rows:
        print(f"| {' | '.join(v if isinstance(v, str) else f'{v:.{digits}f}' for v in row)} |")
    print(flush=True)


def draw(found: LabelTransfer, curve: object, truth: np.ndarray, assigned: np.ndarray, stem: Path) -> None:
    stem.parent.mkdir(parents=True, exist_ok=True)
    lloki.pl.reliability(curve, save=f"{stem}-reliability.png")
    lloki.pl.confusion(truth, assigned, save=f"{stem}-confusion.png")


if __name__ == "__main__":
    main()
