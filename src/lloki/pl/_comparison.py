"""Differences between conditions on Axes, from tables of `lloki.compare`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from numpy.typing import NDArray

from lloki.pl._figures import color_bar, plain, plot_style
from lloki.pl._palette import COLORS, DIVERGING, OTHER

_FOUND, _PANEL = COLORS[4], COLORS[0]
ROW = 0.22  # inches of a row of `forest`


def forest(
    ax: Axes,
    names: Sequence[str],
    table: pd.DataFrame,
    alpha: float,
    *,
    label: str,
    by_panel: bool = False,
) -> None:
    """Draw effects with their intervals, the first at the top; findings in color.

    Parameters
    ----------
    ax
        Where to draw.
    names
        (n,) of the rows.
    table
        (n) rows of effect, low, high, q_value and panel_effects.
    alpha
        Largest q-value of a finding.
    label
        Of the axis.
    by_panel
        Draw the effect on each panel as a small ring, where there are several.
    """
    at = np.arange(len(table))
    effect, low, high = (table[c].to_numpy(float) for c in ("effect", "low", "high"))
    found = table["q_value"].to_numpy(float) <= alpha
    ax.axvline(0, color=OTHER, lw=1)
    for which, color in ((~found, OTHER), (found, _FOUND)):
        ax.hlines(at[which], low[which], high[which], color=color, lw=1.6)
        ax.plot(effect[which], at[which], "o", color=color, ms=5)
    if by_panel:
        for y, text in zip(at, table["panel_effects"].astype(str)):
            values = [float(v) for v in text.split(";") if v not in ("nan", "")]
            if len(values) > 1:
                ax.plot(values, np.full(len(values), y), "o", mfc="none", mec=_PANEL, ms=4, mew=0.9)
    plot_style(ax)
    ax.grid(visible=False, axis="y")
    ax.set_yticks(at, names)
    ax.set_ylim(len(table) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)
    ax.set_xlabel(label, parse_math=False)
    plain(ax.get_yticklabels())


def design_grid(ax: Axes, design: pd.DataFrame, control: str) -> None:
    """Draw the number of units of each panel (rows) and condition (columns); gray if not comparable."""
    panel = (design["technology"] + "\n" + design["panel"]).str.rstrip("\n")
    rows = sorted(panel.unique())
    columns = [control, *sorted(set(design["condition"]) - {control})]
    shade = np.full((len(rows), len(columns)), np.nan)
    for name, row in zip(panel, design.to_dict("records")):
        at = rows.index(name), columns.index(row["condition"])
        shade[at] = {"compared": 0, "bridge": 1, "not comparable": 2}[row["role"]]
        text = f"{row['n_units']} unit{'s' if row['n_units'] != 1 else ''}\n{row['role']}"
        ax.text(at[1], at[0], text, ha="center", va="center", fontsize=7, color="white", parse_math=False)
    cmap = ListedColormap([_PANEL, COLORS[2], OTHER])
    ax.imshow(np.ma.masked_invalid(shade), cmap=cmap, vmin=0, vmax=2, aspect="auto")
    ax.set_xticks(range(len(columns)), columns)
    ax.set_yticks(range(len(rows)), rows)
    ax.tick_params(length=0, labelsize=7)
    ax.spines[:].set_visible(False)
    plain([*ax.get_xticklabels(), *ax.get_yticklabels()])


def neighborhoods_by_type(ax: Axes, table: pd.DataFrame, alpha: float, *, label: str) -> None:
    """Draw the effect of every neighborhood in the row of its main type; findings in color."""
    kinds = table["type"].replace("", "no label").to_numpy(str)
    names = sorted(set(kinds), key=lambda k: -float(np.median(table["effect"][kinds == k])))
    spread = np.random.default_rng(0).uniform(-0.25, 0.25, len(table))
    at = np.array([names.index(k) for k in kinds]) + spread
    found = table["q_value"].to_numpy(float) <= alpha
    ax.axvline(0, color=OTHER, lw=1)
    for which, color in ((~found, OTHER), (found, _FOUND)):
        ax.plot(table["effect"][which], at[which], "o", color=color, ms=3, alpha=0.8, mec="none")
    plot_style(ax)
    ax.grid(visible=False, axis="y")
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)
    ax.set_xlabel(label, parse_math=False)
    plain(ax.get_yticklabels())


def contact_map(ax: Axes, contacts: pd.DataFrame, alpha: float, *, label: str) -> None:
    """Draw the change of contacts of every pair of types; findings have a dot; not compared: blank."""
    names = sorted(set(contacts["type"]) | set(contacts["neighbor"]))
    value = np.full((len(names), len(names)), np.nan)
    dots: list[tuple[int, int]] = []
    for row in contacts.to_dict("records"):
        i, j = names.index(row["type"]), names.index(row["neighbor"])
        value[i, j] = value[j, i] = row["effect"]
        if row["q_value"] <= alpha:
            dots += [(i, j), (j, i)]
    end = float(np.nanmax(np.abs(value), initial=1.0)) if np.isfinite(value).any() else 1.0
    image = ax.imshow(np.ma.masked_invalid(value), cmap=DIVERGING, vmin=-end, vmax=end)
    for i, j in dict.fromkeys(dots):
        ax.plot(j, i, "o", color="black", mec="white", ms=5)
    ax.set_xticks(range(len(names)), names, rotation=90)
    ax.set_yticks(range(len(names)), names)
    ax.tick_params(length=0, labelsize=7)
    ax.spines[:].set_visible(False)
    plain([*ax.get_xticklabels(), *ax.get_yticklabels()])
    color_bar([ax], image, label, shrink=0.8)


def effect_map(ax: Axes, xy: NDArray, effect: NDArray, *, label: str) -> None:
    """Draw cells in an embedding by the change in abundance of their neighborhoods; others in gray."""
    known = np.isfinite(effect)
    end = float(np.quantile(np.abs(effect[known]), 0.99)) if known.any() else 1.0
    x, y = xy.T
    ax.scatter(x[~known], y[~known], s=1, color=OTHER, alpha=0.3, lw=0, rasterized=True)
    points = ax.scatter(
        x[known], y[known], s=2, c=effect[known], cmap=DIVERGING, vmin=-end, vmax=end, lw=0, rasterized=True
    )
    ax.set_axis_off()
    ax.set_aspect("equal")
    color_bar([ax], points, label, extend="both")
