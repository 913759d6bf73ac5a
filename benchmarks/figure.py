"""Draws the README's figure from a finished run.

    python benchmarks/figure.py RUN OUT.png

Top: the joint embedding by technology and by cluster. Bottom: every slice in space, colored by cluster.
"""

from __future__ import annotations

import sys
from pathlib import Path

import anndata as ad
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lloki.pl._palette import category_colors


def scatter(ax: Axes, xy: np.ndarray, values: np.ndarray, colors: dict[str, str], size: float) -> None:
    order = np.random.default_rng(0).permutation(len(xy))
    ax.scatter(*xy[order, :2].T, c=[colors[v] for v in values[order]], s=size, lw=0, rasterized=True)
    ax.set_aspect("equal")
    ax.axis("off")


def main(run: Path, out: Path) -> None:
    adata = ad.read_h5ad(run / "integrated.h5ad")
    slices = list(dict.fromkeys(adata.obs["slice"].astype(str)))
    figure = Figure(figsize=(12, 9), dpi=110, facecolor="white")
    FigureCanvasAgg(figure)
    top, bottom = figure.subfigures(2, 1, height_ratios=[1.7, 1])
    axes = top.subplots(1, 2)
    for ax, (key, title) in zip(axes, (("technology", "by technology"), ("lloki_cluster", "by cluster"))):
        values = adata.obs[key].astype(str).to_numpy()
        names = (
            sorted(set(values), key=lambda v: (len(v), v)) if key == "lloki_cluster" else sorted(set(values))
        )
        colors = category_colors(names)
        scatter(ax, adata.obsm["X_umap"], values, colors, 3)
        ax.set_title(f"Joint embedding {title}", fontsize=13)
        if key == "technology":
            marks = [ax.scatter([], [], color=c, s=30, label=n) for n, c in colors.items()]
            ax.legend(
                handles=marks, loc="upper left", bbox_to_anchor=(0, 0.02), fontsize=9, frameon=False, ncols=2
            )
    for ax, name in zip(bottom.subplots(1, len(slices)), slices):
        rows = (adata.obs["slice"].astype(str) == name).to_numpy()
        scatter(ax, adata.obsm["spatial"][rows], values[rows], colors, 8_000 / rows.sum())
        measured = adata.varm["lloki_measured"][:, list(adata.uns["lloki"]["slices"]).index(name)]
        technology = str(adata.obs["technology"][rows].iloc[0]).split(" (")[0]
        ax.set_title(f"{technology}\n{int(measured.sum()):,} genes", fontsize=11)
    figure.savefig(out, bbox_inches="tight")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
