"""The project speaks plain scientific English, American spelling: expressions that it does not use."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# What is not written, as a word or as a part of a name, and what is written instead.
INSTEAD = {
    r"mend(s|ed|ing)?": "fix, corrected, hint",
    r"said|tells? apart|told": "reported, assigned, distinguished",
    r"foretell(s|ing)?|foretold": "predict, predicted",
    r"like tissue": "matched tissue",
    r"lend(s|er|ing)?|lent": "reference, additional reference",
    r"the (door|house)|of the house|rooms?": "input validation, architecture, module",
    r"sets? \w* ?aside|setting aside": "skip",
    r"goes on": "resumes, continues",
    r"leaves with (exit )?status": "exits with status",
    r"of everything random": "random seed",
    r"keeps? (its|their) word": "calibration",
    r"features of 0 or more": "non-negative features",
    r"\w*(colour|neighbour|behaviour|favour|normalis)\w*": "American spelling",
    r"centerd|centred": "centered",
}
WORDS = re.compile("|".join(rf"(?<![a-z])(?:{words})(?![a-z])" for words in INSTEAD), re.IGNORECASE)
PAGES = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"]


def texts(folder: str) -> list[Path]:
    found = [path for kind in ("md", "py", "html") for path in (ROOT / folder).rglob(f"*.{kind}")]
    assert found
    return [path for path in found if "_build" not in path.parts]


def violations(path: Path) -> list[str]:
    lines = path.read_text(encoding="utf-8").splitlines()
    if path.name == "CHANGELOG.md":  # its table holds earlier names
        lines = ["" if line.startswith("|") else line for line in lines]
    found = ((n, match) for n, line in enumerate(lines, 1) for match in WORDS.finditer(line))
    return [f"{path.relative_to(ROOT)}:{n}: {match.group()!r}" for n, match in found]


@pytest.mark.parametrize(
    "folder",
    ["docs", "benchmarks", "src"],
)
def test_folders_speak_plainly(folder):
    assert [line for path in texts(folder) for line in violations(path)] == []


@pytest.mark.parametrize("page", PAGES)
def test_pages_speak_plainly(page):
    assert violations(ROOT / page) == []


@pytest.mark.parametrize(
    ("text", "hits"),
    [
        ("what it said: labels told, mended", 3),
        ("`n_told` and `said_by`", 2),
        ("recommended, aforesaid, amends, blend, calendar, sentence, headroom", 0),
        ("set it aside, set aside", 2),
        ("single-cell RNA-seq of like tissue", 1),
        ("neighbours of colour; centerd; normalised", 4),
    ],
)
def test_what_counts_as_an_expression(text, hits):
    assert len(WORDS.findall(text)) == hits
