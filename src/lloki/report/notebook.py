"""A run as a notebook shows it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import escape

from lloki.report import words
from lloki.report.answer import answer_of

_SHOWN = {"slice": "Slice", "technology": "Technology", "cells": "Cells", "genes": "Genes"}


def run_card(folder: Path, run: Mapping[str, Any], qc: pd.DataFrame) -> str:
    """Write the verdict, the slices and where the report is, as HTML with all names escaped."""
    answer = answer_of(run)
    columns = [c for c in _SHOWN if c in qc]
    head = "".join(f"<th>{escape(_SHOWN[c])}</th>" for c in columns)
    rows = "".join(
        "<tr>" + "".join(f"<td>{escape(words.number(row[c]))}</td>" for c in columns) + "</tr>"
        for row in qc.to_dict("records")
    )
    return (
        f"<div><p><b>{escape(answer.word)}</b> {escape(' '.join((answer.reason, *answer.more)))}</p>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
        f"<p>Report: <code>{escape(str((folder / 'report.html').resolve()))}</code>; cells: "
        "<code>result.adata</code>; explore them: <code>lloki.pl.interactive(result.adata)</code></p></div>"
    )
