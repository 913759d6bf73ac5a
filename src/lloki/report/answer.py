"""Whether a run can be trusted, as pages show it: the one place where they read the verdict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lloki.evaluate import verdict
from lloki.report.analysis_page import Answer

_GRADES = {"Yes": "good", "With care": "fair", "Unknown": ""}  # any other word is bad news


def answer_of(run: Mapping[str, Any]) -> Answer:
    """Put the verdict into one sentence, which stands first, and the reasons below it.

    Parameters
    ----------
    run
        The content of ``run.json``.
    """
    found = verdict.judge(run.get("metrics") or {})
    first, _, rest = found.reason.partition(". ")
    return Answer(f"{found.word}. {first.rstrip('.')}.", _GRADES.get(found.word, "poor"), rest)
