"""Names that nothing else has."""

from __future__ import annotations

from collections.abc import Container


def free_name(name: str, taken: Container[str]) -> str:
    """Return the name, with as many underscores as it needs to be none of those taken."""
    while name in taken:
        name += "_"
    return name
