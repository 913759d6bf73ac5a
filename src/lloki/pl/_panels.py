"""Several slices side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from lloki.pl._coloring import Coloring, Shade
from lloki.pl._figures import WIDTH, explain
from lloki.pl._palette import OTHER
from lloki.pl._points import section, section_ratio

if TYPE_CHECKING:
    from matplotlib.figure import Figure, SubFigure

PANEL = 2.6  # inches
_MOST_IN_A_ROW = 4
_TITLE = 0.4  # inches


def panels_size(
    positions: Mapping[str, NDArray], beside: float, *, panel: float = PANEL
) -> tuple[float, float]:
    """Width and height in inches of `slice_panels`, with ``beside`` for legends."""
    columns, rows = grid(len(positions))
    if len(positions) == 1:
        panel = WIDTH
    ratio = max(section_ratio(xy) for xy in positions.values())
    return panel * columns + beside, (max(panel * ratio, 1.2) + _TITLE) * rows


def grid(n: int) -> tuple[int, int]:
    """Columns and rows of n panels."""
    columns = min(max(n, 1), _MOST_IN_A_ROW)
    return columns, -(-n // columns)


def slice_panels(
    figure: Figure | SubFigure,
    positions: Mapping[str, NDArray],
    shades: Mapping[str, Shade],
    whole: Shade,
    *,
    size: float | None = None,
    units: Mapping[str, str] | None = None,
    legend: bool = True,
    absent: str = "not measured",
) -> list[Axes]:
    """Draw slices side by side, cells where they lie, with one legend or color bar.

    Parameters
    ----------
    figure
        Where to draw; its layout engine is the constrained one.
    positions
        Slice → (n, 2 or more); y runs downwards.
    shades
        Slice → colors of its n cells; a slice without them is gray and called ``absent``.
    whole
        What the legend or color bar explains.
    size
        As in `lloki.pl._points.section`.
    units
        Slice → unit of its positions, ``""`` where it is not known.
    legend
        Whether to draw it.
    """
    columns, rows = grid(len(positions))
    axes = list(np.ravel(figure.subplots(rows, columns, squeeze=False)))
    for ax in axes[len(positions) :]:
        ax.remove()
    axes = axes[: len(positions)]
    for ax, (name, xy) in zip(axes, positions.items()):
        title, shade = short(name), shades.get(name)
        if shade is None:
            title, shade = f"{title}\n{absent}", gray(len(xy))
        section(ax, xy, shade, size=size, unit=(units or {}).get(name, ""), title=title)
    if legend:
        explain(figure, whole, axes=axes)
    return axes


def gray(n: int) -> Coloring:
    """Color of n cells of which nothing is known."""
    return Coloring(np.full(n, OTHER), ())


def short(name: str) -> str:
    """Shorten a name that would run into the next panel."""
    return name if len(name) <= 28 else name[:27] + "…"
