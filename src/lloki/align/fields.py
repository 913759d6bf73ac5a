"""A slice as images: the neighborhood means of each channel, at several radii."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.fft as fft
from numpy.typing import NDArray
from scipy import sparse
from scipy.ndimage import gaussian_filter

from lloki.align.channels import Cells
from lloki.align.extent import frame

Doubles = NDArray[np.float64]
Images = NDArray[np.float32]

MARGIN = 4  # empty pixels around the tissue, as much as smoothing can spread it
_TISSUE = 0.35  # of a slice's mean density: where it is lower, there is no tissue
_MOST = 3.0  # times the root mean square: one spot must not decide


@dataclass(frozen=True, eq=False)
class Fields:
    r"""Band-passed images of one slice.

    Image b of channel c is :math:`\bar y_c(\sigma_b) - \bar y_c(\sigma_{b+1})`, the difference of the means
    over Gaussian neighborhoods of two radii; the last radius is compared with the mean of the slice.
    Differences are what is shared between slices even where their mean composition is not, as when one is a
    part of the other; and being nearly independent they can be summed as evidence.

    Attributes
    ----------
    values
        (B, K, n, n) float32, of mean square 1 within the tissue and at most 3 either way, 0 outside.
    tissue
        (n, n) float32: 1 where there is tissue.
    reliability
        (B, K): correlation that two such images of the same tissue would have, from random halves of the
        cells (Spearman and Brown's formula). It is near 0 where an image shows sampling noise alone.
    center
        (2,) position of the middle pixel.
    pixel
        Width of a pixel, in the unit of the positions.
    """

    values: Images
    tissue: Images
    reliability: Doubles
    center: Doubles
    pixel: float

    @property
    def side(self) -> int:
        """Pixels across."""
        return int(self.tissue.shape[0])

    def to_pixels(self, xy: Doubles) -> Doubles:
        """Positions (n, 2) as coordinates in the images."""
        return (xy - self.center) / self.pixel + self.side // 2

    def tissue_pixels(self) -> tuple[NDArray[np.int64], Doubles]:
        """Return indices (p, 2) of pixels with tissue, and their positions (p, 2)."""
        index = np.argwhere(self.tissue > 0)
        return index, (index - self.side // 2) * self.pixel + self.center


def make_fields(cells: Cells, pixel: float, bands: tuple[float, ...], *, seed: int) -> Fields:
    """Draw a slice.

    Parameters
    ----------
    cells
        Of n cells; K channels.
    pixel
        Width of a pixel.
    bands
        (B,) radii in pixels, ascending.
    seed
        Random seed.

    Notes
    -----
    Time and memory grow with B·K·(pixels across)², and with n·K.
    """
    center, radius = frame(cells.xy)
    half = int(np.ceil(radius / pixel)) + MARGIN
    keep = np.linalg.norm(cells.xy - center, axis=1) <= radius
    cells = cells.take(keep)
    place = _deposit(cells.xy - center, pixel, half)
    values, tissue = _draw(place, cells.channels, (pixel / cells.spacing) ** 2, bands)
    chosen = np.random.default_rng(seed).random(len(cells.xy)) < 0.5
    halves = [
        _draw(place[:, h], cells.channels[h], (pixel / cells.spacing) ** 2 / 2, bands)[0]
        for h in (chosen, ~chosen)
    ]
    first, second = (h * tissue for h in halves)
    together = (first * second).sum((2, 3), dtype=np.float64)
    apart = np.sqrt((first**2).sum((2, 3), dtype=np.float64) * (second**2).sum((2, 3), dtype=np.float64))
    r = np.clip(together / np.maximum(apart, 1e-12), 0, 0.999)
    for _ in range(2):  # what is cut off changes the mean square, a little
        power = (values**2).sum((2, 3), dtype=np.float64) / max(tissue.sum(), 1)
        values /= np.sqrt(np.maximum(power, 1e-12))[:, :, None, None].astype(np.float32)
        np.clip(values, -_MOST, _MOST, out=values)
    return Fields(values, tissue, 2 * r / (1 + r), center, pixel)


def _deposit(xy: Doubles, pixel: float, half: int) -> sparse.csr_matrix:
    """(pixels, n) matrix that shares each cell between the four pixels around it."""
    side = 2 * half + 1
    at = xy / pixel + half
    low = np.floor(at).astype(np.int64)
    part = at - low
    rows, weights = [], []
    for dx in (0, 1):
        for dy in (0, 1):
            rows.append((low[:, 0] + dx) * side + low[:, 1] + dy)
            weights.append(np.abs(1 - dx - part[:, 0]) * np.abs(1 - dy - part[:, 1]))
    cells = np.tile(np.arange(len(xy)), 4)
    matrix = sparse.csr_matrix(
        (np.concatenate(weights), (np.concatenate(rows), cells)), shape=(side * side, len(xy))
    )
    return matrix


def _draw(
    place: sparse.csr_matrix, channels: Doubles, density: float, bands: tuple[float, ...]
) -> tuple[Images, Images]:
    """Band-passed images (B, K, n, n) and tissue (n, n); ``density`` is the mean number of cells a pixel."""
    side = int(np.sqrt(place.shape[0]))
    sums = (place @ np.column_stack([channels, np.ones(len(channels))])).T.reshape(-1, side, side)
    smooth = np.stack([[gaussian_filter(s, b, mode="constant", truncate=3.0) for s in sums] for b in bands])
    tissue = smooth[min(1, len(bands) - 1), -1] > _TISSUE * density
    means = smooth[:, :-1] / np.maximum(smooth[:, -1:], 1e-3 * density)
    last = means[-1:] - (means[-1:] * tissue).sum((2, 3), keepdims=True) / max(tissue.sum(), 1)
    images = np.concatenate([means[:-1] - means[1:], last]) * tissue
    return images.astype(np.float32), tissue.astype(np.float32)


def autocorrelation(fields: Fields) -> tuple[Doubles, Doubles]:
    """Correlation of every image with itself moved by r pixels, (B, K, R), and pixels (R,) at that distance.

    It is the mean over all directions, out to where under a third of the tissue still covers itself.
    """
    shape = (fft.next_fast_len(2 * fields.side, real=True),) * 2
    power = np.abs(fft.rfft2(fields.values, s=shape, axes=(2, 3))) ** 2
    common = np.maximum(fft.irfft2(np.abs(fft.rfft2(fields.tissue, s=shape)) ** 2, s=shape), 1)
    moved = fft.irfft2(power, s=shape, axes=(2, 3)) / common
    moved[:, :, common < fields.tissue.sum() / 3] = 0
    moved /= np.maximum(moved[:, :, :1, :1], 1e-12)
    step = np.abs(np.fft.fftfreq(shape[0], 1 / shape[0]))
    distance = np.rint(np.hypot(step[:, None], step[None])).astype(np.int64).ravel()
    reach = fields.side // 2
    inside = distance < reach
    count = np.bincount(distance[inside], minlength=reach).astype(np.float64)
    flat = moved.reshape(-1, moved.shape[2] * moved.shape[3])[:, inside]
    means = np.stack([np.bincount(distance[inside], row, minlength=reach) for row in flat]) / count
    return means.reshape(*moved.shape[:2], reach), count
