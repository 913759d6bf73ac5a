"""Draws the figures of `alignment.py` and of aligned slices.

    python benchmarks/alignment_figures.py measures OUT.jsonl FIGURE.png
    python benchmarks/alignment_figures.py layers ALIGNED.h5ad FIGURE.png [--label lloki_cluster]

measures  the paper's three measures over the overlap of the panels, from the task ``adjacent``
layers    each slice of what ``lloki align`` wrote, large, on the reference, small; a colour is a cluster
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lloki.report.colouring import Colouring

MEASURES = {
    "distance": "distance of pairs in the given frame, µm",
    "correlation": "correlation of their expression",
    "agreement": "share of pairs of one cell type",
}
METHODS = {
    "lloki": ("lloki", "#0072b2"),
    "kabsch": ("MNN + Kabsch, same embedding", "#56b4e9"),
    "pca": ("MNN + Kabsch, PCA of shared genes", "#e69f00"),
    "paste": ("PASTE, best of 5 alphas", "#d55e00"),
}


def measures(file: Path, out: Path) -> None:
    rows = pd.DataFrame([json.loads(line) for line in file.read_text().splitlines()])
    rows = rows[rows["task"] == "adjacent"]
    figure = Figure(figsize=(13, 4), dpi=110, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    for ax, (measure, title) in zip(figure.subplots(1, 3), MEASURES.items()):
        for method, (name, colour) in METHODS.items():
            of = rows[rows["method"] == method]
            x = of["overlap_genes"] * 100
            ax.scatter(x, of[measure], s=10, color=colour, alpha=0.5, lw=0)
            mean = of.groupby("overlap_genes")[measure].mean()
            ax.plot(mean.index * 100, mean, color=colour, label=name)
        truth = rows.loc[rows["method"] == "truth", measure].mean()
        ax.axhline(truth, color="black", ls=":", lw=1, label="the frame as given")
        ax.set(xlabel="genes that both panels have, %", title=title, xlim=(102, -2))
        ax.spines[["top", "right"]].set_visible(False)
    figure.axes[0].legend(frameon=False, fontsize=8)
    figure.savefig(out)


def layers(file: Path, out: Path, label: str) -> None:
    adata = ad.read_h5ad(file)
    facts = json.loads(adata.uns["lloki"]["align_slices"]["facts"])
    names = adata.obs["slice"].astype(str).to_numpy()
    xy, colours = adata.obsm["spatial_aligned"][:, :2], Colouring.of(adata.obs[label]).rows
    moving = [n for n in facts["slices"] if n != facts["reference"]]
    below = np.flatnonzero(names == facts["reference"])
    figure = Figure(figsize=(4.5 * len(moving), 4.8), dpi=110, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    for ax, name in zip(np.atleast_1d(figure.subplots(1, len(moving))), moving):
        rows = np.flatnonzero(names == name)
        low, high = np.nanmin(xy[rows], axis=0), np.nanmax(xy[rows], axis=0)
        margin = 0.35 * (high - low).max()
        ax.scatter(*xy[below].T, s=1.5, c=colours[below], alpha=0.5, lw=0)
        ax.scatter(*xy[rows].T, s=12, c=colours[rows], ec="black", lw=0.2)
        ax.set(xlim=(low[0] - margin, high[0] + margin), ylim=(high[1] + margin, low[1] - margin))
        ax.set_aspect("equal")
        ax.axis("off")
        ax.set_title(name, fontsize=10)
    figure.savefig(out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("measures", "layers"))
    parser.add_argument("file", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--label", default="lloki_cluster")
    chosen = parser.parse_args()
    if chosen.what == "measures":
        measures(chosen.file, chosen.out)
    else:
        layers(chosen.file, chosen.out, chosen.label)
