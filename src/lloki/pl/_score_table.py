"""The table of methods and metrics that readers of scIB know: circles for metrics, bars for their means."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Colormap
from matplotlib.figure import Figure

from lloki.errors import MissingExtraError

_MAPS = ("Greens", "Blues", "Purples")
_NAME, _CELL = 2.6, 0.85  # inches
_ROW, _HEAD, _LINE = 0.55, 1.3, 0.17


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


def score_table_size(
    values: pd.DataFrame, groups: Sequence[Group], footnote: str = ""
) -> tuple[float, float]:
    """Inches that `score_table` needs."""
    width = _NAME + _CELL * sum(len(g.columns) for g in groups)
    return width, _ROW * len(values) + _HEAD + _LINE * (len(_lines(footnote, width)) + 1)


def score_table(
    figure: Figure,
    values: pd.DataFrame,
    groups: Sequence[Group],
    *,
    spread: pd.DataFrame | None = None,
    footnote: str = "",
) -> Axes:
    """Draw a table of scores, a row a method.

    Parameters
    ----------
    figure
        Where to draw.
    values
        A row a method (its name in the index), a column a metric: from 0 to 1, higher is better, or NaN.
        Rows are drawn in their order.
    groups
        Which columns to draw, in their order. The shade of a circle shows its place between the worst and the
        best of its column; its number is the value.
    spread
        Standard deviations of the same shape, written beside the values of bars where they are not NaN.
    footnote
        Below the table, wrapped to its width.

    Raises
    ------
    MissingExtraError
        If plottable is not installed.
    """
    try:
        from plottable import ColumnDefinition, Table
        from plottable.plots import bar
    except ImportError as error:
        raise MissingExtraError("plottable", "benchmark", "The table of scores") from error

    shown = values[[c for g in groups for c in g.columns]].astype(float)
    shown.index = pd.Index(
        ["\n".join(textwrap.wrap(_plain(n), 34)) or " " for n in values.index], name="method"
    )
    columns = [ColumnDefinition("method", title="", width=_NAME / _CELL, textprops={"ha": "left"})]
    for i, group in enumerate(groups):
        colors = mpl.colormaps[_MAPS[i % len(_MAPS)]]
        for j, (column, title) in enumerate(group.columns.items()):
            heading = "\n".join(textwrap.wrap(_plain(title), 10, break_long_words=False))
            about: dict[str, Any] = {
                "title": heading,
                "group": group.title,
                "border": "left" if j == 0 else None,
            }
            if group.bars:
                about |= {
                    "plot_fn": bar,
                    "plot_kw": {"color": colors(0.45), "plot_bg_bar": True, "height": 0.7, "lw": 0.6},
                }
            else:
                about |= {
                    "cmap": _shades(shown[column], colors),
                    "formatter": lambda v: f"{v:.2f}" if np.isfinite(v) else "–",
                    "textprops": {"bbox": {"boxstyle": "circle", "pad": 0.3}},
                }
            columns.append(ColumnDefinition(column, width=1.0, **about))
    bars = {c for g in groups if g.bars for c in g.columns}
    width, height = figure.get_size_inches()
    notes = _lines(footnote, width)
    below = _LINE * (len(notes) + 1) / height
    ax = figure.add_axes((0, below, 1, 1 - below))
    table = Table(
        shown,
        column_definitions=columns,
        ax=ax,
        textprops={"fontsize": 8, "ha": "center"},
        row_divider_kw={"lw": 0.5},
        footer_divider=True,
    )
    table.autoset_fontcolors(colnames=[c for c in shown if c not in bars])
    for at, column in enumerate((c for g in groups for c in g.columns), start=1):
        if column not in bars:
            continue
        for i, value in enumerate(shown[column]):
            sd = np.nan if spread is None else float(spread[column].iloc[i])
            text = f"{value:.2f}" + (f" ± {sd:.2f}" if np.isfinite(sd) else "") if np.isfinite(value) else "–"
            table.cells[i, at].axes_inset.text(0.05, 0.5, text, fontsize=7.5, va="center")
    figure.text(
        0.1 / width, 0.5 * _LINE / height, "\n".join(notes), fontsize=8, va="bottom", parse_math=False
    )
    return ax


def _shades(values: pd.Series, colors: Colormap) -> Callable[[float], Any]:
    """Color values by their place between the worst and the best; all are the best if they are equal."""
    low, span = values.min(), values.max() - values.min()

    def shade(value: float) -> Any:
        if not np.isfinite(value):
            return (1.0, 1.0, 1.0, 0.0)
        return colors(0.1 + 0.75 * ((value - low) / span if span > 0 else 1.0))

    return shade


def _plain(name: object) -> str:
    """Keep a "$" in a name from starting mathematics."""
    return str(name).replace("$", r"\$")


def _lines(footnote: str, width: float) -> list[str]:
    return textwrap.wrap(footnote, max(int(width / 0.064), 40))
