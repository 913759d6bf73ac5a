"""Reliability of label transfer: accuracy, coverage, calibration, detection of unknown cells, vocabularies.

    python benchmarks/transfer.py RUN [RUN ...] [--labels cell_type] [--reference FILE] [--no-unknown]

RUN is a folder of `lloki integrate`. Prints Markdown tables. First, the labels of one slice at a time are
hidden and transferred from the other slices; with --reference, from labeled single cells
(`lloki.project_reference`) and from both as well: the head that was used, accuracy and macro-F1 of its most
likely type and, to compare, of neighbors alone and of logistic regression on pairwise shared genes alone;
share of cells that got a label (coverage) and accuracy among them (kept), expected calibration error (ECE) of
the confidence on the hidden slice, the same for cells of types that the source has, and the predicted ECE of
the result. Second, each type in turn is removed
from the source as well: the share of its cells that are unknown, and of other cells, with neighbors alone,
and with the head that is used where both thresholds are scaled until as many of the other cells are unknown.
Third, with --reference, one slice's types are renamed: without a map, with the suggested one, and as if names
agreed.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path

import anndata as ad
import numpy as np
from sklearn.metrics import f1_score

import lloki
from lloki.analysis import LabelTransfer, expected_error, reliability
from lloki.errors import VocabularyError

FEWEST = 30  # cells of a type in the hidden slice, for the test of unknown
THRESHOLD, NOVELTY = 0.5, 0.01  # the defaults


def transferred(
    adata: ad.AnnData, hidden: str, reference: ad.AnnData | None = None, **options: object
) -> tuple[LabelTransfer, ad.AnnData]:
    """Hide the labels in ``obs["known"]`` of a slice, and transfer the others'."""
    copy = adata.copy()
    copy.obs["known"] = copy.obs["known"].where(copy.obs["slice"] != hidden)
    found = lloki.tl.transfer_labels(copy, label_key="known", reference=reference, **options)
    return found, copy[(adata.obs["slice"] == hidden).to_numpy() & (adata.obs["truth"] != "").to_numpy()]


def right(cells: ad.AnnData) -> np.ndarray:
    return cells.obs["lloki_label_best"].astype(str).to_numpy() == cells.obs["truth"].to_numpy()


def scores(cells: ad.AnnData) -> tuple[float, float]:
    truth, best = cells.obs["truth"], cells.obs["lloki_label_best"].astype(str)
    f1 = f1_score(truth, best, average="macro", labels=np.unique(truth), zero_division=0)
    return right(cells).mean(), f1


def unknown(cells: ad.AnnData, scale: float) -> np.ndarray:
    confidence, novelty = (cells.obs[f"lloki_label_{c}"].to_numpy() for c in ("confidence", "novelty"))
    return (confidence < THRESHOLD * scale) | (novelty < NOVELTY * scale)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--labels", default="cell_type")
    parser.add_argument("--reference", type=Path)
    parser.add_argument("--no-unknown", action="store_true")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    first, second, third = [], [], []
    for run in options.runs:
        task = run.parent.name if run.name == "run" else run.name
        adata = ad.read_h5ad(run / "integrated.h5ad")
        column = adata.obs[options.labels]
        adata.obs["truth"] = np.where(column.isna(), "", column.astype(str))
        adata.obs["known"] = column.astype(object)
        slices = adata.obs["slice"].astype(str)
        labeled = [str(s) for s in np.unique(slices[adata.obs["truth"] != ""])]
        single = None
        if options.reference:
            single = lloki.project_reference(options.reference, run=run)
            single.obs["known"] = single.obs[options.labels].astype(object)
        for name in labeled:
            given = {"slices": (adata, None)}
            if single is not None:
                bare = adata.copy()
                bare.obs["known"] = bare.obs["known"].where(bare.obs["slice"] == "")
                given |= {"reference": (bare, single), "both": (adata, single)}
            for source, (cells, reference) in given.items():
                found, hidden = transferred(cells, name, reference)
                others = [
                    scores(transferred(cells, name, reference, method=m)[1]) for m in ("neighbors", "genes")
                ]
                sure, correct = hidden.obs["lloki_label_confidence"].to_numpy(), right(hidden)
                kept = (hidden.obs["lloki_label"] != "unknown").to_numpy()
                known = hidden.obs["truth"].isin(found.types).to_numpy()  # the source names the type
                error = (expected_error(reliability(sure[of], correct[of])) for of in (slice(None), known))
                row = (
                    *scores(hidden),
                    *others[0],
                    *others[1],
                    kept.mean(),
                    correct[kept].mean(),
                    *error,
                    found.error,
                )
                first.append((task, name, source, found.method, *row))
                print(first[-1], file=sys.stderr, flush=True)
            if not options.no_unknown:
                second += removed(task, adata, name)
            if single is not None and len(labeled) > 1:
                third.append((task, name, *renamed(adata, name, single)))
    heads = (
        "task",
        "hidden slice",
        "labels from",
        "head",
        "accuracy",
        "macro-F1",
        "neighbors",
        "macro-F1",
        "genes",
    )
    show(
        (*heads, "macro-F1", "coverage", "accuracy kept", "ECE", "of known types", "predicted ECE"),
        first,
        digits=3,
    )
    heads = ("task", "hidden slice", "type removed", "cells", "others unknown", "unknown by neighbors")
    show((*heads, "unknown", "mistaken for"), second, digits=2)
    if third:
        show(("task", "hidden slice", "names agree", "suggested map", "without a map"), third, digits=3)


