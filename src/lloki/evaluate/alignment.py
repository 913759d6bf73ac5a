"""Figures that say how good a slice alignment is, and the paper's protocol that puts them to the test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.spatial import cKDTree

from lloki.align import Rigid
from lloki.errors import ConfigError

Doubles = NDArray[np.float64]
Longs = NDArray[np.int64]

FLIPPED = 180.0  # degrees that a wrong reflection counts as: no rotation is farther off


@dataclass(frozen=True)
class AlignmentQuality:
    """The paper's three measures, each a mean over moving cells and their nearest fixed cells once aligned.

    Attributes
    ----------
    distance
        Distance of the two in the true frame; at best, that of nearest neighbors. Lower is better.
    correlation
        Pearson correlation of their expression over the shared genes.
    agreement
        Share of pairs of one cell type.
    """

    distance: float
    correlation: float
    agreement: float

    def to_dict(self) -> dict[str, float]:
        """By name."""
        return asdict(self)


def alignment_quality(
    fixed_xy: Doubles,
    moved_xy: Doubles,
    *,
    truth: tuple[Doubles, Doubles] | None = None,
    expression: tuple[sparse.csr_matrix, sparse.csr_matrix] | None = None,
    labels: tuple[NDArray, NDArray] | None = None,
) -> AlignmentQuality:
    """Compute the measures whose input is given; the others are NaN.

    Parameters
    ----------
    fixed_xy, moved_xy
        (n, 2) and (m, 2), in one frame after alignment.
    truth
        (n, 2) and (m, 2) positions in a frame that is known to be common.
    expression
        (n, g) and (m, g), log-normalized, of the g shared genes.
    labels
        (n,) and (m,) cell types, ``""`` where unknown.

    Notes
    -----
    Time grows with (n + m)·log(n) and the values of the expression.
    """
    near = nearest_cells(fixed_xy, moved_xy)
    distance = correlation = agreement = float("nan")
    if truth is not None:
        distance = float(np.linalg.norm(truth[0][near] - truth[1], axis=1).mean())
    if expression is not None:
        r = row_correlation(sparse.csr_matrix(expression[0])[near], sparse.csr_matrix(expression[1]))
        correlation = float(np.nanmean(r)) if np.isfinite(r).any() else float("nan")
    if labels is not None:
        first, second = np.asarray(labels[0])[near], np.asarray(labels[1])
        known = (first != "") & (second != "")
        agreement = float((first == second)[known].mean()) if known.any() else float("nan")
    return AlignmentQuality(distance, correlation, agreement)


def nearest_cells(fixed_xy: Doubles, moved_xy: Doubles) -> Longs:
    """Nearest fixed cell (m,) of every moved one."""
    return np.asarray(cKDTree(fixed_xy).query(moved_xy)[1], np.int64)


def row_correlation(a: sparse.csr_matrix, b: sparse.csr_matrix) -> Doubles:
    """Pearson correlation (n,) of two (n, g) matrices row by row; NaN where a row is constant."""
    g = max(a.shape[1], 1)
    total = [np.asarray(x.sum(1), np.float64).ravel() for x in (a, b)]
    square = [np.asarray(x.multiply(x).sum(1), np.float64).ravel() for x in (a, b)]
    product = np.asarray(a.multiply(b).sum(1), np.float64).ravel() - total[0] * total[1] / g
    spread = [np.maximum(s - t**2 / g, 0) for s, t in zip(square, total)]
    with np.errstate(invalid="ignore", divide="ignore"):
        # a constant row leaves rounding, not zero
        flat = np.minimum(spread[0] / square[0], spread[1] / square[1]) > 1e-9
        r = product / np.sqrt(spread[0] * spread[1])
    return np.where(flat, r, np.nan)


def pose_error(found: Rigid, truth: Rigid, xy: Doubles) -> tuple[float, float]:
    """Compute how far a transform is from the true one.

    Parameters
    ----------
    found, truth
        Moving to fixed frame.
    xy
        (m, 2) moving cells.

    Returns
    -------
    degrees, displacement
        Difference of the rotations, 180 where one mirrors and the other does not; and the mean distance
        between where the two put the cells.
    """
    difference = Rigid(found.rotation @ truth.rotation.T, np.zeros(2))
    degrees = FLIPPED if difference.reflected else abs(difference.degrees)
    return degrees, float(np.linalg.norm(found.apply(xy) - truth.apply(xy), axis=1).mean())


def overlap_panels(genes: Sequence[str], overlap: float, *, seed: int) -> tuple[list[str], list[str]]:
    """Draw two panels from one that share a given fraction of its genes.

    Of the genes that are not shared, each panel keeps half: common genes are removed from one side or the
    other, as in the paper. Both lists are in the order of ``genes``.

    Raises
    ------
    ConfigError
        If ``overlap`` is not between 0 and 1.
    """
    if not 0 <= overlap <= 1:
        raise ConfigError(f"overlap must lie between 0 and 1, got {overlap}")
    drawn = np.random.default_rng(seed).permutation(len(genes))
    shared = round(overlap * len(genes))
    middle = shared + (len(genes) - shared) // 2
    first = np.sort(drawn[:middle])
    second = np.sort(np.concatenate([drawn[:shared], drawn[middle:]]))
    return [genes[i] for i in first], [genes[i] for i in second]


def random_pose(xy: Doubles, *, seed: int, mirrored: bool = False) -> Rigid:
    """Draw a rotation of any angle about the cells' middle, and a shift of up to their extent."""
    rng = np.random.default_rng(seed)
    turn = Rigid.make(rng.uniform(-180, 180), reflected=mirrored)
    middle = np.asarray(xy, np.float64).mean(0)
    return Rigid.about(turn, middle, middle + rng.uniform(-1, 1, 2) * np.ptp(xy, axis=0))
