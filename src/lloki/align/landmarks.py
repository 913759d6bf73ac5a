"""Landmarks: cells of two slices that are each other's best match, and how much each pair is worth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from lloki._parallel import blocks
from lloki.align.channels import Cells
from lloki.align.rigid import Rigid
from lloki.graph import unit_rows

Doubles = NDArray[np.float64]
Floats = NDArray[np.float32]
Longs = NDArray[np.int64]

HOODS = (8, 30)  # neighbors whose means describe a cell's surroundings, beside the cell itself
_OWN = 0.7  # weight of the cell itself: one cell's counts are noisier than a neighborhood's mean
NEAREST = 32  # cells compared around the expected place
_AGREE = 8  # landmarks around one that may agree with it
BLOCK = 2048


@dataclass(frozen=True, eq=False)
class Landmarks:
    """Pairs of matched cells.

    Attributes
    ----------
    fixed, moving
        (p,) rows of the two slices' cells; a row occurs once at most.
    confidence
        (p,) from 0 to 1: how much better the pair fits than others nearby, times the share of landmarks
        around it that say the same.
    """

    fixed: Longs
    moving: Longs
    confidence: Doubles

    def __len__(self) -> int:
        return len(self.fixed)

    def best(self, most: int) -> Landmarks:
        """Keep the most confident ones, all if ``most`` is 0, in the order of the moving cells."""
        order = np.argsort(-self.confidence, kind="stable")[: most or None]
        order = order[np.argsort(self.moving[order], kind="stable")]
        return Landmarks(self.fixed[order], self.moving[order], self.confidence[order])


def niches(cells: Cells) -> Floats:
    """Describe each cell by itself and its surroundings: (n, K) channels → (n, 3K) rows of length one.

    Many cells of one type are everywhere; with the means over 8 and over 30 neighbors, few are alike.
    """
    near = cKDTree(cells.xy).query(cells.xy, min(HOODS[-1] + 1, len(cells.xy)))[1]
    parts, total = [], np.zeros_like(cells.channels)
    for k in range(near.shape[1]):
        total += cells.channels[near[:, k]]
        if k in HOODS or k == near.shape[1] - 1:
            parts.append(total / (k + 1))
    parts = [_OWN * _unit_power(cells.channels)] + [_unit_power(p) for p in parts]
    return unit_rows(np.hstack(parts)).astype(np.float32)


def match(
    fixed: Cells, moving: Cells, niches: tuple[Floats, Floats], transform: Rigid, *, radius: float
) -> Landmarks:
    """Match cells around the places where a transform expects them.

    A pair is a landmark if each is the other's most similar cell among the 32 nearest within ``radius``.

    Parameters
    ----------
    fixed, moving
        Of n and m cells.
    niches
        Their descriptions, (n, d) and (m, d).
    transform
        Moving to fixed frame, roughly right.
    radius
        In the fixed slice's unit.

    Returns
    -------
    Landmarks
        With rows of ``fixed`` and ``moving`` as given here. Time and memory grow with (n + m)·32·d.
    """
    put = transform.apply(moving.xy)
    forward, clear_forward = _best_near(fixed.xy, niches[0], put, niches[1], radius)
    backward, clear_backward = _best_near(put, niches[1], fixed.xy, niches[0], radius)
    j = np.flatnonzero(forward >= 0)
    j = j[backward[forward[j]] == j]
    i = forward[j]
    distinct = np.sqrt(clear_forward[j] * clear_backward[i])
    return Landmarks(i, j, distinct * _coherence(put[j], fixed.xy[i], radius))


def _best_near(
    targets: Doubles, target_features: Floats, queries: Doubles, features: Floats, radius: float
) -> tuple[Longs, Doubles]:
    """Most similar target near each query, -1 without any, and from 0 to 1 how much it stands out."""
    best = np.full(len(queries), -1, np.int64)
    clear = np.zeros(len(queries))
    if not len(targets):
        return best, clear
    k = min(NEAREST, len(targets))
    tree = cKDTree(targets)
    for rows in blocks(len(queries), BLOCK):
        distance, near = tree.query(queries[rows], k, distance_upper_bound=radius)
        distance, near = distance.reshape(-1, k), near.reshape(-1, k)
        there = np.isfinite(distance)
        near = np.where(there, near, 0)
        similar = np.einsum("nkd,nd->nk", target_features[near], features[rows]).astype(np.float64)
        count = there.sum(1)
        mean = np.where(there, similar, 0).sum(1) / np.maximum(count, 1)
        spread = np.sqrt(np.where(there, (similar - mean[:, None]) ** 2, 0).sum(1) / np.maximum(count, 1))
        similar[~there] = -np.inf
        first = similar.argmax(1)
        own = np.arange(len(near))
        found = count > 0
        best[rows] = np.where(found, near[own, first], -1)
        # the best of k equals is about 2 deviations above their mean; 3 stands out
        deviations = np.where(found, similar[own, first] - mean, 0) / np.maximum(spread, 1e-6)
        clear[rows] = np.where(count > 2, np.clip(deviations / 3, 0, 1), 0) * np.clip(
            similar[own, first], 0, 1
        )
    return best, clear


def _coherence(put: Doubles, partner: Doubles, radius: float) -> Doubles:
    """Share of the 8 nearest landmarks whose partner lies off in the same way, within half the radius."""
    if len(put) < 2:
        return np.zeros(len(put))
    off = partner - put
    k = min(_AGREE + 1, len(put))
    near = cKDTree(put).query(put, k)[1][:, 1:]
    same = np.linalg.norm(off[near] - off[:, None], axis=2) < radius / 2
    return same.mean(1)


def _unit_power(x: Doubles) -> Doubles:
    return x / max(float(np.sqrt((x**2).sum(1).mean())), 1e-12)
