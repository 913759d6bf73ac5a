"""A fixed palette for categories, on light pages and dark ones, and the colors a user asks for instead."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from lloki._names import did_you_mean
from lloki.errors import ConfigError

OTHER = "#8a8f98"  # mid-gray: everything without a color of its own
COLOR_MAP, DIVERGING = "viridis", "PuOr"

# The first six are Okabe and Ito's, without black and pale yellow, which vanish on a dark or a light page.
# The others were found once, each as far as possible from all before it in OKLab, where the distance of two
# colors is the smallest of those seen with normal, deuteranopic and protanopic vision.
COLORS = tuple(
    [
        "#0072b2",
        "#e69f00",
        "#009e73",
        "#cc79a7",
        "#d55e00",
        "#56b4e9",
        "#70e8a0",
        "#b81040",
        "#d010e8",
        "#b8d0e8",
        "#a0b888",
        "#a04088",
        "#d0d040",
        "#8810d0",
        "#10d0b8",
        "#8888d0",
        "#e85870",
        "#b84010",
        "#708840",
        "#b840b8",
        "#a070a0",
        "#a05870",
        "#5870e8",
        "#d08828",
        "#28e870",
        "#407058",
        "#58a0b8",
        "#88b858",
        "#b8a0a0",
        "#e888e8",
        "#70d070",
        "#58b8b8",
        "#108888",
        "#8858d0",
        "#d0b8d0",
        "#8858a0",
        "#d01058",
        "#88d0a0",
        "#a0a058",
        "#a0a0d0",
        "#b85888",
        "#88a088",
        "#8870d0",
        "#7028e8",
        "#a088e8",
        "#40d040",
        "#e85840",
        "#b810b8",
        "#b85810",
        "#e82840",
        "#58e8d0",
        "#28a0a0",
        "#8840a0",
        "#b87058",
        "#8840d0",
        "#b8b8e8",
        "#b81070",
        "#10e8b8",
        "#d0b840",
        "#40b870",
    ]
)
MOST = len(COLORS)  # colors that can still be distinguished side by side; further categories share OTHER

Palette = str | Sequence[str] | Mapping[str, str]


def category_colors(categories: Iterable[str]) -> dict[str, str]:
    """Give every category its color, as ``#rrggbb``: the first `MOST` their own, the rest `OTHER`."""
    return {c: COLORS[i] if i < MOST else OTHER for i, c in enumerate(categories)}


def chosen_colors(categories: Sequence[str], palette: Palette) -> dict[str, str]:
    """Give every category its color from a list (repeated if too short), a dictionary or a color map.

    Categories that a dictionary lacks are gray.

    Raises
    ------
    ConfigError
        If there is no such color map, or a color cannot be read.
    """
    from matplotlib import colormaps
    from matplotlib.colors import is_color_like, to_hex

    if isinstance(palette, Mapping):
        wanted = [palette.get(c, OTHER) for c in categories]
    elif isinstance(palette, str):
        check_color_map(palette)
        colors, n = colormaps[palette], len(categories)
        listed = len(getattr(colors, "colors", ()))  # a qualitative map is a short list
        qualitative = 0 < listed <= 40
        wanted = [to_hex(colors(i % listed if qualitative else i / max(n - 1, 1))) for i in range(n)]
    else:
        wanted = [palette[i % len(palette)] for i in range(len(categories))]
    for color in wanted:
        if not is_color_like(color):
            raise ConfigError(f"palette: {color!r} is no color. Give names or #rrggbb.")
    return {c: to_hex(color) for c, color in zip(categories, wanted)}


def check_color_map(name: object) -> None:
    """Refuse what is no name of a color map.

    Raises
    ------
    ConfigError
        The message names the nearest one.
    """
    from matplotlib import colormaps

    if not isinstance(name, str):
        raise ConfigError("palette must be the name of a color map where color= holds numbers.")
    if name not in colormaps:
        raise ConfigError(f"There is no color map {name!r}. {did_you_mean(name, colormaps)}")
