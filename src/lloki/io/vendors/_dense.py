"""Tables as CSV: dense counts in chunks to sparse ones, and tables of cells whose ids stay text."""

from __future__ import annotations

import gzip
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from csv import reader
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from lloki.errors import InputError

_VALUES = 10_000_000  # of one chunk: 10,000 cells of 1,000 genes, 80 MB while it is parsed
_ROWS = 10_000


@dataclass(frozen=True)
class Dense:
    """A dense table of counts.

    Attributes
    ----------
    counts
        (rows, columns) csr float32.
    columns
        Names of the columns of counts; may repeat.
    ids
        (rows) the other columns, as text.
    """

    counts: sparse.csr_matrix
    columns: list[str]
    ids: pd.DataFrame


def read_dense(path: Path, ids: Collection[str], *, rest: Collection[str] = ()) -> Dense:
    """Read counts from a dense CSV, in chunks, so that memory does not grow with rows × columns.

    Parameters
    ----------
    path
        The file, which may be compressed (``.gz``). Its first line names the columns.
    ids
        Columns that are no counts and are kept as text, by name in any letter case. The first column is one
        of them where it has no name, or where no other is.
    rest
        Further columns that are no counts, kept as text.

    Raises
    ------
    InputError
        If the file is cut short, or a count is no number; the message names the file.

    Notes
    -----
    10,000 rows at a time, or 10 million values if there are more than 1,000 columns: peak memory is that of
    the counts other than zero, and some 0.2 GB.
    """
    names = _header(path)
    known = {name.lower() for name in (*ids, *rest)}
    is_id = np.array([name.lower() in known for name in names])
    if not names[0] or not is_id.any():
        is_id[0] = True
    chunk = max(1, min(_ROWS, _VALUES // len(names)))
    parts, texts = [], []
    with _named(path):
        for frame in _chunks(path, is_id, chunk):
            values = frame.loc[:, ~is_id].to_numpy()
            parts.append(sparse.csr_matrix(values, dtype=np.float32))
            texts.append(frame.loc[:, is_id])
    if not parts:
        raise InputError("has no rows", where=str(path), hint="Export the file again.")
    counts = sparse.vstack(parts, format="csr")
    if not np.isfinite(counts.data).all():
        raise InputError(
            "has empty fields where there should be counts", where=str(path), hint="Export the file again."
        )
    text = pd.concat(texts, ignore_index=True)
    text.columns = pd.Index([names[i] for i in np.flatnonzero(is_id)])
    return Dense(counts, [name for name, other in zip(names, is_id) if not other], text)


def read_table(path: Path, ids: Collection[str], *, skip: Collection[int] = ()) -> pd.DataFrame:
    """Read a table of cells from CSV; ids are text, so that no digit of a long one is lost.

    Parameters
    ----------
    path
        The file, which may be compressed.
    ids
        Columns that hold ids, by name in any letter case, and the first column where it has no name.
    skip
        Lines that hold no cell, counted from 0, the line of names.
    """
    names = _header(path)
    known = {name.lower() for name in ids}
    unique = [name or "unnamed" for name in names]
    unique = [name if name not in unique[:i] else f"{name}.{i}" for i, name in enumerate(unique)]
    text = {name: str for name, given in zip(unique, names) if given.lower() in known or not given}
    with _named(path):
        frame: pd.DataFrame = pd.read_csv(
            path,
            header=None,
            skiprows=sorted({0, *skip}),
            names=unique,
            dtype=text,
            low_memory=False,
            encoding_errors="replace",
            float_precision="round_trip",  # positions are those in the file, to the last digit
        )
    for name in text:
        frame[name] = frame[name].str.strip()
    return frame


def id_column(frame: pd.DataFrame, ids: Collection[str]) -> pd.Series:
    """Column of cell ids: the first of some names, in any letter case, else the first column."""
    lower = {str(name).lower(): name for name in reversed(frame.columns)}
    for name in ids:
        if name.lower() in lower:
            return frame[lower[name.lower()]]
    return frame.iloc[:, 0]


def _chunks(path: Path, is_id: np.ndarray, rows: int) -> Iterator[pd.DataFrame]:
    """Chunks with text for ids and the smallest kind of number that holds the file's values."""
    kind: type = np.int32  # parsed twice as fast as fractions, which corrected counts have
    done = 0
    while True:
        types = {i: str if text else kind for i, text in enumerate(is_id)}
        try:
            with pd.read_csv(
                path,
                header=None,
                skiprows=1 + done,
                names=range(len(is_id)),
                dtype=types,
                chunksize=rows,
            ) as chunks:
                for frame in chunks:
                    yield frame
                    done += len(frame)
            return
        except pd.errors.EmptyDataError:
            return
        except ValueError:
            if kind is np.float64:
                raise
            kind = np.float64


def _header(path: Path) -> list[str]:
    """Names of the columns; R leaves out that of the first, the row names, where it writes none."""
    with _named(path):
        how: dict[str, Any] = {"newline": "", "encoding": "utf-8-sig", "errors": "replace"}
        with gzip.open(path, "rt", **how) if path.suffix == ".gz" else path.open(**how) as file:
            lines = reader(file)
            names, first = next(lines, []), next(lines, [])
    if not any(names):
        raise InputError("is empty", where=str(path), hint="Export or copy the file again.")
    names = [name.strip() for name in names]
    return ["", *names] if len(first) == len(names) + 1 else names


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Errors of pandas and gzip inside name the file."""
    try:
        yield
    except (InputError, PermissionError):
        raise
    except (EOFError, gzip.BadGzipFile, UnicodeDecodeError) as error:
        raise InputError(
            f"is damaged or cut short ({error})", where=str(path), hint="Export or copy the file again."
        ) from error
    except (ValueError, OSError) as error:  # pandas: a field that is no number, a line of another length
        raise InputError(
            f"cannot be read as a table of comma-separated values ({error})",
            where=str(path),
            hint="Export the file again, and do not save it from a spreadsheet.",
        ) from error
