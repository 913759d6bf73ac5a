"""The same cells laid out by several embeddings, side by side."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from numpy.random import default_rng
from numpy.typing import NDArray

from lloki.report.coloring import Coloring
from lloki.report.figures import draw_points

_PANEL, _GAP, _TITLE = 2.3, 0.12, 0.5  # inches
_ACROSS = 5  # methods side by side
_LINES = 12  # names in a column of a legend: as many as stand beside a panel


def umap_panels(layouts: Mapping[str, NDArray], by: Mapping[str, Coloring], *, seed: int = 0) -> Figure:
    """Draw every layout once a coloring: methods side by side, colorings below each other.

    Parameters
    ----------
    layouts
        Name of a method → (n, 2).
    by
        Title of a coloring → colors of the same n cells.
    seed
        Of the order in which points are drawn.

    Returns
    -------
    matplotlib.figure.Figure
        Legends stand at the right of the first methods; nothing is clipped.
    """
    names = list(layouts)
    blocks = [names[i : i + _ACROSS] for i in range(0, len(names), _ACROSS)]
    across = max((len(b) for b in blocks), default=0)
    beside = max((_legend_width(title, c) for title, c in by.items()), default=0.0)
    block_height = _TITLE + len(by) * (_PANEL + _GAP)
    width, height = _GAP + across * (_PANEL + _GAP) + beside, len(blocks) * block_height + _GAP
    figure = Figure(figsize=(width, height), facecolor="white")
    FigureCanvasAgg(figure)
    for i, block in enumerate(blocks):
        top = i * block_height
        for j, name in enumerate(block):
            left = _GAP + j * (_PANEL + _GAP)
            title = "\n".join(textwrap.wrap(name, 30)[:2])
            place = ((left + _PANEL / 2) / width, 1 - (top + _TITLE - 0.08) / height)
            figure.text(*place, title, ha="center", va="bottom", fontsize=9.5, parse_math=False)
            for row, coloring in enumerate(by.values()):
                y = top + _TITLE + row * (_PANEL + _GAP)
                box = (left / width, 1 - (y + _PANEL) / height, _PANEL / width, _PANEL / height)
                ax = figure.add_axes(box)
                ax.set_xticks([])
                ax.set_yticks([])
                for spine in ax.spines.values():
                    spine.set_color("#c9ced6")
                draw_points(ax, layouts[name], coloring.rows, fill=0.28, shuffle=default_rng(seed))
    for row, (title, coloring) in enumerate(by.items()):
        y = _TITLE + row * (_PANEL + _GAP)
        _legend(figure, title, coloring, _GAP + across * (_PANEL + _GAP), y)
    return figure


def _legend(figure: Figure, title: str, coloring: Coloring, left: float, top: float) -> None:
    width, height = figure.get_size_inches()
    handles = [
        Line2D([], [], ls="", marker="o", ms=6, mec="none", color=color, label=name)
        for name, color, _ in coloring.legend
    ]
    legend = figure.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=(left / width, 1 - top / height),
        ncols=-(-len(handles) // _LINES),
        frameon=False,
        fontsize=8,
        borderpad=0.2,
        handletextpad=0.3,
        alignment="left",
    )
    legend.set_title(title, prop=FontProperties(size=8.5, weight="bold"))
    for text in (*legend.get_texts(), legend.get_title()):
        text.set_parse_math(False)  # a "$" in a name is a dollar


def _legend_width(title: str, coloring: Coloring) -> float:
    columns = -(-len(coloring.legend) // _LINES)
    longest = max((len(name) for name in coloring.names), default=0)
    return max(columns * (0.5 + 0.075 * longest), 0.1 * len(title) + 0.3)
