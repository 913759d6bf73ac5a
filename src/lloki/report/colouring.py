"""Categories of cells: their order, their colours and their legend, made once and used in every figure."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lloki.analysis import UNKNOWN
from lloki.report.palette import MOST, OTHER, category_colours

NOT_GIVEN = "not given"


@dataclass(frozen=True)
class Colouring:
    """Colours of all cells by one column.

    ``legend`` holds (name, colour, number of cells) in the order to be read: the categories in theirs, then
    the ones that share the grey, summed up, then the cells called unknown and those without a value.
    """

    rows: NDArray  # (n,) of "#rrggbb"
    legend: tuple[tuple[str, str, int], ...]

    @property
    def names(self) -> list[str]:
        """Names in the legend."""
        return [name for name, _, _ in self.legend]

    @classmethod
    def of(cls, values: pd.Series, *, missing: str = NOT_GIVEN) -> Colouring:
        """Colour a column of ``obs``.

        A categorical keeps the order of its categories (unused ones are left out); anything else is read as
        text and put in natural order, 2 before 10. With more than 60 categories the 60 largest are coloured.
        ``"unknown"``, as label transfer says, is grey.
        Colours go by the sorted names, not by the order in the legend: columns with one set of names, such as
        given labels, those carried over and those told by markers, give a name one colour. To this set belong
        the categories that no cell has, unless that makes more than 60.
        Cells without a value are grey, and called ``missing`` in the legend.
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
        coloured = order = [c for c in order if c != UNKNOWN]
        if len(order) > MOST:
            largest = set(sorted(order, key=lambda c: (-counts[c], _natural(c)))[:MOST])
            coloured = [c for c in order if c in largest]
        named = [c for c in declared if c != UNKNOWN]
        colour = category_colours(sorted(named if len(named) <= MOST else coloured, key=_natural))
        legend = [(c, colour[c], int(counts[c])) for c in coloured]
        rest = [c for c in order if c not in colour]
        if rest:
            legend.append((f"{len(rest)} smaller categories", OTHER, int(counts[rest].sum())))
        legend += [(c, OTHER, int(counts[c])) for c in doubted]
        if not known.all():
            legend.append((missing, OTHER, int((~known).sum())))
        rows = pd.Series(text).map(colour).where(known).fillna(OTHER).to_numpy(dtype=str)
        return cls(np.asarray(rows), tuple(legend))


def _natural(name: str) -> list[tuple[int, int, str]]:
    """Sort key under which "c2" comes before "c10"."""
    parts = re.findall(r"[0-9]+|[^0-9]+", name)
    return [(0, int(p), "") if p.isdecimal() else (1, 0, p) for p in parts]
