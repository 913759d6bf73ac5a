"""Join counts with the table of cells by id: neither order nor number of rows need agree."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd

from lloki.errors import InputError
from lloki.io._findings import number, some

_ROUNDED = re.compile(r"\d(\.\d+)?e\+?\d+|\d+\.\d+", re.IGNORECASE)


def joined(
    ids: np.ndarray, table: pd.DataFrame, *, counts: Path, cells: Path
) -> tuple[np.ndarray, pd.DataFrame, list[str]]:
    """Rows of the counts that the table of cells has too, and the table in their order.

    Parameters
    ----------
    ids
        (n,) names of the rows of counts, as text.
    table
        (m rows) under the same kind of names.
    counts, cells
        The two files, for messages.

    Returns
    -------
    rows, obs, notes
        Rows of the counts; the table's rows in that order; what was left out.

    Raises
    ------
    InputError
        If a name is there twice, or no name is in both.
    """
    for names, path in ((pd.Index(ids), counts), (table.index, cells)):
        twice = names[names.duplicated()].unique()
        if len(twice):
            raise InputError(
                f"names {number(len(twice), 'cell')} twice ({some(twice, 3)})",
                where=str(path),
                hint="Export each slide or region on its own.",
            )
    at = table.index.get_indexer(pd.Index(ids))
    rows = np.flatnonzero(at >= 0)
    if not len(rows):
        raise InputError(
            f"names no cell that {counts.name} names ({some(table.index[:2])} against {some(ids[:2])})",
            where=str(cells),
            hint=_advice([*table.index[:20], *ids[:20]]),
        )
    notes = []
    if len(rows) < len(ids):
        notes.append(f"{number(len(ids) - len(rows), 'cell')} of {counts.name} not in {cells.name}, left out")
    if len(rows) < len(table):
        lost = len(table) - len(rows)
        notes.append(f"{number(lost, 'cell')} of {cells.name} without counts in {counts.name}, left out")
    return rows, table.iloc[at[rows]], notes


def _advice(names: list[str]) -> str:
    if any(_ROUNDED.fullmatch(str(name)) for name in names):
        return "Ids were rounded to fractions when a file was saved again: use the original files."
    return "Give the two files of one export."
