"""Draws the figures of `alignment.py` and of aligned slices.

    python benchmarks/alignment_figures.py measures OUT.jsonl FIGURE.png
    python benchmarks/alignment_figures.py layers ALIGNED.h5ad FIGURE.png [--label lloki_cluster]

measures  the paper's three measures over the overlap of the panels, from the task ``adjacent``
layers    each slice in the output of ``lloki align`` on the reference, and its agreement at every rotation;
          outlined marks are cells of the slice, colors are clusters
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lloki.align import AlignConfig, AlignResult, align
from lloki.pl._alignment import FIXED, MOVING
from lloki.pl._coloring import Coloring
from lloki.pl._measures import SIZE, alignment_measures


def measures(file: Path, out: Path) -> None:
    rows = pd.DataFrame([json.loads(line) for line in file.read_text().splitlines()])
    rows = rows[rows["task"] == "adjacent"].assign(overlap=lambda r: r["overlap_genes"])
    figure = Figure(figsize=SIZE, facecolor="white", layout="constrained")
    alignment_measures(figure, rows)
    figure.savefig(out, dpi=110)


def layers(file: Path, out: Path, label: str) -> None:
    adata = ad.read_h5ad(file)
    info = adata.uns["lloki"]["align_slices"]
    facts, parameters = json.loads(info["facts"]), json.loads(info["parameters"])
    config = AlignConfig.from_dict({k: v for k, v in parameters.items() if k in AlignConfig().to_dict()})
    names = adata.obs["slice"].astype(str).to_numpy()
    xy, colors = adata.obsm["spatial_aligned"][:, :2], Coloring.of(adata.obs[label]).rows
    moving = [n for n in facts["slices"] if n != facts["reference"]]
    below = np.flatnonzero(names == facts["reference"])
    window = 1.15 * max(np.nanmax(np.ptp(xy[names == n], axis=0)) for n in moving)
    figure = Figure(figsize=(3.6 * len(moving), 6.2), dpi=110, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, len(moving), height_ratios=(1.7, 1), squeeze=False)
    for (ax, curve), name in zip(axes.T, moving):
        rows = np.flatnonzero(names == name)
        middle = (np.nanmin(xy[rows], axis=0) + np.nanmax(xy[rows], axis=0)) / 2
        ax.scatter(*xy[below].T, s=3, c=colors[below], alpha=0.7, lw=0)
        ax.scatter(*xy[rows].T, s=9, c=colors[rows], ec="black", lw=0.25)
        ax.set(
            xlim=middle[0] + window * np.array([-0.5, 0.5]), ylim=middle[1] + window * np.array([0.5, -0.5])
        )
        ax.set_aspect("equal")
        ax.axis("off")
        ax.set_title(name, fontsize=10)
        corner = middle + window * np.array([-0.45, 0.47])
        ax.plot(corner[0] + np.array([0, 500]), corner[[1, 1]], color="black", lw=3)
        ax.text(corner[0] + 530, corner[1], "500 µm", fontsize=8, va="center")
        given = [(adata.obsm["X_lloki"][r], adata.obsm["spatial"][r]) for r in (below, rows)]
        _draw_curve(curve, align(*given[0], *given[1], config=config))
    axes[1, 0].set_ylabel("agreement (z-score)", fontsize=9)
    axes[1, 0].legend(frameon=False, fontsize=8)
    figure.savefig(out)


def _draw_curve(ax: Axes, result: AlignResult) -> None:
    """Agreement at every rotation, as on the page of ``lloki align``."""
    degrees = (result.curve.degrees + 180) % 360 - 180
    order = np.argsort(degrees)
    for values, name, color, style in (
        (result.curve.plain, "as it is", FIXED, "-"),
        (result.curve.mirrored, "mirrored", MOVING, "--"),
    ):
        z = np.sqrt(2 * np.maximum(values, 0))
        ax.plot(degrees[order], z[order], color=color, ls=style, label=name)
    ax.axvline(
        result.transform.degrees, color=MOVING if result.transform.reflected else FIXED, lw=5, alpha=0.25
    )
    ax.set(xlim=(-180, 180), ylim=(0, None), xticks=np.arange(-180, 181, 90))
    ax.set_xlabel("rotation in degrees", fontsize=9)
    ax.tick_params(labelsize=8)
    ax.spines[["top", "right"]].set_visible(False)


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
