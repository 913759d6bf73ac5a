"""Figures of gene programs and domains: arrays in, matplotlib ``Figure`` out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from lloki.analysis import by_maximum
from lloki.report.figures import scale_bar
from lloki.report.palette import distinct_colors

COLORS, DIVERGING = "viridis", "PuOr"
_NO_VALUE = "#c8c8c8"
_MOST_IN_A_ROW = 5


def in_space(
    positions: Mapping[str, NDArray],
    values: Mapping[str, NDArray],
    *,
    label: str,
    colors: Mapping[str, NDArray] | None = None,
    panel: float = 2.6,
    ink: str = "black",
) -> Figure:
    """Draw slices side by side, cells where they lie, on one color scale.

    Parameters
    ----------
    positions
        Slice → (n, 2 or more); y runs downwards.
    values
        Slice → (n,) numbers. The scale ends at the 99th percentile over all slices, so that a few cells do
        not darken the rest (at the maximum, if fewer than one in a hundred are above 0). A slice without
        numbers is drawn gray, as not measured.
    label
        Of the scale.
    colors
        Slice → (n,) colors as ``#rrggbb``, in place of numbers; there is no scale then.
    panel
        Width of a slice, in inches.
    ink
        Color of names and scale bars.
    """
    names = list(positions)
    columns = min(len(names), _MOST_IN_A_ROW)
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(panel * columns + 0.9, (panel + 0.35) * rows), layout="constrained")
    FigureCanvasAgg(figure)
    axes = np.atleast_1d(figure.subplots(rows, columns, squeeze=False)).ravel()
    top = 1.0
    if colors is None:
        every = np.concatenate([values[n] for n in names if n in values])
        top = max(float(np.percentile(every, 99)) or float(every.max()), 1e-9)
    drawn = None
    for ax in axes:
        ax.axis("off")
    for ax, name in zip(axes, names):
        xy = np.asarray(positions[name], float)[:, :2]
        extent = np.maximum(np.ptp(xy, axis=0), 1e-9)
        size = np.clip(0.6 * (72 * panel) ** 2 * min(extent) / max(extent) / max(len(xy), 1), 0.3, 40)
        title = _short(name)
        if colors is None and name not in values:
            order, title = np.arange(len(xy)), f"{title}\nnot measured"
            shown: dict[str, Any] = {"color": _NO_VALUE}
        elif colors is None:
            order = np.argsort(values[name], kind="stable")  # what a metagene marks is drawn last
            shown = {"c": np.asarray(values[name])[order], "cmap": COLORS, "vmin": 0.0, "vmax": top}
        else:
            order = np.arange(len(xy))
            shown = {"c": list(colors[name])}
        points = ax.scatter(*xy[order].T, s=size, lw=0, rasterized=True, **shown)
        drawn = points if name in values else drawn
        ax.set_aspect("equal")
        ax.invert_yaxis()
        ax.set_title(title, fontsize=8, color=ink, parse_math=False)
        scale_bar(ax, float(extent[0]), ink)
    if colors is None and drawn is not None:
        bar = figure.colorbar(drawn, ax=axes, shrink=0.6, aspect=25, pad=0.02)
        bar.set_label(label, fontsize=8, color=ink)
        bar.ax.tick_params(labelsize=7, colors=ink)
        bar.outline.set_visible(False)
    return figure


def relative_use(tables: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Divide each metagene's column by its largest value in any slice; all have one scale of states."""
    most = pd.concat(list(tables.values())).max().replace(0, 1)
    return {name: table / most for name, table in tables.items()}


