"""``--samplesheet FILE.csv``: the slices of a run with what is known about each."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from lloki._names import did_you_mean
from lloki.errors import ConfigError

COLUMNS = ("path", "sample", "technology", "panel", "layer")


@dataclass(frozen=True)
class SheetRow:
    """One line of a sheet; ``""`` where it says nothing."""

    path: Path
    sample: str = ""
    technology: str = ""
    panel: str = ""
    layer: str = ""


def read_samplesheet(file: Path) -> list[SheetRow]:
    """Read a table of slices.

    Parameters
    ----------
    file
        CSV, or with semicolons or tabs as spreadsheets also write it. Columns of :data:`COLUMNS` in any
        order, of which only ``path`` is needed; a relative path is relative to the sheet.

    Returns
    -------
    list of SheetRow
        In the order of the lines; empty lines are passed over.

    Raises
    ------
    ConfigError
        If it cannot be read, naming file, line and column.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")  # spreadsheets put a byte order mark first
    except OSError as error:
        raise ConfigError(
            f"{file}: cannot be read ({error.strerror}). Check the path of --samplesheet."
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: is not a text file in UTF-8. Save it again as CSV UTF-8.") from error
    first = text.partition("\n")[0]
    reader = csv.reader(text.splitlines(), delimiter=max(",;\t", key=first.count))
    header: list[str] = []
    rows: list[SheetRow] = []
    lines: dict[str, int] = {}  # sample → the line that has it
    for cells in reader:
        cells, place = [cell.strip() for cell in cells], f"{file} line {reader.line_num}"
        if not any(cells):
            continue
        if not header:
            header = _header(cells, place)
            continue
        if len(cells) > len(header):
            raise ConfigError(
                f"{place}: has {len(cells)} values for {len(header)} columns. "
                "Put quotes around a value that holds the separator."
            )
        row = dict(zip(header, cells))
        if not row.get("path"):
            raise ConfigError(f"{place}, column path: is empty. Name the slice's file.")
        sample = row.get("sample", "")
        if sample in lines:
            raise ConfigError(
                f"{place}, column sample: {sample!r} is also in line {lines[sample]}. Give each its own."
            )
        if sample:
            lines[sample] = reader.line_num
        path = file.parent / row.pop("path")
        rows.append(SheetRow(path=path, **row))
    if not rows:
        raise ConfigError(f"{file}: lists no slices. Its first line names columns: {', '.join(COLUMNS)}.")
    return rows


def _header(cells: list[str], place: str) -> list[str]:
    names = [cell.lower() for cell in cells]
    for name in names:
        if name not in COLUMNS:
            raise ConfigError(f"{place}: there is no column {name!r}. {did_you_mean(name, COLUMNS)}")
        if names.count(name) > 1:
            raise ConfigError(f"{place}: column {name} is there twice.")
    if "path" not in names:
        raise ConfigError(f"{place}: the column path is missing. The first line names the columns.")
    return names
