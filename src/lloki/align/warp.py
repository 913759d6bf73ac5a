"""A gentle deformation on top of a rigid alignment, with a bound."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from lloki._parallel import blocks

Doubles = NDArray[np.float64]

_REACH = 3.0  # kernel widths beyond which a landmark has no say
_BLOCK = 4096
_NONE = 4.0  # landmarks' worth of belief that a place does not move


@dataclass(frozen=True, eq=False)
class Warp:
    r"""A displacement field: the weighted mean of the landmarks' residuals around a place, drawn to zero.

    .. math:: u(x) = \frac{\sum_p c_p K(x - x_p)\, r_p}{\lambda + \sum_p c_p K(x - x_p)}, \qquad
              K(d) = e^{-d^2 / 2 h^2}

    A mean cannot exceed what it averages, and where there are few landmarks nothing moves.

    Attributes
    ----------
    at
        (p, 2) rigidly moved landmark cells :math:`x_p`.
    residuals
        (p, 2) displacements :math:`r_p`, none longer than the bound.
    confidence
        (p,) :math:`c_p`.
    width
        h, in the unit of the positions.
    factor
        In (0, 1]: what the field was multiplied by to stay within the bounds.
    """

    at: Doubles
    residuals: Doubles
    confidence: Doubles
    width: float
    factor: float = 1.0

    def displacement(self, xy: ArrayLike) -> Doubles:
        """Displacement (n, 2) at rigidly moved positions (n, 2). Time grows with n x landmarks in reach."""
        xy = np.asarray(xy, np.float64)
        out = np.zeros_like(xy)
        if not len(self.at):
            return out
        tree = cKDTree(self.at)
        for rows in blocks(len(xy), _BLOCK):
            near = cKDTree(xy[rows]).sparse_distance_matrix(
                tree, _REACH * self.width, output_type="coo_matrix"
            )
            weight = self.confidence[near.col] * np.exp(-0.5 * (near.data / self.width) ** 2)
            n = rows.stop - rows.start
            total = _NONE + np.bincount(near.row, weight, minlength=n)
            for axis in (0, 1):
                pull = np.bincount(near.row, weight * self.residuals[near.col, axis], minlength=n)
                out[rows, axis] = pull / total
        return self.factor * out

    def apply(self, xy: ArrayLike) -> Doubles:
        """Positions (n, 2) after the rigid step → after the deformation."""
        return np.asarray(xy, np.float64) + self.displacement(xy)

    def strain(self, xy: Doubles) -> Doubles:
        """Largest stretch or squeeze (n,) at each place, as a fraction: 0.1 is 10 %."""
        step = 0.05 * self.width
        columns = [
            (self.displacement(xy + d) - self.displacement(xy - d)) / (2 * step) for d in step * np.eye(2)
        ]
        gradient = np.stack(columns, axis=-1)  # (n, 2, 2)
        stretches = np.linalg.svd(np.eye(2) + gradient, compute_uv=False)
        return np.abs(stretches - 1).max(1)


def fit_warp(
    put: Doubles, residuals: Doubles, confidence: Doubles, *, width: float, bound: float, strain: float = 0.2
) -> Warp:
    """Fit a deformation to the landmarks of a rigid alignment.

    Parameters
    ----------
    put
        (p, 2) where the rigid step put the landmarks' moving cells.
    residuals
        (p, 2) from there to their fixed cells.
    confidence
        (p,) at least 0.
    width
        Over what distance the field may change. A landmark is off by a cell or two, so the area of a kernel
        must hold some tens of them.
    bound
        Longest displacement, in the unit of the positions; longer residuals are left out as wrong matches.
    strain
        Largest stretch or squeeze, as a fraction; the field is made weaker as a whole until it is kept.

    Returns
    -------
    Warp
        Strain below 1 keeps the map one-to-one: tissue is never folded.
    """
    length = np.linalg.norm(residuals, axis=1)
    keep = (length <= bound) & (confidence > 0)
    warp = Warp(put[keep], residuals[keep], confidence[keep], width)
    # strain is largest a width away from a landmark, not on it: it is looked for between all of them
    ring = width * np.array([[1, 0], [-1, 0], [0, 1], [0, -1], [0, 0]])
    worst = (
        max((float(warp.strain(warp.at + step).max()) for step in ring), default=0.0) if keep.any() else 0.0
    )
    factor = min(1.0, strain / worst) if worst > 0 else 1.0
    return Warp(warp.at, warp.residuals, warp.confidence, width, factor)
