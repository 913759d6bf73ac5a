"""Free names, and the known name that a misspelled one stands for."""

from __future__ import annotations

import difflib
from collections.abc import Container, Iterable


def free_name(name: str, taken: Container[str]) -> str:
    """Return the name, with as many underscores as it needs to be none of those taken."""
    while name in taken:
        name += "_"
    return name


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Name the nearest known name, or all there are, as the end of an error message."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(known)}."
