"""The compiled loops of pose refinement: what two slices' images have in common, pixel by pixel."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]


@njit(nogil=True, cache=True)
def _interpolate(images: Floats, x: float, y: float, out: Doubles) -> bool:
    """Write all images' values at a place into ``out``; False where there is no tissue (the last image)."""
    n = images.shape[0]
    i, j = int(np.floor(x)), int(np.floor(y))
    if i < 0 or j < 0 or i >= n - 1 or j >= n - 1:
        return False
    u, v = x - i, y - j
    for c in range(images.shape[2] - 1, -1, -1):
        out[c] = (1 - u) * ((1 - v) * images[i, j, c] + v * images[i, j + 1, c])
        out[c] += u * ((1 - v) * images[i + 1, j, c] + v * images[i + 1, j + 1, c])
        if c == images.shape[2] - 1 and out[c] <= 0.0:
            return False
    return True


@njit(nogil=True, cache=True)
def common_sums(fixed: Floats, at: Doubles, moving: Floats, weight: Floats) -> Doubles:
    """Sum products and squares of moving pixels and of the fixed images under them.

    Parameters
    ----------
    fixed
        (n, n, B·K + 1) images of the fixed slice, pixel by pixel; the last is its tissue.
    at
        (p, 2) where the moving pixels lie, in pixels of the fixed images.
    moving
        (p, B·K) the moving images there.
    weight
        (B, K).

    Returns
    -------
    (4, B) weighted sums of products, of fixed and of moving squares, and common pixels. A pixel counts with
    the interpolated tissue under it, so that every sum is a continuous function of the pose.
    """
    bands, channels = weight.shape
    out = np.zeros((4, bands))
    value = np.zeros(fixed.shape[2])
    for p in range(at.shape[0]):
        if not _interpolate(fixed, at[p, 0], at[p, 1], value):
            continue
        tissue = value[bands * channels]
        for b in range(bands):
            product, first, second = 0.0, 0.0, 0.0
            for k in range(channels):
                c = b * channels + k
                w = weight[b, k]
                # the fixed images fade out with their tissue: they hold that factor already
                product += w * value[c] * moving[p, c]
                first += w * value[c] * value[c]
                second += w * moving[p, c] * moving[p, c]
            out[0, b] += product
            out[1, b] += first
            out[2, b] += tissue * second
            out[3, b] += tissue
    return out


@njit(nogil=True, cache=True)
def products(fixed: Floats, at: Doubles, moving: Floats, weight: Floats) -> tuple[Doubles, Doubles]:
    """Return the weighted product of every moving pixel, (p, B), and the tissue (p,) under it.

    Parameters are those of `common_sums`, whose first row these products sum up to.
    """
    bands, channels = weight.shape
    out, tissue = np.zeros((at.shape[0], bands)), np.zeros(at.shape[0])
    value = np.zeros(fixed.shape[2])
    for p in range(at.shape[0]):
        if not _interpolate(fixed, at[p, 0], at[p, 1], value):
            continue
        tissue[p] = value[bands * channels]
        for b in range(bands):
            for k in range(channels):
                c = b * channels + k
                out[p, b] += weight[b, k] * value[c] * moving[p, c]
    return out, tissue


@njit(nogil=True, cache=True)
def channel_sums(fixed: Floats, at: Doubles, moving: Floats, bands: int) -> tuple[Doubles, float]:
    """Return the sums of `common_sums` of every image by itself, (3, B·K) without weights, and the pixels."""
    images = moving.shape[1]
    out, pixels = np.zeros((3, images)), np.zeros(1)
    value = np.zeros(fixed.shape[2])
    for p in range(at.shape[0]):
        if not _interpolate(fixed, at[p, 0], at[p, 1], value):
            continue
        tissue = value[images]
        for c in range(images):
            out[0, c] += value[c] * moving[p, c]
            out[1, c] += value[c] * value[c]
            out[2, c] += tissue * moving[p, c] * moving[p, c]
        pixels[0] += tissue
    return out.reshape(3, bands, images // bands), pixels[0]
