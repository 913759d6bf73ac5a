"""What commands print: tables on standard output. Text from data is never read as markup."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    import pandas as pd

    from lloki.io.converting import Converted
    from lloki.run import Result
    from lloki.run._plan import Checked, Plan

_PIPE_WIDTH = 160  # where there is no terminal whose width would bound it


def show(columns: Sequence[str], rows: Sequence[Sequence[object]], *, title: str | None = None) -> None:
    """Print a table; numbers stand right, text left."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", title_style="bold", pad_edge=False)
    for i, name in enumerate(columns):
        number = bool(rows) and all(isinstance(row[i], (int, float)) for row in rows)
        table.add_column(name, justify="right" if number else "left", overflow="fold")
    for row in rows:
        table.add_row(*(_text(value) for value in row))
    width = None if sys.stdout.isatty() else _PIPE_WIDTH
    Console(width=width, markup=False, highlight=False, emoji=False).print(table)


def show_checks(checked: Checked) -> None:
    """Print one line per slice, then every error and warning."""
    from lloki.io.messages import together

    checks, matched = checked.slices, checked.genes_in_reference
    columns = ["slice", "technology", "panel", "cells", "genes", "spacing", "values", "gene names", "state"]
    rows: list[list[object]] = []
    for c in checks:
        species = "" if c.species == "unknown" else f"{c.species} "
        state = _count(c.errors, "error") or _count(c.warnings, "warning") or "good"
        facts = [c.name, c.technology, c.panel, c.cells, c.genes, _length(c.spacing, c.unit)]
        rows.append([*facts, c.scale, f"{species}{c.ids}", state])
    if any(c.control_rate == c.control_rate for c in checks):
        columns.insert(5, "controls")
        for row, c in zip(rows, checks):
            row.insert(5, _share(c.control_rate))
    if matched:
        columns.insert(5, "in reference")
        for row in rows:
            found = matched.get(str(row[0]))
            row.insert(5, f"{found[0]} of {found[1]}" if found else "")
    errors = [*(error for c in checks for error in c.errors), *checked.errors]
    warnings = together((c.name, c.path, warning) for c in checks for warning in c.warnings)
    show(columns, rows)
    for text in dict.fromkeys(errors):
        typer.secho(f"Error: {text}", fg="red")
    for text in dict.fromkeys([*warnings, *checked.warnings]):
        typer.secho(f"Warning: {text}", fg="yellow")


def show_samples(samples: Sequence[Converted]) -> None:
    """Print one line per sample that was read from an instrument's folder."""
    rows = [
        (
            *(s.name, s.technology, s.panel, s.cells, s.genes, s.controls),
            *(_share(s.control_rate), " × ".join(f"{size:,.0f}" for size in s.extent) + _unit(s.unit)),
            _length(s.spacing, s.unit),
        )
        for s in samples
    ]
    names = (
        "sample",
        "technology",
        "panel",
        "cells",
        "genes",
        "controls",
        "of all counts",
        "extent",
        "spacing",
    )
    show(names, rows)


def _length(value: float, unit: str) -> str:
    """Length with its unit, ``""`` where it is not known."""
    return "" if value != value else f"{value:.3g}{_unit(unit)}"


def _unit(unit: str) -> str:
    from lloki.io.units import symbol

    return f" {symbol(unit)}" if unit else " (unit?)"


def _share(value: float) -> str:
    return "" if value != value else f"{value:.2%}"


def show_stages(planned: Plan) -> None:
    """Print the stages of a plan: their units of work, how many are done, cells and time; and all."""
    rows = [(s.stage, s.units, s.done, s.cells, duration(s.seconds)) for s in planned.stages]
    show(("stage", "units", "already done", "cells", "about"), rows)
    memory, disk = (f"{size / 1e9:.1f} GB" for size in (planned.memory, planned.disk))
    typer.echo(
        f"On this machine, as busy as it is now: about {duration(planned.seconds)} in all, with the inputs "
        f"and the report, {memory} of memory and {disk} of disk."
    )


def duration(seconds: float) -> str:
    """Write a time in the unit that suits it."""
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.1f} {unit}"
    return "" if seconds != seconds else f"{seconds:.0f} s"


def show_result(result: Result) -> None:
    """Print the figures of a run, where to look, and last, whether it can be trusted."""
    show_frame(result.quality, title="Quality (higher is better)")
    typer.echo(f"Report: {result.report.resolve()}")
    typer.echo(f"All cells in one embedding: {(result.folder / 'integrated.h5ad').resolve()}")
    typer.echo(f"Can it be trusted? {result.verdict}")


def show_frame(frame: pd.DataFrame, *, title: str | None = None) -> None:
    """Print a small data frame."""
    rows = [list(row) for row in frame.itertuples(index=False)]
    show([str(c).replace("_", " ") for c in frame.columns], rows, title=title)


def _count(things: Sequence[Any], noun: str) -> str:
    return f"{len(things)} {noun}{'s' if len(things) > 1 else ''}" if things else ""


def _text(value: object) -> str:
    if isinstance(value, float):
        return "" if value != value else f"{value:.3f}"  # NaN: not computed
    return f"{value:,}" if isinstance(value, int) else str(value)
