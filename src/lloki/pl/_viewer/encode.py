"""Arrays as text that a page can hold: quantized, compressed, in base64."""

from __future__ import annotations

import base64
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NOWHERE = 65_535  # of a position that is not known
ABSENT = 255  # of a value that is not known, on the scale of 0 to 254
_STEPS, _LEVELS = NOWHERE - 1, ABSENT - 1


@dataclass(frozen=True)
class Box:
    """A rectangle that holds cells: its upper left corner, width and height, never 0."""

    left: float
    top: float
    width: float
    height: float

    @classmethod
    def around(cls, xy: NDArray) -> Box:
        """Find the smallest one around (n, 2) points, of which some may not be finite."""
        xy = xy[np.isfinite(xy).all(axis=1)]
        if not len(xy):
            return cls(0.0, 0.0, 1.0, 1.0)
        low, size = xy.min(axis=0), np.ptp(xy, axis=0)
        least = max(float(size.max()), 1e-9) * 1e-3
        return cls(float(low[0]), float(low[1]), *(float(max(s, least)) for s in size))


def positions(xy: NDArray, box: Box) -> NDArray[np.uint16]:
    """(n, 2) places in a box in steps of 1/65,534 of its width and height; `NOWHERE` where not finite."""
    share = (np.asarray(xy, float) - (box.left, box.top)) / (box.width, box.height)
    known = np.isfinite(share).all(axis=1, keepdims=True)
    steps = np.rint(np.clip(np.where(known, share, 0), 0, 1) * _STEPS)
    return np.where(known, steps, NOWHERE).astype(np.uint16)


def levels(values: NDArray, low: float, high: float) -> NDArray[np.uint8]:
    """(n,) numbers in 254 steps from ``low`` to ``high``, clipped there; `ABSENT` where not finite."""
    share = (np.asarray(values, float) - low) / (high - low if high > low else 1.0)
    known = np.isfinite(share)
    return np.where(known, np.rint(np.clip(np.where(known, share, 0), 0, 1) * _LEVELS), ABSENT).astype(
        np.uint8
    )


def text_of(array: NDArray) -> str:
    """Compress an array of bytes or 16-bit numbers.

    Of 16-bit numbers all low bytes come first, then all high ones, which compress well in neighboring cells.
    The same array gives the same text.
    """
    array = np.ascontiguousarray(array)
    if array.dtype == np.uint16:
        array = np.ascontiguousarray(array.astype("<u2").reshape(-1).view(np.uint8).reshape(-1, 2).T)
    elif array.dtype != np.uint8:
        raise TypeError(f"bytes or 16-bit numbers, not {array.dtype}")
    return _packed(array.tobytes())


def text_of_names(names: list[str]) -> str:
    """Compress names, one a line; what would break a line becomes a blank."""
    lines = (" ".join(name.splitlines()) for name in names)
    return _packed("\n".join(lines).encode("utf-8"))


def _packed(data: bytes) -> str:
    return base64.b64encode(zlib.compress(data, 7)).decode("ascii")
