"""Messages about slices, grouped for a reader: a correction that many share is one line."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal

from lloki.io._findings import some

Rank = Literal["act", "note", "trivial"]

# What needs nobody's attention: names and labels that were taken as they should be.
_TRIVIAL = re.compile(r"has a name that lloki uses; kept as|^blanks around|^no cell has a label in")
_SECTION = re.compile(r"( \[.*?\])?: ")


def rank_of(name: str, text: str) -> Rank:
    """Rank a message: to act on (what was left out, or failed), to note, or trivial.

    Parameters
    ----------
    name
        Of the slice, or of the stage that has the message.
    text
        The message without its slice.
    """
    if name in ("training", "held-out genes") or text.startswith("skipped: "):
        return "act"
    return "trivial" if _TRIVIAL.search(text) else "note"


def bare(text: str, where: str) -> str:
    """Cut the input, and the section in it, off the beginning of a message that was kept in ``uns``."""
    place = _SECTION.match(text, len(where)) if text.startswith(where) else None
    return text[place.end() :] if place else text


def grouped(messages: Iterable[tuple[str, str]]) -> list[tuple[str, list[str]]]:
    """Gather the slices that share a message: (text, slices), in order of first appearance."""
    groups: dict[str, dict[str, None]] = {}
    for name, text in messages:
        groups.setdefault(text, {})[name] = None
    return [(text, [n for n in names if n]) for text, names in groups.items()]


def line(text: str, names: Iterable[str]) -> str:
    """One line for slices that share a message: ``a, b: text``."""
    return f"{some(names)}: {text}"


def together(messages: Iterable[tuple[str, str, str]]) -> list[str]:
    """One line for each thing that was corrected, however many slices it was corrected in.

    Parameters
    ----------
    messages
        Slice, its input, and a message that begins with the input.

    Returns
    -------
    list of str
        The message itself where one input has it, which all of its sections may; else the slices' names and
        the message without its input.
    """
    messages = list(messages)
    whole: dict[str, set[str]] = {}
    for _, where, text in messages:
        whole.setdefault(bare(text, where), set()).add(text)
    groups = grouped((name, bare(text, where)) for name, where, text in messages)
    return [whole[text].pop() if len(whole[text]) == 1 else line(text, names) for text, names in groups]
