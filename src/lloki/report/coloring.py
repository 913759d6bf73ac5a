"""Categories of cells: their order, their colors and their legend, made once and used in every figure."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lloki.analysis import UNKNOWN
from lloki.report.palette import MOST, OTHER, category_colors

NOT_GIVEN = "not given"


@dataclass(frozen=True)
class Coloring:
    """Colors of all cells by one column.

    ``legend`` holds (name, color, number of cells) in the order to be read: the categories in theirs, then
    the ones that share the gray, summed up, then the cells called unknown and those without a value.
    """

    rows: NDArray  # (n,) of "#rrggbb"
    legend: tuple[tuple[str, str, int], ...]

    @property
    def names(self) -> list[str]:
        """Names in the legend."""
        return [name for name, _, _ in self.legend]

    @classmethod
    def of(cls, values: pd.Series, *, missing: str = NOT_GIVEN) -> Coloring:
        """Color a column of ``obs``.

        A categorical keeps the order of its categories (unused ones are left out); anything else is read as
        text and put in natural order, 2 before 10. With more than 60 categories the 60 largest are colored.
        ``"unknown"``, as label transfer says, is gray.
        Colors go by the sorted names, not by the order in the legend: columns with one set of names, such as
        given labels, those carried over and those told by markers, give a name one color. To this set belong
        the categories that no cell has, unless that makes more than 60.
        Cells without a value are gray, and called ``missing`` in the legend.
        """
        known = values.notna().to_numpy()
        text = values.astype(str).to_numpy(dtype=object)
        counts = pd.Series(text[known]).value_counts()
        if isinstance(values.dtype, pd.CategoricalDtype):
            declared = list(dict.fromkeys(values.cat.categories.astype(str)))
            order = [c for c in declared if c in counts.index]
        else:
            declared = order = sorted(counts.index, key=_natural)
        doubted = [c for c in order if c == UNKNOWN]
        colored = order = [c for c in order if c != UNKNOWN]
        if len(order) > MOST:
            largest = set(sorted(order, key=lambda c: (-counts[c], _natural(c)))[:MOST])
            colored = [c for c in order if c in largest]
        named = [c for c in declared if c != UNKNOWN]
        color = category_colors(sorted(named if len(named) <= MOST else colored, key=_natural))
        legend = [(c, color[c], int(counts[c])) for c in colored]
        rest = [c for c in order if c not in color]
        if rest:
            legend.append((f"{len(rest)} smaller categories", OTHER, int(counts[rest].sum())))
        legend += [(c, OTHER, int(counts[c])) for c in doubted]
        if not known.all():
            legend.append((missing, OTHER, int((~known).sum())))
        rows = pd.Series(text).map(color).where(known).fillna(OTHER).to_numpy(dtype=str)
        return cls(np.asarray(rows), tuple(legend))


def _natural(name: str) -> list[tuple[int, int, str]]:
    """Sort key under which "c2" comes before "c10"."""
    parts = re.findall(r"[0-9]+|[^0-9]+", name)
    return [(0, int(p), "") if p.isdecimal() else (1, 0, p) for p in parts]
