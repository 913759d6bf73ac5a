"""Cells as points on Axes: in an embedding, or where they lie."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from numpy.typing import NDArray

from lloki.pl._coloring import Shade

_POINTS = 72.0  # points in an inch
_MARGIN = 0.03  # around the cells, of their extent
_CLOUD, _TISSUE = 0.28, 0.5  # share of the Axes that points would cover side by side: those of a UMAP pile up


def embedding(
    ax: Axes, xy: NDArray, shade: Shade, *, size: float | None = None, seed: int = 0
) -> PathCollection | None:
    """Draw a two-dimensional embedding on square Axes without a frame.

    Parameters
    ----------
    ax
        Where to draw.
    xy
        (n, 2 or more); the first two columns are drawn, rows that are not finite are left out.
    shade
        Colors of the n cells.
    size
        Area of a point in square points; default by their number.
    seed
        Random seed. Cells are drawn in an order shuffled by it, so that no category covers the others; those
        in gray lie beneath.
    """
    ax.set_axis_off()
    ax.set_box_aspect(1)
    ax.set_anchor("W")  # beside its legend
    width, height = _inches(ax)
    area = min(width, height) ** 2
    points = _draw(ax, xy, shade, size, _CLOUD * area, np.random.default_rng(seed))
    if points is not None:
        low, extent = _extent(np.asarray(points.get_offsets()))
        ax.set_xlim(low[0] - _MARGIN * extent[0], low[0] + (1 + _MARGIN) * extent[0])
        ax.set_ylim(low[1] - _MARGIN * extent[1], low[1] + (1 + _MARGIN) * extent[1])
    return points


def section(
    ax: Axes, xy: NDArray, shade: Shade, *, size: float | None = None, unit: str = "", title: str = ""
) -> PathCollection | None:
    """Draw cells where they lie: equal aspect, y downwards as on a microscope's screen, a scale bar.

    Parameters
    ----------
    ax, xy, shade, size
        As in `embedding`.
    unit
        Unit of ``xy``, written beside the scale bar.
    title
        Above the Axes.
    """
    xy = np.asarray(xy, float)
    width, height = _inches(ax)
    _, extent = _extent(xy)
    scale = min(width / extent[0], height / extent[1])  # inches in a unit
    points = _draw(ax, xy, shade, size, _TISSUE * float(extent.prod()) * scale**2)
    frame(ax, xy)
    scale_bar(ax, unit)
    if title:
        ax.set_title(title, fontsize=9, parse_math=False)
    return points


def section_ratio(xy: NDArray) -> float:
    """Height over width of a panel that fits the cells (n, 2)."""
    _, extent = _extent(np.asarray(xy, float))
    return float(np.clip(extent[1] / extent[0], 0.4, 1.6))


def frame(ax: Axes, *clouds: NDArray) -> None:
    """Set equal aspect and y downwards, with all points of the clouds (n, 2) inside and no frame."""
    low, extent = _extent(np.concatenate([np.asarray(c, float)[:, :2] for c in clouds]))
    margin = _MARGIN * float(extent.max())
    ax.set_axis_off()
    ax.set_aspect("equal", anchor="N")
    ax.set_xlim(low[0] - margin, low[0] + extent[0] + margin)
    ax.set_ylim(low[1] + extent[1] + margin, low[1] - margin)


def scale_bar(ax: Axes, unit: str = "") -> None:
    """Draw a bar of a round length, about a fifth of the width, below the section."""
    left, right = ax.get_xlim()
    bottom, top = ax.get_ylim()  # y runs downwards, so bottom > top
    width = right - left
    step = 10.0 ** np.floor(np.log10(width / 5))
    length = step * max(m for m in (1, 2, 5) if m * step <= width / 5 * 1.001)
    line = bottom + 0.05 * (bottom - top)
    ax.set_ylim(bottom + 0.1 * (bottom - top), top)
    start, color = left + 0.03 * width, mpl.rcParams["text.color"]
    ax.plot([start, start + length], [line, line], color=color, lw=2, solid_capstyle="butt")
    ax.text(start + length + 0.02 * width, line, f"{length:g} {unit}".strip(), fontsize=8, va="center")


def _draw(
    ax: Axes,
    xy: NDArray,
    shade: Shade,
    size: float | None,
    area: float,
    shuffle: np.random.Generator | None = None,
) -> PathCollection | None:
    """Draw points; without a size they would cover ``area`` square inches side by side."""
    xy = np.asarray(xy, float)[:, :2]
    rows = np.flatnonzero(np.isfinite(xy).all(axis=1))
    if not rows.size:
        ax.text(0.5, 0.5, "no cells to draw", transform=ax.transAxes, ha="center", va="center")
        return None
    rows = shade.upwards(rows if shuffle is None else shuffle.permutation(rows))
    if size is None:
        size = float(np.clip(2 * np.sqrt(area / rows.size / np.pi) * _POINTS, 0.7, 7.0)) ** 2
    return ax.scatter(xy[rows, 0], xy[rows, 1], s=size, lw=0, rasterized=True, **shade.style(rows))


def _inches(ax: Axes) -> tuple[float, float]:
    """Width and height that the Axes have, before the layout of the figure is final."""
    figure, spec = ax.figure, ax.get_subplotspec()
    width, height = figure.bbox.width / figure.dpi, figure.bbox.height / figure.dpi
    if spec is not None and figure.figure.get_layout_engine() is not None:
        rows, columns, *_ = spec.get_geometry()
        return 0.9 * width / columns, 0.85 * height / rows
    box = ax.get_position()
    return width * box.width, height * box.height


def _extent(xy: NDArray) -> tuple[NDArray, NDArray]:
    """Lowest coordinates, and width and height of the points, never 0."""
    xy = xy[np.isfinite(xy[:, :2]).all(axis=1), :2]
    if not len(xy):
        return np.zeros(2), np.ones(2)
    size = np.ptp(xy, axis=0)
    return xy.min(axis=0), np.where(size > 0, size, max(float(size.max()), 1.0))
