"""The viewer of cells: one part of an HTML page, which needs nothing from outside it."""

from lloki.pl._viewer.cells import (
    COMMON_FRAME,
    EMBEDDING,
    TISSUE,
    PanelOf,
    Viewer,
    page,
    policy,
    script_hash,
    style,
    theme,
    viewer_of,
)

__all__ = [
    "COMMON_FRAME",
    "EMBEDDING",
    "TISSUE",
    "PanelOf",
    "Viewer",
    "page",
    "policy",
    "script_hash",
    "style",
    "theme",
    "viewer_of",
]
