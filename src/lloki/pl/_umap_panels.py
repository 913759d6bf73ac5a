"""The same cells in several embeddings, side by side."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from lloki.pl._coloring import Coloring
from lloki.pl._figures import explain, legend_width
from lloki.pl._points import embedding

_PANEL, _TITLE = 2.4, 0.5  # inches
_ACROSS = 5  # methods side by side
_IN_COLUMN = 12  # names in a legend: as many as stand beside a panel


def umap_panels_size(methods: int, by: Mapping[str, Coloring]) -> tuple[float, float]:
    """Inches that `umap_panels` needs."""
    rows = -(-methods // _ACROSS) * len(by)
    beside = max((legend_width(c, _IN_COLUMN) for c in by.values()), default=0.0)
    return min(methods, _ACROSS) * _PANEL + beside, rows * _PANEL + _TITLE


def umap_panels(
    figure: Figure, layouts: Mapping[str, NDArray], by: Mapping[str, Coloring], *, seed: int = 0
) -> list[Axes]:
    """Draw every layout once a coloring: methods side by side, colorings below each other.

    Parameters
    ----------
    figure
        Where to draw.
    layouts
        Name of a method → (n, 2).
    by
        Title of a coloring → colors of the same n cells.
    seed
        Random seed of the order in which points are drawn.
    """
    names = list(layouts)
    blocks = [names[i : i + _ACROSS] for i in range(0, len(names), _ACROSS)]
    axes = np.ravel(figure.subplots(len(blocks) * len(by), len(blocks[0]), squeeze=False))
    table = axes.reshape(len(blocks), len(by), -1)
    for block, rows in zip(blocks, table):
        for (title, coloring), row in zip(by.items(), rows):
            for ax in row[len(block) :]:
                ax.set_axis_off()
            for ax, name in zip(row, block):
                embedding(ax, layouts[name], coloring, seed=seed)
                if row is rows[0]:
                    heading = "\n".join(textwrap.wrap(name, 30)[:2])
                    ax.set_title(heading, fontsize=9, parse_math=False)
            explain(row[len(block) - 1], coloring, in_column=_IN_COLUMN)
            legend = row[len(block) - 1].get_legend()
            if legend is not None:
                legend.set_title(title)
                legend.get_title().set(fontsize=8, parse_math=False)
    return [ax for ax in axes if ax.has_data()]
