"""Whether a run can be trusted, as pages show it: the one place where they read the verdict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lloki.evaluate.verdict import Verdict
from lloki.report.analysis_page import Answer

_GRADES = {"yes": "good", "with care": "fair", "cannot tell": ""}  # any other is bad news


def answer_of(run: Mapping[str, Any]) -> Answer:
    """Put the verdict and its gravest reason into one sentence, which stands first, and the others below it.

    Parameters
    ----------
    run
        The content of ``run.json``.
    """
    found = Verdict.from_dict(run.get("verdict") or {})
    first, *rest = found.reasons
    return Answer(f"{found.word}. {first}", _GRADES.get(found.answer, "poor"), " ".join(rest))
