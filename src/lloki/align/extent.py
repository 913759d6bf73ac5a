"""How far a slice reaches, and how far apart its cells lie."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]

_FAR = 1.15  # beyond so many times the radius that holds 99 % of the cells, cells are debris
_LINE = 1e-3  # of its length: cells within a strip as thin as this lie on a line


def frame(xy: Doubles) -> tuple[Doubles, float]:
    """Center of the tissue, and the radius around it that holds every cell but debris."""
    center = np.quantile(xy, [0.01, 0.99], axis=0).mean(0)
    distance = np.linalg.norm(xy - center, axis=1)
    return center, float(min(distance.max(), _FAR * np.quantile(distance, 0.99)))


def cell_spacing(xy: Doubles) -> float:
    """Square root of the tissue's area per cell: the side of the square that a cell has to itself.

    The area is that of occupied squares, each wide enough for four cells, so that holes do not count.
    Unlike the distance of nearest neighbors, it does not depend on whether cells lie evenly. 0 where the
    cells have no area: they lie on a line, or in one place.
    """
    center, radius = frame(xy)
    xy = xy[np.linalg.norm(xy - center, axis=1) <= radius]
    across = np.linalg.eigvalsh(np.cov(xy.T))
    if not across[0] > _LINE**2 * across[1]:
        return 0.0
    # squares from the density in the middle, the box between the quartiles
    low, high = np.quantile(xy, [0.25, 0.75], axis=0)
    inside = max(int(((xy >= low) & (xy <= high)).all(1).sum()), 1)
    side = 2 * float(np.sqrt(np.prod(high - low) / inside))
    if not side > 0:
        return 0.0
    square = np.floor((xy - low) / side).astype(np.int64)
    occupied = len(np.unique(square, axis=0))
    return side * float(np.sqrt(occupied / len(xy)))
