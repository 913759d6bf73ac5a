"""Labels that are none: text that stands for a missing value."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

# What `astype(str)`, R and spreadsheets make of a missing value, in any letter case.
_MISSING = frozenset({"", "nan", "na", "n/a", "#n/a", "none", "null", "<na>", "nat"})
# What people write where a cell has no type.
_UNKNOWN = frozenset(
    {
        *("unknown", "unassigned", "unlabeled", "unlabelled", "unannotated", "not assigned", "undefined"),
        *("undetermined", "unclassified", "not available", "-", "--", "?", "."),
    }
)


def stands_for_missing(values: pd.Series | NDArray, *, unknown: bool = True) -> NDArray[np.bool_]:
    """Mark the labels that are missing, or text that means so.

    Parameters
    ----------
    values
        (n,) labels of any kind.
    unknown
        Names of cells without a type (``Unknown``, ``Unassigned``) are none either.
    """
    column = pd.Series(values)
    codes, known = pd.factorize(column.astype(object), use_na_sentinel=True)
    words = _MISSING | _UNKNOWN if unknown else _MISSING
    none = np.array([str(value).strip().casefold() in words for value in known] + [True], dtype=bool)
    return none[codes]  # -1, of a missing value, is the last


def text_labels(column: pd.Series, *, unknown: bool = False) -> NDArray[np.str_]:
    """(n,) labels as text, ``""`` where a cell has none."""
    return np.where(stands_for_missing(column, unknown=unknown), "", column.astype(str)).astype(str)
