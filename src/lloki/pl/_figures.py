"""Figures, Axes and what stands around the data: made, explained and handed over in one way."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from lloki.errors import OutputError
from lloki.pl._coloring import Legend, Scale, Shade
from lloki.pl._palette import OTHER

if TYPE_CHECKING:
    from pathlib import Path

    import matplotlib as mpl
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure
    from matplotlib.text import Text

WIDTH = 3.6  # inches of a panel
_IN_COLUMN = 20  # names in a column of a legend


def new_axes(ax: Axes | None, size: tuple[float, float]) -> Axes:
    """Return the user's Axes, or those of a new figure of pyplot."""
    return new_figure(size).add_subplot() if ax is None else ax


def new_figure(size: tuple[float, float]) -> Figure:
    """Make a figure of pyplot, so that it shows in notebooks."""
    import matplotlib.pyplot as plt

    return plt.figure(figsize=size, layout="constrained")


def finish(axes: Axes | Sequence[Axes], *, given: bool, show: bool | None, save: str | Path | None) -> None:
    """Save and show a figure as asked.

    Parameters
    ----------
    axes
        What was drawn on.
    given
        Whether the Axes are the user's own.
    show, save
        As in every function of ``lloki.pl``.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    import matplotlib.pyplot as plt

    figure = next(iter(axes)).figure if isinstance(axes, Sequence) else axes.figure
    root = figure.figure  # of a subfigure, the figure it is in
    if save is not None:
        try:
            root.savefig(save, bbox_inches="tight", dpi=150)
        except (OSError, ValueError) as error:  # no such folder, or a kind of file that matplotlib lacks
            plt.close(root)
            raise OutputError(
                f"{save}: the figure cannot be written ({error}). Choose another save=."
            ) from error
    if show or (show is None and save is None and not given and plt.isinteractive()):
        plt.show()
    elif save is not None and not given:
        plt.close(root)  # nobody will show it


def plot_style(ax: Axes) -> None:
    """Axes of curves: two spines, small numbers, a pale grid."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(labelsize=8, which="both")
    for label in (ax.xaxis.label, ax.yaxis.label):
        label.set_fontsize(9)
    ax.grid(color=OTHER, alpha=0.25, lw=0.6)


def curve_legend(ax: Axes) -> None:
    """Legend of curves inside the Axes, if they have names."""
    if ax.get_legend_handles_labels()[0]:
        plain(ax.legend(frameon=False, fontsize=8).get_texts())


def plain(texts: Iterable[Text]) -> None:
    """Read no mathematics in names from the data: a "$" is a dollar."""
    for text in texts:
        text.set_parse_math(False)


def explain(
    where: Axes | Figure | SubFigure,
    shade: Shade,
    *,
    axes: Sequence[Axes] = (),
    in_column: int = _IN_COLUMN,
) -> None:
    """Draw the legend or the color bar of a shade to the right.

    Parameters
    ----------
    where
        The Axes, or the figure of several.
    shade
        What colors the cells.
    axes
        Several Axes that share a color bar.
    in_column
        Names in a column of a legend.
    """
    if isinstance(shade, Scale):
        color_bar(list(axes) or [where], shade.mappable(), shade.label, extend=shade.extend)  # type: ignore[list-item]
    elif shade.legend:
        _legend(where, shade.legend, single=not axes, in_column=in_column)


def color_bar(
    axes: list[Axes],
    mappable: mpl.cm.ScalarMappable,
    label: str,
    *,
    extend: str = "neither",
    shrink: float = 0.6,
) -> None:
    """Draw a color bar right of the Axes."""
    bar = axes[0].figure.colorbar(
        mappable, ax=axes, shrink=shrink, aspect=22, pad=0.02, extend=extend, extendfrac=0.03, panchor=False
    )
    bar.set_label(label, fontsize=8, parse_math=False)
    bar.ax.tick_params(labelsize=7)
    bar.outline.set_visible(False)


def legend_height(shade: Shade) -> float:
    """Inches that the legend of a shade needs."""
    return 0.0 if isinstance(shade, Scale) else 0.17 * min(len(shade.legend), _IN_COLUMN) + 0.3


def legend_width(shade: Shade, in_column: int = _IN_COLUMN) -> float:
    """Inches that the legend or color bar of a shade needs."""
    if isinstance(shade, Scale):
        return 0.9
    longest = max((len(name) for name in shade.names), default=0)
    return -(-len(shade.legend) // in_column) * (0.5 + 0.075 * longest)


def _legend(where: Axes | Figure | SubFigure, entries: Legend, *, single: bool, in_column: int) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], ls="", marker="o", ms=6, mec="none", color=color, label=name)
        for name, color, _ in entries
    ]
    place = (
        {"loc": "center left", "bbox_to_anchor": (1.0, 0.5)} if single else {"loc": "outside right center"}
    )
    legend = where.legend(
        handles=handles,
        ncols=-(-len(entries) // in_column),
        frameon=False,
        fontsize=8,
        handletextpad=0.3,
        handlelength=1.2,
        columnspacing=1.0,
        **place,
    )
    plain(legend.get_texts())
