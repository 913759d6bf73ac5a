"""Distributions of a number in every slice."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from lloki.pl._figures import plot_style
from lloki.pl._palette import OTHER

_DRAWN = 4000  # cells of a slice are enough for the shape


def violins(
    ax: Axes,
    values: Mapping[str, NDArray],
    *,
    colors: Mapping[str, str],
    label: str,
    log: bool = False,
    names: bool = True,
) -> None:
    """Draw one violin a slice, the first on top, with a line at the median.

    Parameters
    ----------
    ax
        Where to draw.
    values
        Slice → (n,) numbers; those that are not finite are left out, and on a logarithmic axis 0 is too.
    colors
        Slice → color.
    label
        Of the axis.
    log
        Whether the axis is logarithmic.
    names
        Whether to name the slices at the left.
    """
    rng = np.random.default_rng(0)
    # vert is deprecated where there is orientation, since Matplotlib 3.10
    new = "orientation" in inspect.signature(ax.violinplot).parameters
    lying: dict[str, Any] = {"orientation": "horizontal"} if new else {"vert": False}
    for i, (name, x) in enumerate(values.items()):
        x = np.asarray(x, float)
        x = x[np.isfinite(x) & ((x > 0) | (not log))]
        if not len(x):
            continue
        drawn = rng.choice(x, _DRAWN, replace=False) if len(x) > _DRAWN else x
        shape = np.log10(drawn) if log else drawn
        middle = float(np.median(np.log10(x) if log else x))
        color = colors.get(name, OTHER)
        if np.ptp(shape) > 0:
            made = ax.violinplot(shape, positions=[-i], widths=0.9, showextrema=False, **lying)
            bodies: Any = made["bodies"]  # a list, which Matplotlib's types do not say
            for body in bodies:
                body.set(facecolor=color, alpha=0.75, edgecolor="none")
        ax.plot([middle, middle], [-i - 0.3, -i + 0.3], color=ax.xaxis.label.get_color(), lw=1.5)
    ax.set_yticks([-i for i in range(len(values))], list(values) if names else [""] * len(values))
    ax.set_xlabel(label)
    plot_style(ax)
    ax.grid(axis="y", visible=False)
    ax.tick_params(axis="y", length=0)
    for text in ax.get_yticklabels():
        text.set_parse_math(False)
    if log:
        low, high = ax.get_xlim()
        powers = range(int(np.floor(low)), int(np.ceil(high)) + 1)
        ticks: list[float] = [t for t in powers if low <= t <= high]
        if len(ticks) < 2:
            finer = np.log10([1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000])
            ticks = [float(t) for t in finer if low <= t <= high]
        ax.set_xticks(ticks, [f"{10**t:,.0f}" for t in ticks])
