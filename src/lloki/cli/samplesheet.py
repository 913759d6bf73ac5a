"""``--samplesheet FILE.csv``: the slices of a run with what is known about each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lloki._names import did_you_mean
from lloki._tables import read_table
from lloki.errors import ConfigError, InputError

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
    file = file.expanduser()
    try:
        table = read_table(file)
    except InputError as error:
        raise ConfigError(f"{file}: {error.what}. {error.hint} Check --samplesheet.") from error
    header = _header(list(table.columns), f"{file} line {table.line}") if table.columns else []
    rows: list[SheetRow] = []
    lines: dict[str, int] = {}  # sample → the line that has it
    for line in table.rows:
        place, row = f"{file} line {line.line}", dict(zip(header, line.values))
        if not row.get("path"):
            raise ConfigError(f"{place}, column path: is empty. Name the slice's file.")
        sample = row.get("sample", "")
        if sample in lines:
            raise ConfigError(
                f"{place}, column sample: {sample!r} is also in line {lines[sample]}. Give each its own."
            )
        if sample:
            lines[sample] = line.line
        path = file.parent / Path(row.pop("path")).expanduser()
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
