"""The figure of the alignment benchmark."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lloki.pl._palette import COLORS

MEASURES = {
    "distance": "distance of pairs in the given frame",
    "correlation": "correlation of their expression",
    "agreement": "share of pairs of one cell type",
}
METHODS = {
    "lloki": ("lloki", COLORS[0], "o"),
    "kabsch": ("nearest neighbors + Kabsch, same embedding", COLORS[5], "s"),
    "pca": ("nearest neighbors + Kabsch, PCA of shared genes", COLORS[1], "^"),
    "paste": ("PASTE, best of five alphas", COLORS[4], "D"),
}
SIZE = (12.0, 4.4)  # inches


def alignment_measures(figure: Figure, table: pd.DataFrame) -> list[Axes]:
    """Draw the paper's three measures over the overlap of the panels.

    Parameters
    ----------
    figure
        Where to draw.
    table
        Columns overlap (0 to 1), method, distance, correlation, agreement; a row for each trial and method.
        Lines are means, points trials. The dotted line is the method ``truth``, the frame as given.
    """
    axes = list(figure.subplots(1, len(MEASURES)))
    for ax, (measure, title) in zip(axes, MEASURES.items()):
        for i, (method, (name, color, mark)) in enumerate(METHODS.items()):
            of = table[table["method"] == method]
            if not len(of):
                continue
            x = of["overlap"] * 100 + 1.2 * (i - 1.5)  # side by side
            ax.scatter(x, of[measure], s=9, color=color, alpha=0.45, lw=0)
            mean = of.groupby("overlap")[measure].mean()
            ax.plot(mean.index * 100, mean, color=color, marker=mark, ms=4.5, label=name)
        truth = table.loc[table["method"] == "truth", measure].mean()
        ax.axhline(truth, color="black", ls=":", lw=1.2, label="the frame as given")
        ax.set(xlabel="genes that both panels have, %", xlim=(105, -5))
        ax.set_title(title, fontsize=10)
        ax.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylim(0, None)
    figure.legend(
        *axes[0].get_legend_handles_labels(), frameon=False, fontsize=9, ncols=3, loc="outside lower center"
    )
    return axes
