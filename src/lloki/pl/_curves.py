"""Curves and scatter plots on Axes, from arrays."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from numpy.typing import NDArray

from lloki.analysis import ACROSS, WITHIN
from lloki.pl._figures import curve_legend, plain, plot_style
from lloki.pl._palette import COLORS, OTHER
from lloki.pl._panels import short

_LINE, _SECOND_LINE = COLORS[0], COLORS[1]
_BEFORE, _TARGET, _AFTER = OTHER, COLORS[4], COLORS[5]
_BINS = 8


def sparsity_curves(ax: Axes, before: NDArray, target: NDArray, after: NDArray) -> None:
    """Draw the share of cells up to each sparsity: before and after LLOKI-FP, and the target.

    Parameters
    ----------
    ax
        Where to draw.
    before, target, after
        Share of a cell's panel genes that are zero, (n,) each, in [0, 1].
    """
    share = np.linspace(0, 1, 201)
    styles = (
        ("before", before, _BEFORE, "-", 2.2),
        ("target", target, _TARGET, "-", 3.6),
        ("after", after, _AFTER, "--", 2.0),
    )
    for name, values, color, line, width in styles:
        values = np.asarray(values, dtype=float)
        values = values[np.isfinite(values)]
        if values.size:
            ax.plot(np.quantile(values, share), share * 100, color=color, ls=line, lw=width, label=name)
    ax.set(xlabel="share of genes at zero in a cell", ylabel="% of cells, cumulative")
    plot_style(ax)
    curve_legend(ax)


def loss_curves(ax: Axes, steps: NDArray, series: Mapping[str, NDArray], *, most: int = 400) -> None:
    """Draw losses against optimizer steps.

    Parameters
    ----------
    ax
        Where to draw.
    steps
        Step of every value (n,).
    series
        Name → values (n,); NaN where a loss was not computed at that step.
    most
        A longer series is drawn as the means of this many stretches.
    """
    largest, smallest = 0.0, np.inf
    for i, (name, values) in enumerate(series.items()):
        x, y = _thinned(np.asarray(steps, dtype=float), np.asarray(values, dtype=float), most)
        if x.size:
            marker = "o" if x.size < 3 else None
            color, line = COLORS[i % len(COLORS)], ("-", "--")[i % 2]
            ax.plot(x, y, color=color, ls=line, lw=1.6, marker=marker, label=name)
            largest, smallest = max(largest, y.max()), min(smallest, y.min())
    if smallest > 0 and largest / smallest > 30:
        ax.set_yscale("log")
    ax.set(xlabel="optimizer step", ylabel="loss")
    plot_style(ax)
    if len(series) > 1:
        curve_legend(ax)


def reliability_curve(ax: Axes, curve: pd.DataFrame) -> None:
    """Draw accuracy against confidence; the areas of points are in proportion to the cells.

    Parameters
    ----------
    ax
        Where to draw.
    curve
        Columns confidence, accuracy and n_cells; one row per bin.
    """
    ax.plot([0, 1], [0, 1], color=OTHER, ls=":", lw=1.2, label="perfect calibration")
    x, y = curve["confidence"].to_numpy(float), curve["accuracy"].to_numpy(float)
    share = curve["n_cells"].to_numpy(float) / max(curve["n_cells"].sum(), 1)
    ax.plot(x, y, color=_LINE, lw=1.4)
    ax.scatter(x, y, s=10 + 400 * share, color=_LINE, alpha=0.8, lw=0, zorder=3, clip_on=False)
    ax.set(xlim=(0, 1.02), ylim=(0, 1.02), xlabel="confidence", ylabel="share of correct labels")
    ax.set_aspect("equal")
    plot_style(ax)
    curve_legend(ax)


def score_curve(ax: Axes, scores: pd.DataFrame, *, min_score: float | None = None) -> None:
    """Draw the hold-out scores of genes, from the best to the worst, by how they were validated.

    Parameters
    ----------
    ax
        Where to draw.
    scores
        Of :func:`lloki.analysis.held_out`: columns score and validated. Genes without a score are left out.
    min_score
        Score below which genes were left out, drawn as a line.
    """
    known = scores[scores["score"].notna()].sort_values("score", ascending=False, kind="stable")
    for name, color in ((ACROSS, _LINE), (WITHIN, _SECOND_LINE)):
        y = known.loc[known["validated"] == name, "score"].to_numpy(float)
        if len(y):
            x = np.arange(1, len(y) + 1)
            ax.scatter(x, y, s=10, lw=0, color=color, label=f"validated {name}", rasterized=True)
    if min_score is not None:
        ax.axhline(min_score, color=mpl.rcParams["text.color"], ls=":", lw=1.2)
    ax.set(xlabel="genes, the best first", ylabel="hold-out score (Spearman)")
    ax.set_ylim(min(0.0, float(known["score"].min()) if len(known) else 0.0) - 0.03, 1)
    plot_style(ax)
    curve_legend(ax)


def score_against_share(
    ax: Axes, share: NDArray, score: NDArray, groups: NDArray, *, most: int = 6000
) -> None:
    """Draw the score of focal cells (n,) against the share of neighbors (n,), with medians by group (n,).

    Medians are those of eight equal parts of a group's cells; beyond ``most`` cells a random sample is drawn.
    """
    known = np.isfinite(share) & np.isfinite(score)
    share, score, groups = share[known], score[known], groups[known]
    rows = np.random.default_rng(0).permutation(len(share))[:most]
    ax.scatter(share[rows] * 100, score[rows], s=3, lw=0, color=OTHER, alpha=0.35, rasterized=True)
    names = list(dict.fromkeys(groups))
    for i, name in enumerate(names):
        x, y = share[groups == name], score[groups == name]
        parts = np.array_split(np.argsort(x, kind="stable"), min(_BINS, max(len(x) // 10, 1)))
        middle = [(np.median(x[p]) * 100, np.median(y[p])) for p in parts if len(p)]
        ax.plot(*np.array(middle).T, color=COLORS[i % len(COLORS)], lw=1.8, marker="o", ms=3, label=name)
    if len(score):
        low, high = np.quantile(score, [0.005, 0.995])
        ax.set_ylim(low - 0.05 * (high - low + 1e-9), high + 0.05 * (high - low + 1e-9))
    ax.set(xlabel="% of neighbors of the neighbor type", ylabel="score of the program")
    plot_style(ax)
    if len(names) <= 12:
        curve_legend(ax)


def moran_boxes(ax: Axes, groups: Mapping[str, Mapping[str, NDArray]]) -> None:
    """Draw Moran's I of all metagenes as box plots, a group of boxes a slice.

    Parameters
    ----------
    ax
        Where to draw.
    groups
        Way of fitting → slice → (K,) values; those that are not finite are left out.
    """
    slices = list(dict.fromkeys(s for by in groups.values() for s in by))
    ink, width = mpl.rcParams["text.color"], 0.8 / len(groups)
    for i, (way, by) in enumerate(groups.items()):
        at = [j for j, s in enumerate(slices) if s in by]
        ax.boxplot(
            [np.asarray(by[slices[j]])[np.isfinite(by[slices[j]])] for j in at],
            positions=[j + (i - (len(groups) - 1) / 2) * width for j in at],
            widths=width * min(0.85, 0.4 * len(groups)),
            patch_artist=True,
            manage_ticks=False,
            boxprops={"facecolor": COLORS[i], "edgecolor": ink, "lw": 0.6},
            medianprops={"color": ink},
            whiskerprops={"color": ink, "lw": 0.6},
            capprops={"color": ink, "lw": 0.6},
            flierprops={"marker": ".", "ms": 3, "markeredgecolor": ink},
        )
        ax.scatter([], [], color=COLORS[i], marker="s", label=way)
    plot_style(ax)
    ax.grid(visible=False)
    ax.axhline(0, color=ink, lw=0.5, ls=":")
    ax.set(ylabel="Moran's I", xlim=(-0.6, len(slices) - 0.4))
    ax.set_xticks(range(len(slices)), [short(s) for s in slices], rotation=20, ha="right")
    plain(ax.get_xticklabels())
    if len(groups) > 1:
        curve_legend(ax)


def _thinned(x: NDArray, y: NDArray, most: int) -> tuple[NDArray, NDArray]:
    """Finite values, in stretches of equal length replaced by their means where there are too many."""
    known = np.isfinite(x) & np.isfinite(y)
    x, y = x[known], y[known]
    if x.size <= most:
        return x, y
    starts = np.linspace(0, x.size, most, endpoint=False).astype(int)
    sizes = np.diff([*starts, x.size])
    return np.add.reduceat(x, starts) / sizes, np.add.reduceat(y, starts) / sizes
