"""The figures: arrays in, matplotlib ``Figure`` out, no global state.

Figures bear no names from the data and no legends: the page (or `lloki.pl`) adds those around them, where
text can wrap. Backgrounds are transparent and everything that is not data is drawn in `ink`.
"""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Mapping

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from lloki.report.palette import OTHER, distinct_colors

WIDTH = 3.6  # inches: a third of a desktop page, the full width of a phone
INK = "#010203"  # stands for the page's text color, see `to_svg`
BEFORE, TARGET, AFTER = OTHER, "#d55e00", "#56b4e9"
_PNG_PREFIX = "data:image/png;base64,"
_PNG = re.compile(_PNG_PREFIX + r"\s*([A-Za-z0-9+/=\s]+)")
_NO_METADATA: dict[str, str | None] = {"Date": None, "Creator": None, "Format": None, "Type": None}
_POINTS = 72.0  # points in an inch


def embedding(xy: NDArray, colors: ArrayLike, *, seed: int = 0) -> Figure:
    """Draw a two-dimensional embedding.

    Parameters
    ----------
    xy
        Positions (n, 2); rows that are not finite are left out.
    colors
        Color of every row (n,), as ``#rrggbb``.
    seed
        Points are drawn in an order shuffled by it, so that no category covers the others; those in the gray
        of cells without a category lie beneath.
    """
    figure, ax = _blank(WIDTH, WIDTH)
    # Points of a UMAP pile up: half the size that would tile the square.
    draw_points(ax, xy, colors, fill=0.28, shuffle=np.random.default_rng(seed))
    return figure


def section(xy: NDArray, colors: ArrayLike, *, ink: str = INK) -> Figure:
    """Draw cells where they lie: equal aspect, y downwards as on a microscope's screen, a scale bar.

    Parameters
    ----------
    xy
        Centroids (n, 2 or more); the first two columns are drawn, rows that are not finite left out.
    colors
        Color of every row (n,), as ``#rrggbb``.
    ink
        Color of the scale bar and its number, which is in the units of ``xy``.
    """
    xy = np.asarray(xy, dtype=float)[:, :2]
    extent = _extent(xy)
    ratio = float(np.clip(extent[1] / extent[0], 0.4, 1.6))
    figure, ax = _blank(WIDTH, WIDTH * ratio + 0.3)
    ax.set_aspect("equal")
    draw_points(ax, xy, colors, fill=0.5)
    ax.invert_yaxis()
    scale_bar(ax, float(extent[0]), ink)
    return figure


def sparsity_curves(before: NDArray, target: NDArray, after: NDArray, *, ink: str = INK) -> Figure:
    """Draw the share of cells up to each sparsity, before and after LLOKI-FP and as aimed for.

    Parameters
    ----------
    before, target, after
        Share of a cell's panel genes that are zero, (n,) each, in [0, 1].
    """
    figure, ax = plot_area(ink, WIDTH * 0.72)
    share = np.linspace(0, 1, 201)
    styles = (
        ("before", before, BEFORE, "-", 2.2),
        ("target", target, TARGET, "-", 3.6),
        ("after", after, AFTER, "--", 2.0),
    )
    for name, values, color, line, width in styles:
        values = np.asarray(values, dtype=float)
        values = values[np.isfinite(values)]
        if values.size:
            ax.plot(np.quantile(values, share), share * 100, color=color, ls=line, lw=width, label=name)
    ax.set_xlabel("share of genes at zero in a cell")
    ax.set_ylabel("% of cells, cumulative")
    legend(ax, ink)
    return figure


def loss_curves(steps: NDArray, series: Mapping[str, NDArray], *, ink: str = INK, most: int = 400) -> Figure:
    """Draw losses against optimizer steps.

    Parameters
    ----------
    steps
        Step of every value (n,).
    series
        Name → values (n,); NaN where a loss was not computed at that step.
    most
        A longer series is drawn as the means of this many stretches.
    """
    figure, ax = plot_area(ink, WIDTH * 0.72)
    colors = distinct_colors(max(len(series), 2))
    largest, smallest = 0.0, np.inf
    for i, (name, values) in enumerate(series.items()):
        x, y = _thinned(np.asarray(steps, dtype=float), np.asarray(values, dtype=float), most)
        if x.size:
            marker = "o" if x.size < 3 else None
            ax.plot(x, y, color=colors[i], ls=("-", "--")[i % 2], lw=1.6, marker=marker, label=name)
            largest, smallest = max(largest, y.max()), min(smallest, y.min())
    if smallest > 0 and largest / smallest > 30:
        ax.set_yscale("log")
    ax.set_xlabel("optimizer step")
    ax.set_ylabel("loss")
    if len(series) > 1:
        legend(ax, ink)
    return figure


