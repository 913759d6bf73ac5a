"""Tables as pages show them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import pandas as pd

from lloki.report import words


@dataclass(frozen=True)
class Table:
    """A table of text.

    Attributes
    ----------
    headings, numeric
        Of each column: its name, and whether it holds numbers, which stand on the right.
    rows
        Its cells.
    title, note
        What stands above and below.
    """

    headings: tuple[str, ...]
    numeric: tuple[bool, ...]
    rows: tuple[tuple[str, ...], ...]
    title: str = ""
    note: str = ""

    @classmethod
    def of(
        cls,
        frame: pd.DataFrame,
        headings: Mapping[str, str] | None = None,
        *,
        shares: Collection[str] = (),
        hundredths: Collection[str] = (),
        title: str = "",
        note: str = "",
    ) -> Table:
        """Make a table of a data frame's columns.

        Parameters
        ----------
        frame
            Its index is not shown.
        headings
            Column → what to call it. These come first, in this order; others follow under their own names.
        shares
            Columns of shares, shown in %.
        hundredths
            Columns of numbers between -1 and 1 or so, shown with two digits after the point.
        """
        headings = headings or {}
        columns = [c for c in headings if c in frame] + [c for c in frame.columns if c not in headings]
        shown = frame[columns].astype(object)
        cells = [
            tuple(
                _fixed(v, "%") if c in shares else _fixed(v, "f") if c in hundredths else words.number(v)
                for c, v in zip(columns, row)
            )
            for row in shown.itertuples(index=False, name=None)
        ]
        return cls(
            tuple(headings.get(c, str(c)) for c in columns),
            tuple(bool(pd.api.types.is_numeric_dtype(frame[c])) for c in columns),
            tuple(cells),
            title,
            note,
        )


def _fixed(value: float, kind: str) -> str:
    if pd.isna(value):
        return "–"
    if kind == "%":
        return f"{value:.2%}" if 0 < value < 0.01 else f"{value:.0%}"  # 0.03 % of controls are not 0 %
    return f"{value:.2f}"
