"""Slices to align."""

from __future__ import annotations

import pytest
from pieces import Piece, cut, split


@pytest.fixture(scope="session")
def halves() -> tuple[Piece, Piece]:
    """One section's cells, split at random."""
    return split(cut(cells=2400))
