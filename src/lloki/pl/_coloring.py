"""Colors of cells: categories with their legend, or numbers with their scale; one way for every figure."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lloki.analysis import UNKNOWN
from lloki.pl._palette import COLOR_MAP, MOST, OTHER, category_colors

if TYPE_CHECKING:
    from matplotlib.cm import ScalarMappable

NOT_GIVEN = "not given"
Legend = tuple[tuple[str, str, int], ...]  # (name, color, number of cells)


@dataclass(frozen=True, eq=False)
class Coloring:
    """Colors of all cells by one column of categories.

    ``legend`` lists the categories in their order, then those that share the gray, summed up, then the cells
    called unknown and those without a value.
    """

    rows: NDArray  # (n,) of "#rrggbb"
    legend: Legend

    @property
    def names(self) -> list[str]:
        """Names in the legend."""
        return [name for name, _, _ in self.legend]

    @classmethod
    def of(
        cls, values: pd.Series, *, missing: str = NOT_GIVEN, colors: Mapping[str, str] | None = None
    ) -> Coloring:
        """Color a column of ``obs``.

        A categorical keeps the order of its categories (unused ones are left out); anything else is read as
        text and put in natural order, 2 before 10. ``"unknown"`` and missing values are gray.

        Parameters
        ----------
        values
            (n,).
        missing
            What to call cells without a value in the legend.
        colors
            Category → color; default `default_colors`.
        """
        known = values.notna().to_numpy()
        text = values.astype(str).to_numpy(dtype=object)
        counts = pd.Series(text[known]).value_counts()
        color = default_colors(values) if colors is None else colors
        order = [c for c in categories(values) if c in counts.index]
        shown = [c for c in order if c != UNKNOWN and c in color]
        rest = [c for c in order if c != UNKNOWN and c not in color]
        legend = [(c, color[c], int(counts[c])) for c in shown]
        if rest:
            legend.append((f"{len(rest)} smaller categories", OTHER, int(counts[rest].sum())))
        if UNKNOWN in order:
            legend.append((UNKNOWN, OTHER, int(counts[UNKNOWN])))
        if not known.all():
            legend.append((missing, OTHER, int((~known).sum())))
        gray = {UNKNOWN: OTHER}
        rows = pd.Series(text).map({**color, **gray}).where(known).fillna(OTHER).to_numpy(dtype=str)
        return cls(np.asarray(rows), tuple(legend))

    def only(self, values: pd.Series, groups: Collection[str]) -> Coloring:
        """Color these categories alone; all other cells are gray and called "other"."""
        inside = values.astype(str).isin(groups).to_numpy() & values.notna().to_numpy()
        legend = tuple(entry for entry in self.legend if entry[0] in groups)
        if not inside.all():
            legend += (("other", OTHER, int((~inside).sum())),)
        return replace(self, rows=np.where(inside, self.rows, OTHER), legend=legend)

    def part(self, rows: NDArray) -> Coloring:
        """Colors of some cells."""
        return replace(self, rows=self.rows[rows])

    def style(self, rows: NDArray) -> dict[str, Any]:
        """Keywords of matplotlib's ``scatter`` for these rows."""
        return {"c": list(self.rows[rows])}

    def upwards(self, rows: NDArray) -> NDArray:
        """Put the rows in the order of drawing: gray cells lie beneath the others."""
        return rows[np.argsort(self.rows[rows] != OTHER, kind="stable")]


@dataclass(frozen=True, eq=False)
class Scale:
    """Colors of all cells by numbers; NaN is gray."""

    values: NDArray  # (n,)
    label: str
    low: float
    high: float
    color_map: str = COLOR_MAP

    @classmethod
    def of(
        cls,
        values: NDArray,
        label: str,
        *,
        ends: tuple[float, float] | None = None,
        color_map: str = COLOR_MAP,
    ) -> Scale:
        """Color numbers.

        Parameters
        ----------
        values
            (n,); NaN where they are not known.
        label
            Of the scale.
        ends
            Of the scale; default `common_ends`.
        color_map
            Name of a color map of matplotlib.
        """
        values = np.asarray(values, float)
        low, high = common_ends(values) if ends is None else ends
        return cls(values, label, low, high, color_map)

    def mappable(self) -> ScalarMappable:
        """Return what matplotlib draws a color bar of."""
        from matplotlib import colormaps
        from matplotlib.cm import ScalarMappable
        from matplotlib.colors import Normalize

        return ScalarMappable(
            Normalize(self.low, self.high), colormaps[self.color_map].with_extremes(bad=OTHER)
        )

    @property
    def extend(self) -> str:
        """Ends of the scale that values lie beyond, as matplotlib names them."""
        known = self.values[np.isfinite(self.values)]
        below, above = (known < self.low).any(), (known > self.high).any()
        return "both" if below and above else "min" if below else "max" if above else "neither"

    def part(self, rows: NDArray) -> Scale:
        """Colors of some cells, on the same scale."""
        return replace(self, values=self.values[rows])

    def style(self, rows: NDArray) -> dict[str, Any]:
        """Keywords of matplotlib's ``scatter`` for these rows."""
        how = self.mappable()
        return {"c": self.values[rows], "norm": how.norm, "cmap": how.cmap, "plotnonfinite": True}

    def upwards(self, rows: NDArray) -> NDArray:
        """Put the rows in the order of drawing: high values on top, unknown ones beneath."""
        return rows[np.argsort(np.nan_to_num(self.values[rows], nan=-np.inf), kind="stable")]


Shade = Coloring | Scale


def common_ends(values: NDArray) -> tuple[float, float]:
    """Find the ends of a color scale: 0, or the 1st percentile if values are negative, and the 99th.

    So a few cells do not darken the rest. Where fewer than one cell in a hundred is above 0 the scale ends at
    the maximum.
    """
    known = np.asarray(values, float)
    known = known[np.isfinite(known)]
    if not len(known):
        return 0.0, 1.0
    low, high = (float(np.percentile(known, q)) for q in (1, 99))
    if known.min() >= 0:
        low = 0.0
    high = high if high > low else float(known.max())
    return (low, high) if high > low else (low, low + 1.0)


def categories(values: pd.Series) -> list[str]:
    """Return the categories of a column in their order, unused ones too; others in natural order."""
    if isinstance(values.dtype, pd.CategoricalDtype):
        return list(dict.fromkeys(values.cat.categories.astype(str)))
    return sorted(values[values.notna()].astype(str).unique(), key=_natural)


def default_colors(values: pd.Series) -> dict[str, str]:
    """Give categories their colors, by their sorted names and not by their order.

    So columns with one set of names, such as given labels and those transferred, give a name one color. To
    this set belong the categories that no cell has, unless that makes more than 60. With more than 60
    categories in use, the 60 largest are colored; ``"unknown"`` and the others have no color.
    """
    named = [c for c in categories(values) if c != UNKNOWN]
    if len(named) > MOST:
        counts = values[values.notna()].astype(str).value_counts()
        used = [c for c in named if c in counts.index]
        named = sorted(used, key=lambda c: (-counts[c], _natural(c)))[:MOST]
    return category_colors(sorted(named, key=_natural))


def _natural(name: str) -> list[tuple[int, int, str]]:
    """Sort key under which "c2" comes before "c10"."""
    parts = re.findall(r"[0-9]+|[^0-9]+", name)
    return [(0, int(p), "") if p.isdecimal() else (1, 0, p) for p in parts]
