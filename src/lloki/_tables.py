"""Small tables that people write by hand or save from a spreadsheet: sample sheets, marker tables."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from lloki.errors import InputError

_SEPARATORS = ",;\t|"


@dataclass(frozen=True)
class Row:
    """Values of one row, stripped, as many as there are columns, and the line it ends on."""

    line: int
    values: tuple[str, ...]


@dataclass(frozen=True)
class TextTable:
    """A table as text.

    Attributes
    ----------
    columns
        Names in the first row that is not blank, stripped.
    line
        Of these names.
    rows
        All others that are not blank.
    """

    columns: tuple[str, ...]
    line: int
    rows: tuple[Row, ...]


def read_table(file: Path) -> TextTable:
    """Read a table, however a spreadsheet saved it.

    Parameters
    ----------
    file
        Text in UTF-8, UTF-16 or Windows' encoding, with or without byte order mark; with commas, semicolons,
        tabs or bars. Blank rows, blank columns and a column of row numbers without a name are left out.

    Raises
    ------
    InputError
        If it cannot be read, or a row has more values than there are columns; names file and line.
    """
    lines = [line.rstrip("\0") for line in _text(file).splitlines()]
    if lines and lines[0].lower().startswith("sep="):  # Excel's own first line
        separator, lines = lines[0][4:5] or ",", ["", *lines[1:]]
    else:
        first = next((line for line in lines if line.strip(_SEPARATORS + '" ')), "")
        separator = max(_SEPARATORS, key=_outside_quotes(first).count)
    reader = csv.reader(lines, delimiter=separator, skipinitialspace=True)
    found: list[Row] = []
    try:
        for cells in reader:
            row = Row(reader.line_num, tuple(cell.strip().strip("\ufeff") for cell in cells))
            if any(row.values):
                found.append(row)
    except csv.Error as error:
        hint = "Save it again as CSV."
        raise InputError(
            f"line {reader.line_num}: cannot be read ({error})", where=str(file), hint=hint
        ) from error
    if not found:
        return TextTable((), 0, ())
    head, body = found[0], found[1:]
    width = len(head.values)
    for row in body:
        if any(row.values[width:]):
            raise InputError(
                f"line {row.line}: has {len(row.values)} values for {width} columns",
                where=str(file),
                hint="Put quotes around a value that holds the separator.",
            )
    body = [Row(row.line, (row.values + ("",) * width)[:width]) for row in body]
    keep = [i for i, name in enumerate(head.values) if name or not _no_content([r.values[i] for r in body])]
    return TextTable(
        tuple(head.values[i] for i in keep),
        head.line,
        tuple(Row(row.line, tuple(row.values[i] for i in keep)) for row in body),
    )


def _no_content(values: list[str]) -> bool:
    """Whether a column without a name is blank, or the row numbers that pandas and R write."""
    numbers = [str(i) for i in range(len(values))], [str(i + 1) for i in range(len(values))]
    return not any(values) or values in numbers


def _outside_quotes(line: str) -> str:
    return "".join(line.split('"')[::2])


def _text(file: Path) -> str:
    try:
        data = file.read_bytes()
    except OSError as error:
        reason = (
            "does not exist" if isinstance(error, FileNotFoundError) else f"cannot be read ({error.strerror})"
        )
        raise InputError(reason, where=str(file), hint="Give the file's path.") from error
    if data[:4] == b"PK\x03\x04":
        raise InputError("is a workbook, not text", where=str(file), hint="Save the sheet as CSV.")
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", errors="replace")
    if data.count(0) > len(data) // 4:  # UTF-16 without a mark
        return data.decode("utf-16-le" if data[1:2] == b"\0" else "utf-16-be", errors="replace")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("cp1252", errors="replace")
    if any(sign < " " and sign not in "\t\r\n\f\v" for sign in text) or "\ufffd" in text:
        raise InputError("is not a text file", where=str(file), hint="Save it again as CSV UTF-8.")
    return text
