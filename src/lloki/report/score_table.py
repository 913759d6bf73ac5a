"""The table of methods and metrics that readers of scIB know: circles for metrics, bars for their means."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Colormap, LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Rectangle

TEXT, DIM, LINE, STRIPE = "#1b1f24", "#59616b", "#c9ced6", "#f4f5f7"
_ROW, _CIRCLE, _BAR, _GAP, _HEAD = 0.46, 0.74, 1.05, 0.22, 0.78  # inches
_NAME_CHARACTERS = 34  # after which a name goes on in a second line
# From pale to dark, each of one hue; told apart with any color vision, and white text shows on the dark.
_HUES = (
    ("#e3f0ea", "#00734f"),
    ("#e1edf7", "#0b5a94"),
    ("#f3e6f0", "#8a3a74"),
    ("#fbeed5", "#c47f12"),
)


@dataclass(frozen=True)
class Group:
    """Columns that belong together.

    Attributes
    ----------
    title
        Above them.
    columns
        Column of the table → heading.
    bars
        Draw bars from 0 to 1 in place of circles.
    """

    title: str
    columns: Mapping[str, str]
    bars: bool = False


def score_table(
    values: pd.DataFrame,
    groups: Sequence[Group],
    *,
    spread: pd.DataFrame | None = None,
    footnote: str = "",
) -> Figure:
    """Draw a table of scores, a row a method.

    Parameters
    ----------
    values
        A row a method (its name in the index), a column a metric: from 0 to 1, higher is better, or NaN.
        Rows are drawn in their order.
    groups
        Which columns to draw, in their order. Size and shade of a circle stand for its place between the
        worst and the best of its column, its number is the value; the best of a column is bold.
    spread
        Standard deviations of the same shape, written beside the values of bars where they are not NaN.
    footnote
        Below the table, wrapped to its width.

    Returns
    -------
    matplotlib.figure.Figure
        As large as it needs to be: nothing is clipped, however long a name.
    """
    names = ["\n".join(textwrap.wrap(str(n), _NAME_CHARACTERS)) or " " for n in values.index]
    left = 0.15 + max((_text_width(line, 10) for n in names for line in n.splitlines()), default=1.0) + 0.25
    starts, x = [], left
    for group in groups:
        starts.append(x)
        x += len(group.columns) * (_BAR if group.bars else _CIRCLE) + _GAP
    width = x
    notes = textwrap.wrap(footnote, max(int((width - 0.3) / 0.064), 40))
    height = 0.15 + _HEAD + _ROW * len(values) + 0.2 + 0.16 * len(notes) + 0.1
    figure, ax = _canvas(width, height)
    top = 0.15 + _HEAD
    for i, name in enumerate(names):
        y = top + _ROW * i
        if i % 2 == 0:
            ax.add_patch(Rectangle((0.05, y), width - 0.1, _ROW, color=STRIPE, lw=0, zorder=0))
        _write(ax, 0.15, y + _ROW / 2, name, size=10, ha="left", color=TEXT)
    for i, (group, start) in enumerate(zip(groups, starts)):
        hue = LinearSegmentedColormap.from_list("hue", _HUES[i % len(_HUES)])
        _group(ax, group, start, top, hue, values, spread)
    ax.plot([0.05, width - 0.05], [top, top], color=TEXT, lw=1)
    bottom = top + _ROW * len(values)
    ax.plot([0.05, width - 0.05], [bottom, bottom], color=LINE, lw=1)
    for i, line in enumerate(notes):
        _write(ax, 0.15, bottom + 0.2 + 0.16 * i, line, size=8, ha="left", color=DIM)
    return figure


def _group(
    ax: Axes,
    group: Group,
    start: float,
    top: float,
    hue: Colormap,
    values: pd.DataFrame,
    spread: pd.DataFrame | None,
) -> None:
    step = _BAR if group.bars else _CIRCLE
    end = start + step * len(group.columns)
    _write(ax, (start + end) / 2, 0.32, group.title, size=10, va="baseline", weight="bold", color=hue(1.0))
    ax.plot([start + 0.05, end - 0.05], [0.4, 0.4], color=hue(1.0), lw=1.5)
    for j, (column, title) in enumerate(group.columns.items()):
        x = start + step * j
        heading = "\n".join(textwrap.wrap(title, 9, break_long_words=False))
        _write(ax, x + step / 2, top - 0.06, heading, size=8, va="bottom", color=DIM)
        own = values[column].to_numpy(float)
        scaled = _scaled(own)
        for i, value in enumerate(own):
            y = top + _ROW * (i + 0.5)
            if not np.isfinite(value):
                _write(ax, x + step / 2, y, "–", size=9, color=DIM)
                continue
            weight = "bold" if value == np.nanmax(own) and len(own) > 1 else "normal"
            if group.bars:
                sd = np.nan if spread is None else float(spread[column].iloc[i])
                _bar(ax, x, y, value, sd, hue(0.35 + 0.35 * scaled[i]), weight)
            else:
                color = hue(0.95 * scaled[i])
                # area, not radius, from half to full: the number fits into the smallest
                ax.add_patch(
                    Circle((x + step / 2, y), 0.21 * np.sqrt(0.55 + 0.45 * scaled[i]), color=color, lw=0)
                )
                shown = f"{value:.2f}"
                _write(ax, x + step / 2, y, shown, size=8, weight=weight, color=_readable(color))


def _bar(ax: Axes, x: float, y: float, value: float, sd: float, color: Any, weight: str) -> None:
    full = _BAR - 0.12
    ax.add_patch(Rectangle((x + 0.06, y - 0.13), full, 0.26, fill=False, ec=LINE, lw=0.6))
    ax.add_patch(Rectangle((x + 0.06, y - 0.13), full * min(max(value, 0), 1), 0.26, color=color, lw=0))
    shown = f"{value:.3f}" + (f" ± {sd:.3f}" if np.isfinite(sd) else "")
    _write(ax, x + 0.1, y, shown, size=7.5, ha="left", weight=weight, color=TEXT)


def _scaled(values: np.ndarray) -> np.ndarray:
    """Place between the worst and the best; all are the best if there is no difference."""
    known = values[np.isfinite(values)]
    span = np.ptp(known) if len(known) else 0.0
    return (values - known.min()) / span if span > 0 else np.ones(len(values))


def _readable(color: Any) -> str:
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in color[:3])
    return "white" if 0.2126 * red + 0.7152 * green + 0.0722 * blue < 0.3 else TEXT


def _write(ax: Axes, x: float, y: float, text: str, **style: Any) -> None:
    style = {"parse_math": False, "ha": "center", "va": "center", "linespacing": 1.05} | {
        {"size": "fontsize", "weight": "fontweight"}.get(k, k): v for k, v in style.items()
    }
    ax.text(x, y, text, None, **style)  # without mathematics: a "$" in a name is a dollar


def _text_width(text: str, size: float) -> float:
    """Width in inches."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    if not text.strip():
        return 0.0
    return (
        float(TextPath((0, 0), text.replace("$", "s"), size=size, prop=FontProperties()).get_extents().x1)
        / 72
    )


def _canvas(width: float, height: float) -> tuple[Figure, Axes]:
    """One axes over the whole figure whose unit is the inch, y downwards, so that circles are round."""
    figure = Figure(figsize=(width, height), facecolor="white")
    FigureCanvasAgg(figure)
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set_xlim(0, width)
    ax.set_ylim(height, 0)
    ax.set_axis_off()
    return figure, ax
