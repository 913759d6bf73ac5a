"""Directions of cells: the cosine of two cells is the product of their rows of length one."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_SHORTEST = 1e-12  # rows of zeros stay zero


def unit_rows(x: NDArray[Any]) -> NDArray[Any]:
    """Scale rows of (n, d) floating-point numbers to length one, in their own precision."""
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), x.dtype.type(_SHORTEST))
