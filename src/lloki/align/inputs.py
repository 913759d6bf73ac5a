"""What is checked before slices are compared."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lloki.align.channels import Cells
from lloki.align.config import AlignConfig
from lloki.errors import InputError, LlokiWarning

Doubles = NDArray[np.float64]

_UNLIKE_UNITS = 3.0  # ratio of spacings; sections of one tissue rarely differ by that much
_CALLER = 4  # frames up to whoever called `align`


def positions(given: dict[str, ArrayLike]) -> tuple[Doubles, Doubles]:
    """Check positions, and keep two coordinates of each.

    Raises
    ------
    InputError
        If one is not finite, or not of a plane or of space.
    """
    arrays = {name: np.asarray(xy, np.float64) for name, xy in given.items()}
    for name, xy in arrays.items():
        if xy.ndim != 2 or xy.shape[1] not in (2, 3):
            raise InputError(
                f"positions have shape {xy.shape}", where=f"{name} slice", hint="Pass (cells, 2) centroids."
            )
        lost = int((~np.isfinite(xy)).any(1).sum())
        if lost:
            raise InputError(
                f"{lost} of {len(xy)} cells have a position that is NaN or infinite",
                where=f"{name} slice",
                hint="Leave these cells out, or give them positions.",
            )
    deep = [n for n, xy in arrays.items() if xy.shape[1] == 3]
    if deep:
        text = (
            f"The third coordinate of the {' and '.join(deep)} slice is not used: alignment is in the plane."
        )
        warnings.warn(text, LlokiWarning, stacklevel=_CALLER)
    return arrays["fixed"][:, :2], arrays["moving"][:, :2]


def usable_rows(embedding: ArrayLike, n: int, name: str) -> NDArray[np.int64]:
    """Return rows of an embedding (n, d) that say something: finite, and not all zero.

    Raises
    ------
    InputError
        If it has not one row a cell.
    """
    x = np.asarray(embedding, np.float64)
    if x.ndim != 2 or len(x) != n:
        raise InputError(
            f"the embedding has shape {x.shape}, for {n} cells",
            where=f"{name} slice",
            hint="Pass one row of the joint embedding a cell.",
        )
    return np.flatnonzero(np.isfinite(x).all(1) & (x != 0).any(1))


def moving_unit(cells: list[Cells], config: AlignConfig) -> float:
    """Report the units of the fixed slice per unit of the moving one; warn if units seem to differ."""
    ratio = cells[0].spacing / cells[1].spacing
    if config.scale is not None:
        return config.scale
    if config.allow_scale:
        return ratio
    if not 1 / _UNLIKE_UNITS < ratio < _UNLIKE_UNITS:
        warnings.warn(
            f"Neighboring cells lie {cells[0].spacing:.3g} apart in the fixed slice and "
            f"{cells[1].spacing:.3g} in the moving one. If their units differ (pixels and µm), give scale=, "
            "the fixed units in a moving one, or set allow_scale=True.",
            LlokiWarning,
            stacklevel=_CALLER,
        )
    return 1.0