def mean_use(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Types by metagenes: the mean of `relative_use` over the slices that have the type."""
    return pd.concat(list(relative_use(tables).values())).groupby(level=0).mean()


def enrichment_maps(
    tables: Mapping[str, pd.DataFrame], order: Sequence[int] | None = None, *, ink: str = "black"
) -> Figure:
    """Draw a heat map of types by metagenes for each slice, all in one order and on one scale.

    Parameters
    ----------
    tables
        Slice → of `lloki.analysis.enrichment`. Every metagene is drawn over its largest mean in any slice.
    order
        Positions of metagenes from left to right; default by the type that uses each most.
    ink
        Color of all that is not data.
    """
    types = sorted({t for table in tables.values() for t in table.index})
    order = by_maximum(mean_use(tables)) if order is None else order
    columns = min(len(tables), 3)
    rows = -(-len(tables) // columns)
    width, height = 0.19 * len(order) + 0.4, 0.17 * len(types) + 0.7
    figure = Figure(figsize=(width * columns + 1.9, height * rows), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False, sharey=True)
    drawn = None
    for ax in axes.ravel()[len(tables) :]:
        ax.axis("off")
    for ax, (name, table) in zip(axes.ravel(), relative_use(tables).items()):
        share = table.reindex(types).to_numpy()[:, list(order)]
        drawn = ax.imshow(np.ma.masked_invalid(share), cmap=COLORS, vmin=0, vmax=1, aspect="auto")
        ax.set_title(_short(name), fontsize=8, color=ink, parse_math=False)
        ax.set_xticks(range(len(order)), [str(k + 1) for k in order], fontsize=6, color=ink)
        ax.set_yticks(range(len(types)), types, fontsize=7, color=ink, parse_math=False)
        ax.tick_params(length=0, colors=ink)
        for spine in ax.spines.values():
            spine.set_visible(False)
    if drawn is not None:
        bar = figure.colorbar(drawn, ax=axes, shrink=0.6, aspect=25, pad=0.01)
        bar.set_label("mean state, over the largest in any slice", fontsize=7, color=ink)
        bar.ax.tick_params(labelsize=6, colors=ink)
        bar.outline.set_visible(False)
    figure.supxlabel("metagene", fontsize=8, color=ink)
    return figure


def moran_boxes(groups: Mapping[str, Mapping[str, NDArray]], *, ink: str = "black") -> Figure:
    """Draw Moran's I of all metagenes as box plots: one group of boxes a slice, one box a way of fitting.

    Parameters
    ----------
    groups
        Way → slice → (K,) values; those that are not finite are left out.
    ink
        Color of all that is not data.
    """
    slices = list(dict.fromkeys(s for by in groups.values() for s in by))
    colors = distinct_colors(len(groups))
    figure = Figure(
        figsize=(1.5 + max(0.5 * len(groups) + 0.3, 1.0) * len(slices), 3.2), layout="constrained"
    )
    FigureCanvasAgg(figure)
    ax = figure.subplots()
    width = 0.8 / len(groups)
    for i, (way, by) in enumerate(groups.items()):
        at = [j for j, s in enumerate(slices) if s in by]
        data = [np.asarray(by[slices[j]])[np.isfinite(by[slices[j]])] for j in at]
        ax.boxplot(
            data,
            positions=[j + (i - (len(groups) - 1) / 2) * width for j in at],
            widths=width * 0.85,
            patch_artist=True,
            manage_ticks=False,
            boxprops={"facecolor": colors[i], "edgecolor": ink, "lw": 0.6},
            medianprops={"color": ink},
            whiskerprops={"color": ink, "lw": 0.6},
            capprops={"color": ink, "lw": 0.6},
            flierprops={"marker": ".", "ms": 3, "markeredgecolor": ink},
        )
        ax.scatter([], [], color=colors[i], marker="s", label=way)
    ax.set_xticks(
        range(len(slices)), [_short(s) for s in slices], fontsize=7, rotation=20, ha="right", color=ink
    )
    ax.set_ylabel("Moran's I", fontsize=8, color=ink)
    ax.tick_params(labelsize=7, colors=ink)
    ax.axhline(0, color=ink, lw=0.5, ls=":")
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(ink)
    if len(groups) > 1:
        figure.legend(loc="outside upper center", ncols=len(groups), frameon=False, fontsize=8)
    return figure


def affinity_map(affinity: NDArray, *, ink: str = "black") -> Figure:
    """Draw affinities (K, K) of metagenes; the two colors meet at 0, where there is neither of them.

    The scale ends at the largest value of a pair of different metagenes: those of a metagene with itself
    are mostly far larger.
    """
    a = np.asarray(affinity, float)
    k = len(a)
    apart = np.abs(a[~np.eye(k, dtype=bool)])
    end = max(float(apart.max(initial=0)) or float(np.abs(a).max()), 1e-9)
    figure = Figure(figsize=(0.22 * k + 2.2, 0.22 * k + 1.1), layout="constrained")
    FigureCanvasAgg(figure)
    ax = figure.subplots()
    image = ax.imshow(a, cmap=DIVERGING, vmin=-end, vmax=end)
    numbers = [str(i + 1) for i in range(k)]
    ax.set_xticks(range(k), numbers, fontsize=7, color=ink)
    ax.set_yticks(range(k), numbers, fontsize=7, color=ink)
    ax.tick_params(length=0, colors=ink)
    ax.spines[:].set_visible(False)
    ax.set_xlabel("metagene", fontsize=8, color=ink)
    ax.set_ylabel("metagene", fontsize=8, color=ink)
    bar = figure.colorbar(image, ax=ax, shrink=0.9, aspect=20, extend="both")
    bar.set_label("below 0: side by side, above 0: apart", fontsize=8, color=ink)
    bar.ax.tick_params(labelsize=7, colors=ink)
    bar.outline.set_visible(False)
    return figure


def _short(name: str) -> str:
    return name if len(name) <= 28 else name[:27] + "…"
