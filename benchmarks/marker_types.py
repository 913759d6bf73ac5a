"""Accuracy of marker-based annotation against the labels of two cortex slices.

    python benchmarks/marker_types.py RUN MARKERS.csv [--labels cell_type] [--figures FOLDER]

RUN is a folder of `lloki integrate`, MARKERS.csv a table such as `benchmarks/markers_cortex.csv`. Prints two
Markdown tables. First, for each slice with labels, alone and averaged over neighbors in the joint embedding
(k = 0 and 15): share of cells that got a type (coverage), accuracy among them (kept), accuracy over all cells
with *unknown* counted as wrong, and macro-F1. Second, the types that each panel can identify.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
from sklearn.metrics import f1_score

import lloki


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("markers", type=Path)
    parser.add_argument("--labels", default="cell_type")
    parser.add_argument("--figures", type=Path)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    adata = ad.read_h5ad(options.run / "integrated.h5ad")
    column = adata.obs[options.labels]
    truth = np.where(column.isna(), "", column.astype(str)).astype(str)
    slices = adata.obs["slice"].astype(str).to_numpy()
    print(
        "| slice | k | cells | coverage | accuracy kept | accuracy | macro-F1 |",
        "|---|---|---|---|---|---|---|",
        sep="\n",
    )
    for k in (0, 15):
        table = lloki.tl.annotate_by_markers(adata, options.markers, n_neighbors=k)
        assigned = adata.obs["lloki_marker_type"].astype(str).to_numpy()
        for name in np.unique(slices[truth != ""]):
            rows = (slices == name) & np.isin(truth, table["type"])
            right, kept = assigned[rows] == truth[rows], assigned[rows] != "unknown"
            f1 = f1_score(truth[rows], assigned[rows], labels=np.unique(truth[rows]), average="macro")
            scores = (kept.mean(), right[kept].mean(), right.mean(), f1)
            print(f"| {name} | {k} | {rows.sum()} | {' | '.join(f'{v:.3f}' for v in scores)} |")
            if options.figures and k:
                options.figures.mkdir(parents=True, exist_ok=True)
                lloki.pl.confusion(truth[rows], assigned[rows], save=options.figures / f"markers-{name}.png")
    show(table.round(2))


def show(table: pd.DataFrame) -> None:
    print(f"\n| {' | '.join(table.columns)} |\n{'|---' * len(table.columns)}|")
    for row in table.itertuples(index=False):
        print(f"| {' | '.join(map(str, row))} |")


if __name__ == "__main__":
    main()