def to_svg(figure: Figure, *, salt: str, dpi: int = 200) -> str:
    """Return the figure as an ``<svg>`` element whose text takes the color and font of the page around it.

    Point clouds inside are pictures, so the size does not grow with the number of cells;
    lines and text are vectors. The same figure gives the same text.

    Parameters
    ----------
    salt
        Goes into the ids of the element; differs between the figures of one page.
    dpi
        Dots an inch of these pictures.
    """
    buffer = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": salt}):
        figure.savefig(buffer, format="svg", transparent=True, dpi=dpi, metadata=_NO_METADATA)
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :].replace(INK, "currentColor").rstrip()
    return _PNG.sub(lambda found: _PNG_PREFIX + _fewer_colors(found[1]), svg)


def _fewer_colors(encoded: str) -> str:
    """Store a point cloud with a palette of 256 colors instead of four channels: a quarter of the size."""
    picture = Image.open(io.BytesIO(base64.b64decode(encoded)))
    buffer = io.BytesIO()
    picture.quantize(256, method=Image.Quantize.FASTOCTREE).save(buffer, format="PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()


def draw_points(
    ax: Axes, xy: NDArray, colors: ArrayLike, *, fill: float, shuffle: np.random.Generator | None = None
) -> None:
    """Draw points sized to their number: together they would cover about ``fill`` of the axes."""
    xy, colors = np.asarray(xy, dtype=float)[:, :2], np.asarray(colors, dtype=str)
    rows = np.flatnonzero(np.isfinite(xy).all(axis=1))
    if shuffle is not None:
        rows = shuffle.permutation(rows)
        rows = rows[np.argsort(colors[rows] != OTHER, kind="stable")]
    if not rows.size:
        ax.text(0.5, 0.5, "no cells to draw", transform=ax.transAxes, ha="center", va="center", color=INK)
        return
    figure = ax.get_figure()
    box = ax.get_position()
    width, height = figure.get_size_inches() * [box.width, box.height] * _POINTS  # type: ignore[union-attr]
    diameter = float(np.clip(2 * np.sqrt(fill * width * height / rows.size / np.pi), 0.7, 7.0))
    ax.scatter(xy[rows, 0], xy[rows, 1], s=diameter**2, c=colors[rows], linewidths=0, rasterized=True)
    low, extent = xy[rows].min(axis=0), _extent(xy[rows])
    left, top = low - 0.03 * extent
    right, bottom = low + 1.03 * extent
    ax.set_xlim(left, right)
    ax.set_ylim(top, bottom)


def _extent(xy: NDArray) -> NDArray:
    """Width and height of the points, never 0."""
    xy = xy[np.isfinite(xy).all(axis=1)]
    size = np.ptp(xy, axis=0) if len(xy) else np.ones(2)
    return np.where(size > 0, size, max(float(size.max()), 1.0))


def _blank(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set_axis_off()
    return figure, ax


def plot_area(ink: str, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    FigureCanvasAgg(figure)
    ax = figure.add_subplot()
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(ink)
    ax.tick_params(colors=ink, labelsize=8, which="both")
    for label in (ax.xaxis.label, ax.yaxis.label):
        label.set(color=ink, fontsize=9)
    ax.grid(color=OTHER, alpha=0.25, lw=0.6)
    return figure, ax


def legend(ax: Axes, ink: str) -> None:
    if ax.get_legend_handles_labels()[0]:
        ax.legend(frameon=False, fontsize=8, labelcolor=ink)


def _thinned(x: NDArray, y: NDArray, most: int) -> tuple[NDArray, NDArray]:
    """Finite values, in stretches of equal length replaced by their means where there are too many."""
    known = np.isfinite(x) & np.isfinite(y)
    x, y = x[known], y[known]
    if x.size <= most:
        return x, y
    starts = np.linspace(0, x.size, most, endpoint=False).astype(int)
    sizes = np.diff([*starts, x.size])
    return np.add.reduceat(x, starts) / sizes, np.add.reduceat(y, starts) / sizes


def scale_bar(ax: Axes, width: float, ink: str) -> None:
    """Draw a bar of a round length, about a fifth of the width, below the section."""
    step = 10.0 ** np.floor(np.log10(width / 5))
    length = step * max(m for m in (1, 2, 5) if m * step <= width / 5 * 1.001)
    left, right = ax.get_xlim()
    bottom, top = ax.get_ylim()  # y runs downwards, so bottom > top
    line = bottom + 0.05 * (bottom - top)
    ax.set_ylim(bottom + 0.1 * (bottom - top), top)
    start = left + 0.03 * (right - left)
    ax.plot([start, start + length], [line, line], color=ink, lw=2, solid_capstyle="butt")
    ax.text(start + length + 0.02 * (right - left), line, f"{length:g}", color=ink, fontsize=9, va="center")
