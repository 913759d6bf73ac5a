"""One page over all that was made of a run: its report, and every analysis of its cells."""

from __future__ import annotations

import html
import json
import os
import re
from pathlib import Path
from urllib.parse import quote

from lloki.errors import OutputError
from lloki.io import atomic
from lloki.report.page import write_page

_LIST = "analyses.json"  # in the folder of a run: its pages, relative to it
_MADE_OF = "made_of.json"  # in the folder of an analysis: its run, relative to it
_OWN = ("report.html", "view.html")
_PARTS = {
    "title": re.compile(r"<h1>(.*?)</h1>", re.DOTALL),
    "summary": re.compile(r'<p class="lead">(.*?)</p>', re.DOTALL),
    "answer": re.compile(r'<div class="card \w*">\s*<b>(.*?)</b>', re.DOTALL),
}


def run_of(file: Path) -> Path | None:
    """Find the folder of the run that a file of cells comes from, directly or through analyses."""
    folder = file.resolve().parent
    for _ in range(10):  # an analysis of an analysis
        if (folder / "run.json").exists():
            return folder
        try:
            folder = (folder / json.loads((folder / _MADE_OF).read_text(encoding="utf-8"))["run"]).resolve()
        except (OSError, ValueError, KeyError, TypeError):
            return None
    return None


def add_to_index(page: Path, source: Path) -> Path | None:
    """List a page among the analyses of the run that its cells come from, if they come from one.

    Parameters
    ----------
    page
        The page of an analysis.
    source
        The file of cells that was analyzed.

    Returns
    -------
    Path or None
        The index, or ``None`` where there is no run, or its folder cannot be written: an analysis is finished
        without it.
    """
    run = run_of(source)
    if run is None:
        return None
    page = page.resolve()
    try:
        if page.parent != run:
            with atomic(page.parent / _MADE_OF) as temporary:
                temporary.write_text(json.dumps({"run": os.path.relpath(run, page.parent)}), encoding="utf-8")
        pages = [p for p in _listed(run) if (run / p).exists()]
        relative = os.path.relpath(page, run)
        if relative not in (*pages, *_OWN):
            pages.append(relative)
        with atomic(run / _LIST) as temporary:
            temporary.write_text(json.dumps(pages, indent=1), encoding="utf-8")
        return write_index(run)
    except (OutputError, ValueError):  # a folder of someone else, or on another drive
        return None


def write_index(run: Path) -> Path:
    """Write ``index.html`` in the folder of a run, with links to its pages.

    Raises
    ------
    OutputError
        If it cannot be written there.
    """
    entries = [_entry(run, name) for name in (*_OWN, *_listed(run)) if (run / name).exists()]
    summary = "Everything made of this run."
    return write_page("index.html.j2", run / "index.html", summary=summary, name=run.name, entries=entries)


def _listed(run: Path) -> list[str]:
    try:
        found = json.loads((run / _LIST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return [p for p in found if isinstance(p, str)] if isinstance(found, list) else []


def _entry(run: Path, name: str) -> dict[str, str]:
    """Read from a page what it is called and what it found."""
    with (run / name).open(encoding="utf-8", errors="replace") as file:
        text = file.read(400_000)
    body = text[text.find("<body>") :].partition('id="explore"')[0]  # verdicts of parts come after it
    found = {part: pattern.search(body) for part, pattern in _PARTS.items()}
    words = {p: html.unescape(re.sub(r"<[^>]+>", "", m[1])).strip() if m else "" for p, m in found.items()}
    folder = "" if name in _OWN else str(Path(name).parent)
    return {
        **words,
        "title": words["title"] or Path(name).stem,
        "href": quote(Path(name).as_posix()),
        "folder": folder,
    }
