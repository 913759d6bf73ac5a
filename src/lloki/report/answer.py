"""Whether a run can be trusted, as pages show it: the one place where they read the verdict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lloki.evaluate.verdict import Verdict
from lloki.report.analysis_page import Answer

_GRADES = {"yes": "good", "with care": "fair", "cannot tell": ""}  # any other is bad news

_NEXT = {
    "yes": "Go on with the joint embedding.",
    "with care": "Go on, but first look at what is named here: results may be wrong there.",
    "no": "Do not compare these slices by the joint embedding: correct what is named here, and run again.",
    "cannot tell": "First check that known markers coincide: nothing here shows that like met like.",
}


def answer_of(run: Mapping[str, Any]) -> Answer:
    """Put the verdict and its gravest reason into one sentence; then what to do, and the other reasons.

    Parameters
    ----------
    run
        The content of ``run.json``.
    """
    found = Verdict.from_dict(run.get("verdict") or {})
    first, *rest = found.reasons
    grade, advice = _GRADES.get(found.answer, "poor"), _NEXT.get(found.answer, "")
    return Answer(f"{found.word}. {first}", grade, advice, tuple(rest))
