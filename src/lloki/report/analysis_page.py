"""The page of an analysis: one HTML file that holds everything it shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lloki.pl._viewer import Viewer
from lloki.report.page import write_page
from lloki.report.panels import Shown
from lloki.report.table import Table

Legend = tuple[tuple[str, str, int], ...]


@dataclass(frozen=True)
class Section:
    """A part of a page.

    Attributes
    ----------
    heading
        A few words, which stand in the navigation as well.
    text
        What is shown and how to read it, in plain words: paragraphs.
    figures, tables
        Below the text, in this order.
    legend
        Of all figures together: (name, color, number of cells).
    width
        Of figures: ``"one"`` in a row, for those that hold several slices, ``"two"``, or ``""`` for as many
        as fit.
    pictures
        Whether it shows what the viewer shows: then only where that cannot be.
    """

    heading: str
    text: Sequence[str] = ()
    figures: Sequence[Shown] = ()
    tables: Sequence[Table] = ()
    legend: Legend = ()
    width: str = "two"
    pictures: bool = False


@dataclass(frozen=True)
class Answer:
    """What an analysis says in a word, before everything else: good, fair or poor news, and why."""

    word: str
    grade: str
    reason: str
    more: tuple[str, ...] = ()


def build_analysis_page(
    title: str,
    summary: str,
    sections: Sequence[Section],
    *,
    answer: Answer | None = None,
    viewer: Viewer | None = None,
    out: str | Path,
) -> Path:
    """Write a page without links to anything outside it.

    Parameters
    ----------
    title
        What was done.
    summary
        A sentence or two to begin with.
    sections
        Parts of the page; those without figures, tables and text are left out.
    answer
        Where the analysis answers a question.
    viewer
        Of the cells, if there is one.
    out
        The file to write.

    Raises
    ------
    OutputError
        If the page cannot be written there.
    """
    shown = [s for s in sections if s.figures or s.tables or s.text]
    return write_page(
        "analysis.html.j2",
        out,
        title=title,
        summary=summary,
        sections=shown,
        answer=answer,
        viewer=viewer,
    )
