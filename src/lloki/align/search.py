"""All rotations and all translations: how well two slices agree at each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import scipy.fft as fft
from numpy.typing import NDArray
from scipy import sparse

from lloki._parallel import map_ordered
from lloki._progress import Advance
from lloki.align._evidence import Weighing, evidence, weigh
from lloki.align.fields import Fields
from lloki.align.rigid import Rigid, stand_ins

Doubles = NDArray[np.float64]

PEAKS = 3  # translations kept of each rotation
_APART = 4  # pixels between them


@dataclass(frozen=True, eq=False)
class Pose:
    """A transform and the evidence for it."""

    transform: Rigid
    evidence: float


@dataclass(frozen=True, eq=False)
class Curve:
    """Evidence at the best translation of every rotation.

    Attributes
    ----------
    degrees
        (r,) rotations.
    plain, mirrored
        (r,) evidence without and with a reflection.
    """

    degrees: Doubles
    plain: Doubles
    mirrored: Doubles


class Search:
    r"""Compares the images of two slices at every translation at once, rotation by rotation.

    Sums over the common area, as a function of the translation, are cross-correlations, which Fourier
    transforms give for all translations together (Padfield 2012, for images with masks). The moving images
    are rotated by linear interpolation: Gaussian neighborhoods are round, so a rotated image is the image of
    the rotated cells.

    Parameters
    ----------
    fixed, moving
        Images with pixels of one width.
    min_overlap
        Minimum share of the smaller tissue that must overlap.
    """

    def __init__(self, fixed: Fields, moving: Fields, *, min_overlap: float) -> None:
        self.fixed, self.moving = fixed, moving
        self.weighing: Weighing = weigh(fixed, moving)
        side = fft.next_fast_len(fixed.side + moving.side, real=True)
        self.shape = (side, side)
        self.least = min_overlap * float(min(fixed.tissue.sum(), moving.tissue.sum()))
        weight = self.weighing.weight[:, :, None, None]
        self._images = self._transform(fixed.values * weight)  # (B, K, N, N/2+1)
        self._power = self._transform((fixed.values**2 * weight).sum(1))  # (B, N, N/2+1)
        self._tissue = self._transform(fixed.tissue)
        bands, channels = fixed.values.shape[:2]
        images = moving.values.reshape(bands * channels, -1)
        self._stack = np.concatenate([images, moving.tissue.reshape(1, -1)]).T.copy()  # (n², B·K + 1)

    def run(
        self, step: float, *, threads: int | None = None, advance: Advance | None = None
    ) -> tuple[list[Pose], Curve]:
        """Score all rotations, plain and mirrored.

        Parameters
        ----------
        step
            Degrees between rotations, at most; they divide the circle evenly.
        threads
            Threads; the result does not depend on it.
        advance
            Called with numbers of rotations done; there are ``2 * ceil(360 / step)``.

        Returns
        -------
        poses, curve
            The best translations of each rotation, and the evidence at the very best. Time grows with
            rotations x B x K x pixels² x log(pixels), whatever the number of cells.
        """
        degrees = np.arange(0, 360, 360 / np.ceil(360 / step))
        tasks = [(d, mirrored) for mirrored in (False, True) for d in degrees]
        poses: list[Pose] = []
        best = []
        for found in map_ordered(lambda task: self.at(*task), tasks, threads=threads):
            poses += found
            best.append(found[0].evidence if found else 0.0)
            if advance is not None:
                advance(1)
        plain, mirrored = np.array(best).reshape(2, -1)
        return poses, Curve(degrees, plain, mirrored)

    def at(self, degrees: float, reflected: bool) -> list[Pose]:
        """Return the best translations at one rotation, best first."""
        turn = Rigid.make(degrees, reflected=reflected)
        images, tissue = self._rotated(turn.rotation)
        weight = self.weighing.weight[:, :, None, None]
        common = self._transform(tissue).conj()
        pixels = np.maximum(self._back(self._tissue * common), 0)
        products = self._back((self._images * self._transform(images).conj()).sum(1))
        fixed_power = self._back(self._power * common)
        moving_power = self._back(self._tissue * self._transform((images**2 * weight).sum(1)).conj())
        score = evidence(products, fixed_power, moving_power, pixels, self.weighing).sum(0)
        score[pixels < self.least] = -np.inf
        return [Pose(self._pose(turn, index), value) for index, value in _peaks(score)]

    def _pose(self, turn: Rigid, index: tuple[int, int]) -> Rigid:
        """Return the transform that a place in the map of translations stands for."""
        shift = np.array([i if i < self.fixed.side else i - n for i, n in zip(index, self.shape)])
        # moving pixel p lies on fixed pixel p + shift, each counted from its own corner
        middle = shift - self.fixed.side // 2 + self.moving.side // 2
        return Rigid.about(turn, self.moving.center, self.fixed.center + self.fixed.pixel * middle)

    def _rotated(self, rotation: Doubles) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Turn the moving images (B, K, n, n) and tissue (n, n) about their middle."""
        side, half = self.moving.side, self.moving.side // 2
        grid = np.arange(side) - half
        at = np.stack(np.meshgrid(grid, grid, indexing="ij"), axis=-1).reshape(-1, 2) @ rotation + half
        low = np.floor(at).astype(np.int64)
        rows = np.flatnonzero(((low >= 0) & (low < side - 1)).all(1))
        low, part = low[rows], (at[rows] - low[rows]).astype(np.float32)
        corners = [(dx, dy) for dx in (0, 1) for dy in (0, 1)]
        columns = np.concatenate([(low[:, 0] + dx) * side + low[:, 1] + dy for dx, dy in corners])
        weights = np.concatenate(
            [np.abs(1 - dx - part[:, 0]) * np.abs(1 - dy - part[:, 1]) for dx, dy in corners]
        )
        turn = sparse.csr_matrix((weights, (np.tile(rows, 4), columns)), shape=(side * side,) * 2)
        out = np.ascontiguousarray((turn @ self._stack).T)
        tissue = (out[-1].reshape(side, side) > 0.5).astype(np.float32)
        return out[:-1].reshape(self.moving.values.shape) * tissue, tissue

    def _transform(self, images: NDArray[np.float32]) -> NDArray[np.complex64]:
        out: NDArray[np.complex64] = fft.rfft2(images, s=self.shape, axes=(-2, -1))
        return out

    def _back(self, spectrum: NDArray[np.complex64]) -> NDArray[np.float32]:
        out: NDArray[np.float32] = fft.irfft2(spectrum, s=self.shape, axes=(-2, -1))
        return out


def _peaks(score: NDArray[np.float32]) -> Iterator[tuple[tuple[int, int], float]]:
    """Highest places of a periodic map that lie apart, with their values. Consumes the map."""
    for _ in range(PEAKS):
        i, j = (int(k) for k in np.unravel_index(int(score.argmax()), score.shape))
        value = float(score[i, j])
        if not value > 0:
            return
        yield (i, j), value
        window = np.arange(-_APART, _APART + 1)
        score[np.ix_((i + window) % score.shape[0], (j + window) % score.shape[1])] = -np.inf


def apart(poses: list[Pose], xy: Doubles, distance: float, most: int) -> list[Pose]:
    """Keep the best poses that put the points ``xy`` (n, 2) at least ``distance`` (rms) apart."""
    corners = stand_ins(xy)
    kept: list[Pose] = []
    places: list[Doubles] = []
    for pose in sorted(poses, key=lambda p: -p.evidence):
        put = pose.transform.apply(corners)
        if all(np.sqrt(((put - other) ** 2).sum(1).mean()) >= distance for other in places):
            kept.append(pose)
            places.append(put)
            if len(kept) == most:
                break
    return kept
