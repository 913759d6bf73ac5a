"""Figures of slice alignment: arrays in, matplotlib ``Figure`` out, as in `lloki.report.figures`."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from numpy.typing import NDArray

from lloki.align import AlignResult
from lloki.align._evidence import z_score
from lloki.align.extent import cell_spacing
from lloki.report.figures import INK, WIDTH, legend, plot_area, scale_bar
from lloki.report.palette import OTHER

FIXED, MOVING = "#0072b2", "#e69f00"
MOST = 20_000  # cells drawn of a slice: more cannot be told apart
_MAP = "viridis"
_TITLE = 0.3  # inches
_DEGREES = np.arange(-180, 181, 90)


def overlay(
    fixed_xy: NDArray, moving_xy: NDArray, moved: NDArray, in_overlap: NDArray, *, ink: str = INK
) -> Figure:
    """Draw two slices on one another, before and after.

    Parameters
    ----------
    fixed_xy, moving_xy, moved
        (n, 2), (m, 2) and (m, 2). Before, the moving slice is drawn as it was given, but with its middle on
        the fixed slice's: frames may lie anywhere.
    in_overlap
        (m,) bool: the others are drawn gray, after.
    ink
        Color of the text and of the scale bar, which is in the unit of the fixed slice.
    """
    before = moving_xy - np.median(moving_xy, axis=0) + np.median(fixed_xy, axis=0)
    figure, axes = _pair(fixed_xy, before, moved)
    colors = [np.full(len(moved), MOVING), np.where(in_overlap, MOVING, OTHER)]
    for ax, title, xy, color in zip(axes, ("before", "after"), (before, moved), colors):
        _frame(ax, fixed_xy, xy)
        _scatter(ax, fixed_xy, FIXED)
        _scatter(ax, xy, color)
        ax.set_title(title, fontsize=9, color=ink)
        scale_bar(ax, float(np.ptp(ax.get_xlim())), ink)
    return figure


def residuals(result: AlignResult, *, ink: str = INK) -> Figure:
    """Draw where the landmarks are, and how far each pair is apart: a line from moved to fixed cell.

    Only pairs of at least median confidence are drawn. Lines that point one way over a stretch of tissue
    show what a rigid transform cannot fix.
    """
    figure, ax = _square(result.moved)
    _frame(ax, result.moved)
    _scatter(ax, result.moved, OTHER)
    marks = result.landmarks
    if len(marks):
        keep = marks.confidence >= np.median(marks.confidence)
        start, off = result.moved[marks.moving[keep]], result.residuals[keep]
        length = np.linalg.norm(off, axis=1)
        norm = mpl.colors.Normalize(0, max(float(np.quantile(length, 0.95)), 1e-9))
        lines = LineCollection(list(np.stack([start, start + off], axis=1)), cmap=_MAP, norm=norm, lw=1.2)
        lines.set_array(length)
        ax.add_collection(lines)
        _bar(figure, ax, lines, "distance of matched cells", ink)
    scale_bar(ax, float(np.ptp(ax.get_xlim())), ink)
    return figure


def rotation_curve(result: AlignResult, *, ink: str = INK) -> Figure:
    """Draw the z-score of the best translation at every rotation, plain and mirrored, and the answer.

    These are the scores of the search, on coarse images; those of the verdict, on finer ones, differ.
    """
    figure, ax = plot_area(ink, WIDTH * 0.72)
    degrees = (result.curve.degrees + 180) % 360 - 180
    order = np.argsort(degrees)
    for values, name, color, style in (
        (result.curve.plain, "as it is", FIXED, "-"),
        (result.curve.mirrored, "mirrored", MOVING, "--"),
    ):
        z = np.array([z_score(v) for v in values])
        ax.plot(degrees[order], z[order], color=color, ls=style, lw=1.4, label=name)
    if len(degrees):
        color = MOVING if result.transform.reflected else FIXED
        ax.axvline(result.transform.degrees, color=color, lw=5, alpha=0.25)
    ax.set(xlim=(-180, 180), ylim=(0, None), xlabel="rotation in degrees", ylabel="agreement (z-score)")
    ax.set_xticks(_DEGREES)
    legend(ax, ink)
    return figure


def deformation(xy: NDArray, displacement: NDArray, strain: NDArray, *, ink: str = INK) -> Figure:
    """Draw a deformation: lines from some cells along their displacement (n, 2), on the strain (n,).

    Lines are drawn longer than the displacement by the factor that stands below.
    """
    figure, ax = _square(xy)
    _frame(ax, xy)
    rows = _drawn(len(xy))
    x, y = xy[rows].T
    points = ax.scatter(x, y, c=strain[rows] * 100, s=_size(ax, xy[rows]), lw=0, cmap=_MAP, rasterized=True)
    side = float(np.ptp(xy, axis=0).max()) / 20 or 1.0
    _, some = np.unique(np.floor(xy / side), axis=0, return_index=True)
    longest = float(np.linalg.norm(displacement[some], axis=1).max())
    factor = max(round(side / longest), 1) if longest > 0 else 1
    lines = np.stack([xy[some], xy[some] + factor * displacement[some]], axis=1)
    ax.add_collection(LineCollection(list(lines), colors=ink, lw=1.0))
    ax.plot(*xy[some].T, ls="", marker="o", ms=1.5, mew=0, color=ink)
    ax.text(0.5, 0.0, f"displacement × {factor}", transform=ax.transAxes, fontsize=8, color=ink, ha="center")
    _bar(figure, ax, points, "strain in %", ink)
    scale_bar(ax, float(np.ptp(ax.get_xlim())), ink)
    return figure


def _square(xy: NDArray) -> tuple[Figure, Axes]:
    width, height = np.maximum(np.ptp(xy, axis=0), 1e-9) if len(xy) else (1, 1)
    ratio = float(np.clip(height / width, 0.4, 1.6))
    figure = Figure(figsize=(WIDTH * 1.2, WIDTH * ratio + 0.3))
    FigureCanvasAgg(figure)
    ax = figure.add_axes((0, 0, 1 / 1.2, 1))
    ax.set_axis_off()
    return figure, ax


def _pair(*clouds: NDArray) -> tuple[Figure, list[Axes]]:
    size = np.max([np.ptp(c, axis=0) for c in clouds if len(c)], axis=0)
    ratio = float(np.clip(size[1] / max(size[0], 1e-9), 0.4, 1.6))
    height = WIDTH * ratio + _TITLE
    figure = Figure(figsize=(2 * WIDTH, height))
    FigureCanvasAgg(figure)
    axes = [figure.add_axes((0.5 * i, 0, 0.5, 1 - _TITLE / height)) for i in range(2)]
    for ax in axes:
        ax.set_axis_off()
        ax.set_anchor("N")
    return figure, axes


def _frame(ax: Axes, *clouds: NDArray) -> None:
    """Equal aspect, y downwards, everything within."""
    points = np.concatenate([c[np.isfinite(c).all(1)] for c in clouds])
    low, high = points.min(0), points.max(0)
    margin = 0.03 * max(float((high - low).max()), 1e-9)
    ax.set_aspect("equal")
    ax.set_xlim(low[0] - margin, high[0] + margin)
    ax.set_ylim(high[1] + margin, low[1] - margin)
    ax.apply_aspect()  # now, for the size of marks depends on it


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
    point = ax.transData.transform(np.array([[0.0, 0.0], [spacing, 0.0]]))
    width = abs(float(point[1, 0] - point[0, 0])) * 72 / ax.get_figure().dpi  # type: ignore[union-attr]
    return float(np.clip(0.6 * width, 1.0, 6.0)) ** 2


def _bar(figure: Figure, ax: Axes, mappable: mpl.cm.ScalarMappable, title: str, ink: str) -> None:
    box = ax.get_position()
    bar = figure.colorbar(mappable, cax=figure.add_axes((box.x1 + 0.01, 0.15, 0.03, 0.7)))
    bar.set_label(title, color=ink, fontsize=8)
    bar.ax.tick_params(colors=ink, labelsize=7)
    bar.outline.set_visible(False)
