"""Figures inside the page take its text color, and are the same every time."""

from __future__ import annotations

import numpy as np

from lloki.pl._curves import sparsity_curves
from lloki.report.svg import _INK, on_axes, to_svg


def test_svg_takes_the_text_color_of_the_page() -> None:
    values = np.random.default_rng(0).random((3, 50))
    figure = on_axes((3, 2), lambda ax: sparsity_curves(ax, *values))
    svg = to_svg(figure, salt="s")
    assert svg.startswith("<svg")
    assert svg.endswith("</svg>")
    assert svg.count("currentColor") > 10  # ticks and labels, not the spines alone
    assert _INK not in svg
    assert "stroke: #000000" not in svg
    assert svg == to_svg(figure, salt="s")
