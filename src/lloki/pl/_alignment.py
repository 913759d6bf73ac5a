"""Aligned slices on Axes, from arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from numpy.typing import NDArray

from lloki.align import AlignResult
from lloki.align._evidence import z_score
from lloki.align.extent import cell_spacing
from lloki.pl._coloring import Coloring
from lloki.pl._figures import WIDTH, color_bar, curve_legend, plot_style
from lloki.pl._palette import COLOR_MAP, COLORS, OTHER
from lloki.pl._points import frame, scale_bar, section_ratio

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.figure import Figure

FIXED, MOVING = COLORS[0], COLORS[1]
MOST = 20_000  # cells drawn of a slice: more cannot be distinguished
_DEGREES = np.arange(-180, 181, 90)


def overlay_size(*clouds: NDArray) -> tuple[float, float]:
    """Inches that `overlay` needs."""
    return 2 * WIDTH, WIDTH * max(section_ratio(c) for c in clouds) + 0.4


def overlay(
    figure: Figure,
    fixed_xy: NDArray,
    moving_xy: NDArray,
    moved: NDArray,
    in_overlap: NDArray,
    *,
    unit: str = "",
) -> list[Axes]:
    """Draw two slices on one another, before and after alignment.

    Parameters
    ----------
    figure
        Where to draw.
    fixed_xy, moving_xy, moved
        (n, 2), (m, 2), (m, 2). Before, the moving slice is drawn as given, but centered on the fixed slice:
        frames may lie anywhere.
    in_overlap
        (m,) bool: the others are drawn gray, after alignment.
    unit
        Of the fixed slice, written beside the scale bar.
    """
    before = moving_xy - np.median(moving_xy, axis=0) + np.median(fixed_xy, axis=0)
    axes = list(figure.subplots(1, 2))
    colors = [np.full(len(moved), MOVING), np.where(in_overlap, MOVING, OTHER)]
    for ax, title, xy, color in zip(axes, ("before", "after"), (before, moved), colors):
        frame(ax, fixed_xy, xy)
        _scatter(ax, fixed_xy, FIXED)
        _scatter(ax, xy, color)
        ax.set_title(title, fontsize=9)
        scale_bar(ax, unit)
    return axes


def residuals(ax: Axes, result: AlignResult, *, unit: str = "") -> None:
    """Draw where the landmarks are, and a line from the moved to the fixed cell of each pair.

    Only pairs of at least median confidence are drawn. Lines that point one way over a stretch of tissue
    show what a rigid transform cannot fix.
    """
    frame(ax, result.moved)
    _scatter(ax, result.moved, OTHER)
    marks = result.landmarks
    if len(marks):
        keep = marks.confidence >= np.median(marks.confidence)
        start, off = result.moved[marks.moving[keep]], result.residuals[keep]
        length = np.linalg.norm(off, axis=1)
        norm = mpl.colors.Normalize(0, max(float(np.quantile(length, 0.95)), 1e-9))
        lines = LineCollection(
            list(np.stack([start, start + off], axis=1)), cmap=COLOR_MAP, norm=norm, lw=1.2
        )
        lines.set_array(length)
        ax.add_collection(lines)
        label = f"distance of matched cells ({unit})" if unit else "distance of matched cells"
        color_bar([ax], lines, label, extend="max")
    scale_bar(ax, unit)


def rotation_curve(ax: Axes, result: AlignResult) -> None:
    """Draw the z-score of the best translation at every rotation, plain and mirrored, and the answer.

    These are the scores of the search, on coarse images; those of the verdict, on finer ones, differ.
    """
    degrees = (result.curve.degrees + 180) % 360 - 180
    order = np.argsort(degrees)
    for values, name, color, style in (
        (result.curve.plain, "not mirrored", FIXED, "-"),
        (result.curve.mirrored, "mirrored", MOVING, "--"),
    ):
        z = np.array([z_score(v) for v in values])
        ax.plot(degrees[order], z[order], color=color, ls=style, lw=1.4, label=name)
    if len(degrees):
        color = MOVING if result.transform.reflected else FIXED
        ax.axvline(result.transform.degrees, color=color, lw=5, alpha=0.25)
    ax.set(xlim=(-180, 180), ylim=(0, None), xlabel="rotation in degrees", ylabel="agreement (z-score)")
    ax.set_xticks(_DEGREES)
    plot_style(ax)
    curve_legend(ax)


def deformation(ax: Axes, xy: NDArray, displacement: NDArray, strain: NDArray, *, unit: str = "") -> None:
    """Draw a deformation: lines from some cells along their displacement (n, 2), on the strain (n,).

    Lines are drawn longer than the displacement by the factor in the title.
    """
    frame(ax, xy)
    rows = _drawn(len(xy))
    x, y = xy[rows].T
    points = ax.scatter(
        x, y, c=strain[rows] * 100, s=_size(ax, xy[rows]), lw=0, cmap=COLOR_MAP, rasterized=True
    )
    side = float(np.ptp(xy, axis=0).max()) / 20 or 1.0
    _, some = np.unique(np.floor(xy / side), axis=0, return_index=True)
    longest = float(np.linalg.norm(displacement[some], axis=1).max())
    factor = max(round(side / longest), 1) if longest > 0 else 1
    ink = mpl.rcParams["text.color"]
    lines = np.stack([xy[some], xy[some] + factor * displacement[some]], axis=1)
    ax.add_collection(LineCollection(list(lines), colors=ink, lw=1.0))
    ax.plot(*xy[some].T, ls="", marker="o", ms=1.5, mew=0, color=ink)
    ax.set_title(f"displacement × {factor}", fontsize=8)
    color_bar([ax], points, "strain in %")
    scale_bar(ax, unit)


def placed_cells(placed: Mapping[str, NDArray]) -> tuple[NDArray, Coloring]:
    """Cells of all slices in one frame, in an order in which no slice covers the others, colored by slice."""
    xy = np.concatenate([np.asarray(v, float)[:, :2] for v in placed.values()])
    names = np.repeat(list(placed), [len(v) for v in placed.values()])
    order = np.random.default_rng(0).permutation(len(xy))
    return xy[order], Coloring.of(pd.Series(pd.Categorical(names[order], categories=list(placed))))


def _scatter(ax: Axes, xy: NDArray, colors: str | NDArray) -> None:
    rows = _drawn(len(xy))
    c = colors if isinstance(colors, str) else colors[rows]
    ax.scatter(xy[rows, 0], xy[rows, 1], s=_size(ax, xy[rows]), c=c, alpha=0.7, lw=0, rasterized=True)


def _drawn(n: int) -> NDArray[np.int64]:
    if n <= MOST:
        return np.arange(n)
    return np.sort(np.random.default_rng(0).permutation(n)[:MOST])


def _size(ax: Axes, xy: NDArray) -> float:
    """Area of a mark, in square points: some half as wide as cells lie apart, so that what is below shows."""
    spacing = cell_spacing(xy) if len(xy) > 2 else 0.0
    ax.apply_aspect()
    point = ax.transData.transform(np.array([[0.0, 0.0], [spacing, 0.0]]))
    width = abs(float(point[1, 0] - point[0, 0])) * 72 / ax.figure.dpi
    return float(np.clip(0.6 * width, 1.0, 6.0)) ** 2
