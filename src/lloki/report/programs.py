"""Figures of programs of cells in their neighborhood: arrays in, matplotlib ``Figure`` out."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from lloki.report.figures import INK, WIDTH, legend, plot_area, scale_bar
from lloki.report.palette import OTHER, distinct_colors

_MAP = "viridis"
_BINS = 8


def score_against_share(
    share: NDArray, score: NDArray, groups: NDArray, *, ink: str = INK, most: int = 6000
) -> Figure:
    """Draw the score of focal cells (n,) against the share of neighbors (n,), with medians by data set.

    Medians are those of eight equal parts of a data set's cells; beyond ``most`` cells some are not drawn.
    """
    figure, ax = plot_area(ink, WIDTH)
    known = np.isfinite(share) & np.isfinite(score)
    share, score, groups = share[known], score[known], groups[known]
    rows = np.random.default_rng(0).permutation(len(share))[:most]
    ax.scatter(share[rows] * 100, score[rows], s=3, lw=0, color=OTHER, alpha=0.35, rasterized=True)
    names = list(dict.fromkeys(groups))
    for name, color in zip(names, distinct_colors(max(len(names), 2))):
        x, y = share[groups == name], score[groups == name]
        parts = np.array_split(np.argsort(x, kind="stable"), min(_BINS, max(len(x) // 10, 1)))
        middle = [(np.median(x[p]) * 100, np.median(y[p])) for p in parts if len(p)]
        label = name.replace("$", r"\$")
        ax.plot(*np.array(middle).T, color=color, lw=1.8, marker="o", ms=3, label=label)
    if len(score):
        low, high = np.quantile(score, [0.005, 0.995])
        ax.set_ylim(low - 0.05 * (high - low + 1e-9), high + 0.05 * (high - low + 1e-9))
    ax.set(xlabel="% of the neighbor type around", ylabel="score of the program")
    if len(names) <= 12:
        legend(ax, ink)
    return figure


def score_ends(score: NDArray) -> tuple[float, float]:
    """Where all but 2 % of the scores lie, at either side; NaN are left out."""
    known = score[np.isfinite(score)]
    if not len(known):
        return 0.0, 1.0
    low, high = np.quantile(known, [0.02, 0.98])
    return float(low), float(high)


def scores_in_space(
    xy: NDArray,
    score: NDArray,
    neighbor: NDArray[np.bool_],
    *,
    title: str,
    label: str = "score of the program",
    ends: tuple[float, float] | None = None,
    ink: str = INK,
) -> Figure:
    """Draw focal cells by a score, NaN for other cells; those of the neighbor type in gray, no others.

    The color scale ends at ``ends``; by default where all but 2 % of the scores lie, at either side.
    """
    low, high = xy.min(0), xy.max(0)
    low, high = low - 0.02 * (high - low), high + 0.02 * (high - low)
    ratio = float(np.clip((high - low)[1] / max((high - low)[0], 1e-9), 0.4, 1.6))
    figure = Figure(figsize=(WIDTH * 1.3 + 0.7, WIDTH * 1.3 * ratio + 0.4), layout="constrained")
    FigureCanvasAgg(figure)
    ax = figure.add_subplot()
    size = float(np.clip((WIDTH * 94) ** 2 * ratio * 0.3 / max(len(xy), 1), 1, 25))
    ax.scatter(xy[neighbor, 0], xy[neighbor, 1], s=size, lw=0, color=OTHER, alpha=0.45, rasterized=True)
    known = np.flatnonzero(np.isfinite(score))
    order = known[np.argsort(score[known], kind="stable")]
    if ends is None:
        ends = score_ends(score)
    norm = mpl.colors.Normalize(*ends)
    points = ax.scatter(
        xy[order, 0], xy[order, 1], s=size, lw=0, c=score[order], cmap=_MAP, norm=norm, rasterized=True
    )
    ax.set_axis_off()
    ax.set_aspect("equal")
    ax.set_xlim(low[0], high[0])
    ax.set_ylim(high[1], low[1])
    ax.set_title(title, fontsize=9, color=ink, parse_math=False)
    scale_bar(ax, float(high[0] - low[0]), ink)
    bar = figure.colorbar(points, ax=ax, shrink=0.7, aspect=25)
    bar.set_label(label, color=ink, fontsize=8)
    bar.ax.tick_params(colors=ink, labelsize=7)
    bar.outline.set_visible(False)
    return figure