def removed(task: str, adata: ad.AnnData, name: str) -> list[tuple]:
    """Remove one type at a time from the sources, and look for it in the hidden slice."""
    rows, own = [], adata.obs["slice"] == name
    for kind in np.unique(adata.obs["truth"][own & (adata.obs["truth"] != "")]):
        rest = adata[(own | (adata.obs["truth"] != kind)).to_numpy()]
        if (adata.obs["truth"][own] == kind).sum() < FEWEST or len(rest) == len(adata):
            continue
        _, old = transferred(rest, name, method="neighbors")
        _, cells = transferred(rest, name)
        new = (cells.obs["truth"] == kind).to_numpy()
        before = unknown(old, 1.0)
        scales = np.linspace(0, 4, 801)
        others = np.array([unknown(cells, s)[~new].mean() for s in scales])
        scale = scales[np.flatnonzero(others <= before[~new].mean())[-1]]
        wrong = cells.obs["lloki_label_best"][new].astype(str).value_counts().index[0]
        found = unknown(cells, scale)[new].mean()
        rows.append((task, name, kind, str(new.sum()), before[~new].mean(), before[new].mean(), found, wrong))
        print(rows[-1], file=sys.stderr, flush=True)
    return rows


def renamed(adata: ad.AnnData, name: str, single: ad.AnnData) -> tuple[float, float, str]:
    """Name the types of all other slices differently from the reference."""
    agree = scores(transferred(adata, name, single)[1])[0]
    other = adata.copy()
    kinds = sorted(set(adata.obs["truth"]) - {""})
    names = {kind: f"type {(7 * i) % len(kinds)}" for i, kind in enumerate(kinds)}
    other.obs["known"] = other.obs["known"].map(names)
    try:
        transferred(other, name, single)
    except VocabularyError as error:
        table = error.suggested
        _, cells = transferred(other, name, single, label_map=table)
        # a type that the reference lacks keeps the name that it has in the slices
        back = {v: k for k, v in names.items()}
        best = cells.obs["lloki_label_best"].astype(str).replace(back)
        return agree, float((best == cells.obs["truth"]).mean()), "rejected"
    return agree, float("nan"), "mixed"


def show(heads: tuple[str, ...], rows: list[tuple], *, digits: int) -> None:
    print(f"| {' | '.join(heads)} |\n{'|---' * len(heads)}|")
    for row in rows:
        print(f"| {' | '.join(v if isinstance(v, str) else f'{v:.{digits}f}' for v in row)} |")
    print(flush=True)


if __name__ == "__main__":
    main()
