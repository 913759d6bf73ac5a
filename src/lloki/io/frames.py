"""Tables of columns (``obs``, ``var``) in a form that every file format can hold."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from anndata.utils import make_index_unique

from lloki.io._findings import Findings, some

# names that an .h5ad or zarr file uses itself, and what such a column is called instead
_RESERVED = {"_index": "index_input", "__categories": "categories_input", "": "unnamed", ".": "unnamed"}


def tidy(frame: pd.DataFrame, slot: str, findings: Findings) -> pd.DataFrame:
    """Copy a table so that it can be written; every value stays what it was, or becomes its own text.

    Parameters
    ----------
    frame
        ``obs`` or ``var``.
    slot
        Which of the two, for the messages.
    findings
        Gets a message for everything corrected: a ``/`` in a column's name (a folder, in a file; made ``_``),
        columns of one name (``-1``, ``-2``… from the second on), categories that no row has (removed),
        columns of mixed kinds, of dates,
        periods or intervals (made text), names that files reserve (``_index``; renamed).

    Returns
    -------
    pandas.DataFrame
        The same rows and columns in the same order.
    """
    frame = frame.copy()
    slashed = [name for name in frame.columns if "/" in str(name)]
    if slashed:
        findings.corrected(
            f"a / in the name of a column of {slot} would break the file; made _ in {some(slashed)}"
        )
    columns = pd.Index([str(name).replace("/", "_") for name in frame.columns], dtype=object)
    reserved = [name for name in columns if name in _RESERVED]
    if reserved:
        columns = pd.Index([_RESERVED.get(name, name) for name in columns], dtype=object)
        findings.corrected(
            f"{slot} has a column of a name that files reserve ({some(map(repr, reserved))}); renamed to "
            f"{some(repr(_RESERVED[name]) for name in reserved)}"
        )
    if not columns.is_unique:
        findings.corrected(
            f"{slot} has several columns called {some(columns[columns.duplicated()].unique())}; numbered"
        )
        columns = make_index_unique(columns)
    frame.columns = columns
    unused, mixed = [], []
    for name, dtype in frame.dtypes.items():
        column = frame[name]
        if isinstance(dtype, pd.CategoricalDtype):
            used = column.cat.remove_unused_categories()
            if len(used.cat.categories) < len(dtype.categories):
                unused.append(name)
                frame[name] = used
            categories = used.cat.categories
            if _unwritable(categories.dtype) or _mixed(categories):
                mixed.append(name)
                texts = pd.Index([text_of(value) for value in categories], dtype=object)
                frame[name] = used.cat.rename_categories(make_index_unique(texts))
        elif isinstance(dtype, pd.StringDtype):
            frame[name] = as_text(column)
        elif isinstance(dtype, pd.SparseDtype):
            frame[name] = np.asarray(column)
        elif pd.api.types.is_float_dtype(dtype) and pd.api.types.is_extension_array_dtype(dtype):
            frame[name] = column.to_numpy(dtype=float, na_value=np.nan)
        elif pd.api.types.is_object_dtype(dtype) and column.isna().all():
            frame[name] = np.full(len(column), np.nan)
        elif _unwritable(dtype) or (pd.api.types.is_object_dtype(dtype) and _mixed(column)):
            mixed.append(name)
            frame[name] = as_text(column)
    if unused:
        findings.corrected(f"{slot} {some(map(repr, unused))} had categories that no row has; removed")
    if mixed:
        findings.corrected(f"{slot} {some(map(repr, mixed))} held values of mixed kinds or dates; made text")
    return frame


def _unwritable(dtype: Any) -> bool:
    """Whether no file can hold values of this type: dates, times, periods, intervals."""
    return isinstance(dtype, pd.IntervalDtype | pd.PeriodDtype) or getattr(dtype, "kind", "O") in "mM"


def _mixed(values: pd.Series | pd.Index) -> bool:
    """Whether objects are not all text, or text that no file can hold."""
    if not pd.api.types.is_object_dtype(values.dtype):
        return False
    known = [value for value in values if not (value is None or value is pd.NA or value != value)]
    return not all(isinstance(value, str) and text_of(value) == value for value in known)


def text_of(value: Any) -> str:
    """Value as text that files can hold: bytes decoded, and without lone surrogates and zero bytes."""
    text = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
    return text.replace("\0", "").encode(errors="replace").decode()


def as_text(column: pd.Series) -> pd.Series:
    """Values as text; whole numbers without a point, missing values left missing."""
    if pd.api.types.is_float_dtype(column.dtype) and _all_whole(column.dropna()):
        column = column.astype("Int64")
    return column.astype(object).where(column.notna(), None).map(text_of, na_action="ignore")


def _all_whole(values: pd.Series) -> bool:
    return bool(((values % 1 == 0) & (values.abs() < 2.0**63)).all())


def without_unused(frame: pd.DataFrame) -> pd.DataFrame:
    """Copy the rows of one section, without the categories of the others."""
    frame = frame.copy()
    for name, dtype in frame.dtypes.items():
        if isinstance(dtype, pd.CategoricalDtype):
            frame[name] = frame[name].cat.remove_unused_categories()
    return frame
