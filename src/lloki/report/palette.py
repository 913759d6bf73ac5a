"""Colors for categories: many, far apart, and for every eye, on light pages and dark ones."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

MOST = 60  # colors that can still be told apart side by side; further categories share OTHER
OTHER = "#8a8f98"  # mid-gray: everything without a color of its own

# Okabe and Ito's set without black and without its pale yellow, which vanish on a dark or a light page.
_FIRST = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9")

# Machado, Oliveira & Fernandes (2009), severity 1, on linear RGB.
_DEUTERANOPIA = np.array(
    [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]]
)
_PROTANOPIA = np.array(
    [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
)


def category_colors(categories: Sequence[str]) -> dict[str, str]:
    """Give every category its color, as ``#rrggbb``.

    The first `MOST` categories get their own; the rest share `OTHER`. The same list gives the same colors,
    so one call per key keeps a cluster's color the same in all figures.
    """
    wheel = distinct_colors(min(len(categories), MOST))
    return {c: wheel[i] if i < MOST else OTHER for i, c in enumerate(categories)}


@lru_cache
def distinct_colors(n: int) -> tuple[str, ...]:
    """Return ``n`` colors, each as far as can be from those before it.

    Six well-tried ones come first; then, greedily, the sRGB color whose nearest predecessor is farthest in
    OKLab, where the distance of two colors is the least of those seen with normal, deuteranopic and
    protanopic vision, the last two stretched by 1.5 as their gamut is smaller. Candidates keep a lightness
    between 0.5 and 0.85, to show on white and on near-black.
    """
    levels = np.arange(16, 256, 24) / 255
    grid = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(-1, 3)
    lightness = _oklab(_linear(grid))[:, 0]
    grid = grid[(lightness > 0.5) & (lightness < 0.85)]
    first = np.array([[int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)] for c in _FIRST])
    pool = np.vstack([first, grid])
    seen = as_seen(pool)
    chosen = list(range(min(n, len(_FIRST))))
    # Gray stands for "other", so it counts as taken.
    nearest = _distance(seen, as_seen(np.full((1, 3), 0.56))[:, 0])
    for i in chosen:
        nearest = np.minimum(nearest, _distance(seen, seen[:, i]))
    while len(chosen) < n:
        chosen.append(int(nearest.argmax()))
        nearest = np.minimum(nearest, _distance(seen, seen[:, chosen[-1]]))
    return tuple("#" + "".join(f"{round(v * 255):02x}" for v in pool[i]) for i in chosen)


def as_seen(rgb: NDArray) -> NDArray:
    """OKLab coordinates (3 visions, n, 3) of sRGB colors (n, 3): normal, deuteranopic, protanopic."""
    linear = _linear(rgb)
    return np.stack([_oklab(np.clip(linear @ m.T, 0, 1)) for m in (np.eye(3), _DEUTERANOPIA, _PROTANOPIA)])


def _distance(seen: NDArray, one: NDArray) -> NDArray:
    return (np.linalg.norm(seen - one[:, None], axis=2) * np.array([[1.0], [1.5], [1.5]])).min(axis=0)


def _linear(rgb: NDArray) -> NDArray:
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def _oklab(linear: NDArray) -> NDArray:
    """Linear sRGB to OKLab (Ottosson 2020)."""
    to_lms = np.array(
        [
            [0.4122214708, 0.5363325363, 0.0514459929],
            [0.2119034982, 0.6806995451, 0.1073969566],
            [0.0883024619, 0.2817188376, 0.6299787005],
        ]
    )
    to_lab = np.array(
        [
            [0.2104542553, 0.7936177850, -0.0040720468],
            [1.9779984951, -2.4285922050, 0.4505937099],
            [0.0259040371, 0.7827717662, -0.8086757660],
        ]
    )
    return np.cbrt(linear @ to_lms.T) @ to_lab.T
