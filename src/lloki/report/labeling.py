"""Figures of labels and of genes that were not measured: arrays in, matplotlib ``Figure`` out."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from lloki.analysis import ACROSS, WITHIN
from lloki.report.figures import INK, WIDTH, legend, plot_area, scale_bar
from lloki.report.palette import OTHER

_LINE, _OTHER_LINE = "#0072b2", "#e69f00"
_MAP = "viridis"


def reliability_curve(curve: pd.DataFrame, *, ink: str = INK) -> Figure:
    """Draw accuracy against confidence; the areas of points are in proportion to the cells.

    Parameters
    ----------
    curve
        Columns confidence, accuracy and cells, a row for each bin.
    """
    figure, ax = plot_area(ink, WIDTH)
    ax.plot([0, 1], [0, 1], color=OTHER, ls=":", lw=1.2, label="as it should be")
    x, y = curve["confidence"].to_numpy(float), curve["accuracy"].to_numpy(float)
    share = curve["n_cells"].to_numpy(float) / max(curve["n_cells"].sum(), 1)
    ax.plot(x, y, color=_LINE, lw=1.4)
    ax.scatter(x, y, s=10 + 400 * share, color=_LINE, alpha=0.8, lw=0, zorder=3)
    ax.set(xlim=(0, 1.02), ylim=(0, 1.02), xlabel="confidence", ylabel="share of labels that are right")
    ax.set_aspect("equal")
    legend(ax, ink)
    return figure


def confusion_map(shares: NDArray, rows: Sequence[str], columns: Sequence[str], *, ink: str = INK) -> Figure:
    """Draw shares (r, c) in [0, 1] of the true types in rows that were given the labels in columns."""
    side = 0.21
    figure = Figure(figsize=(1.9 + side * len(columns) + 0.8, 1.5 + side * len(rows)), layout="constrained")
    FigureCanvasAgg(figure)
    ax = figure.add_subplot()
    image = ax.imshow(shares, vmin=0, vmax=1, cmap=_MAP, aspect="equal")
    ax.set_xticks(range(len(columns)), columns, rotation=90)
    ax.set_yticks(range(len(rows)), rows)
    ax.set(xlabel="label told", ylabel="true type")
    ax.tick_params(colors=ink, labelsize=7, length=0)
    for text in (*ax.get_xticklabels(), *ax.get_yticklabels()):
        text.set_parse_math(False)
    for label in (ax.xaxis.label, ax.yaxis.label):
        label.set(color=ink, fontsize=9)
    ax.spines[:].set_visible(False)
    bar = figure.colorbar(image, ax=ax, shrink=0.8, aspect=25)
    bar.set_label("share of the type", color=ink, fontsize=8)
    bar.ax.tick_params(colors=ink, labelsize=7)
    bar.outline.set_visible(False)
    return figure


def shares_told(truth: NDArray, told: NDArray) -> tuple[NDArray[np.float64], list[str], list[str]]:
    """Share of each true type that was given each label, rows and columns in one order; untold ones last."""
    rows = sorted(set(map(str, truth)))
    columns = [*[r for r in rows if r in set(told)], *sorted(set(map(str, told)) - set(rows))]
    table = pd.crosstab(pd.Series(truth, dtype=str), pd.Series(told, dtype=str), normalize="index")
    return table.reindex(index=rows, columns=columns, fill_value=0.0).to_numpy(), rows, columns


def score_curve(scores: pd.DataFrame, *, least: float | None = None, ink: str = INK) -> Figure:
    """Draw the hold-out scores of genes, from the best to the worst, by how they were tried.

    Parameters
    ----------
    scores
        Of :func:`lloki.analysis.held_out`: columns score and validated. Genes without a score are left out.
    least
        Score below which genes were left out, drawn as a line.
    """
    figure, ax = plot_area(ink, WIDTH * 0.9)
    known = scores[scores["score"].notna()].sort_values("score", ascending=False, kind="stable")
    for name, color in ((ACROSS, _LINE), (WITHIN, _OTHER_LINE)):
        y = known.loc[known["validated"] == name, "score"].to_numpy(float)
        if len(y):
            x = np.arange(1, len(y) + 1)
            ax.scatter(x, y, s=10, lw=0, color=color, label=f"tried {name}", rasterized=True)
    if least is not None:
        ax.axhline(least, color=ink, ls=":", lw=1.2)
    ax.set(xlabel="genes, the best first", ylabel="hold-out score (Spearman)")
    ax.set_ylim(min(0.0, float(known["score"].min()) if len(known) else 0.0) - 0.03, 1)
    legend(ax, ink)
    return figure


def value_panels(xy: NDArray, values: dict[str, NDArray], *, ink: str = INK) -> Figure:
    """Draw cells (n, 2) where they lie, side by side for each name → values (n,), on one color scale."""
    low, high = xy.min(0), xy.max(0)
    low, high = low - 0.02 * (high - low), high + 0.02 * (high - low)
    ratio = float(np.clip((high - low)[1] / max((high - low)[0], 1e-9), 0.4, 1.6))
    figure = Figure(figsize=(WIDTH * len(values) + 0.8, WIDTH * ratio + 0.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, len(values), squeeze=False)[0]
    every = np.concatenate([v[np.isfinite(v)] for v in values.values()])
    top = float(np.quantile(every, 0.99)) if len(every) else 1.0
    norm = mpl.colors.Normalize(float(every.min(initial=0)), max(top, 1e-9))
    size = float(np.clip((WIDTH * 72) ** 2 * ratio * 0.35 / max(len(xy), 1), 0.5, 20))
    for ax, (name, v) in zip(axes, values.items()):
        order = np.argsort(v, kind="stable")  # high values on top
        points = ax.scatter(
            xy[order, 0], xy[order, 1], c=v[order], s=size, lw=0, cmap=_MAP, norm=norm, rasterized=True
        )
        ax.set_axis_off()
        ax.set_aspect("equal")
        ax.set_xlim(low[0], high[0])
        ax.set_ylim(high[1], low[1])
        ax.set_title(name, fontsize=9, color=ink, parse_math=False)
        scale_bar(ax, float(high[0] - low[0]), ink)
    bar = figure.colorbar(points, ax=list(axes), shrink=0.8, aspect=30)
    bar.set_label("log(1 + normalized counts)", color=ink, fontsize=8)
    bar.ax.tick_params(colors=ink, labelsize=7)
    bar.outline.set_visible(False)
    return figure
