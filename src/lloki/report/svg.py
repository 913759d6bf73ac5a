"""Figures of the page: drawn in its text color, without pyplot, and written into its HTML."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

_INK = "#010203"  # stands for the page's text color, see `to_svg`
_STYLE: dict[Any, Any] = {
    **dict.fromkeys(
        ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"),
        _INK,
    ),
    "svg.fonttype": "none",
}
_PNG_PREFIX = "data:image/png;base64,"
_PNG = re.compile(_PNG_PREFIX + r"\s*([A-Za-z0-9+/=\s]+)")
_NO_METADATA: dict[str, str | None] = {"Date": None, "Creator": None, "Format": None, "Type": None}


def on_axes(size: tuple[float, float], draw: Callable[[Axes], object]) -> Figure:
    """Make a figure of a size in inches and draw on its one Axes."""
    return on_figure(size, lambda figure: draw(figure.add_subplot()))


def on_figure(size: tuple[float, float], draw: Callable[[Figure], object]) -> Figure:
    """Make a figure of a size in inches and draw on it."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(figure)
        draw(figure)
    return figure


def to_svg(figure: Figure, *, salt: str, dpi: int = 200) -> str:
    """Return the figure as an ``<svg>`` element whose text takes the color and font of the page around it.

    Point clouds inside are pictures, so the size does not grow with the number of cells;
    lines and text are vectors. The same figure gives the same text.

    Parameters
    ----------
    figure
        Of `on_axes` or `on_figure`.
    salt
        Goes into the ids of the element; differs between the figures of one page.
    dpi
        Dots an inch of these pictures.
    """
    buffer = io.StringIO()
    with mpl.rc_context({**_STYLE, "svg.hashsalt": salt}):
        figure.savefig(buffer, format="svg", transparent=True, dpi=dpi, metadata=_NO_METADATA)
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :].replace(_INK, "currentColor").rstrip()
    return _PNG.sub(lambda found: _PNG_PREFIX + _fewer_colors(found[1]), svg)


def _fewer_colors(encoded: str) -> str:
    """Store a point cloud with a palette of 256 colors instead of four channels: a quarter of the size."""
    picture = Image.open(io.BytesIO(base64.b64decode(encoded)))
    buffer = io.BytesIO()
    picture.quantize(256, method=Image.Quantize.FASTOCTREE).save(buffer, format="PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()
