"""From a pose on the grid of the search to the best one nearby, and how sure it is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from lloki.align import _kernels
from lloki.align._evidence import Weighing, evidence, weigh
from lloki.align.fields import Fields
from lloki.align.rigid import Rigid
from lloki.align.search import Pose

Doubles = NDArray[np.float64]

MOST_POINTS = 20_000  # pixels compared: more change neither the pose nor its evidence
_FIRST = 1.5  # pixels, at the rim for a rotation: the size of the first simplex
_SQUARES = 25
_STEP = 1.0  # pixels: the step of second differences


@dataclass(frozen=True, eq=False)
class Precision:
    """Standard errors of a pose, from the curvature of the evidence; infinite where it is flat.

    Attributes
    ----------
    degrees
        Of the rotation.
    distance
        Root mean square over the moving tissue, in the fixed slice's unit.
    """

    degrees: float
    distance: float


class Refinement:
    """Evidence as a continuous function of the pose, on images finer than the search's.

    Parameters
    ----------
    fixed, moving
        Images with pixels of one width.

    Attributes
    ----------
    reach
        Radius of gyration of the moving tissue, in its own unit.
    """

    def __init__(self, fixed: Fields, moving: Fields) -> None:
        self.fixed, self.pixel = fixed, fixed.pixel
        self.weighing: Weighing = weigh(fixed, moving)
        images = fixed.values.reshape(-1, fixed.side, fixed.side)
        stack = np.concatenate([images, fixed.tissue[None]])
        self._fixed = np.ascontiguousarray(np.moveaxis(stack, 0, -1))
        index, place = moving.tissue_pixels()
        # an even sample: every s-th pixel along a path that runs through all of them
        some = np.arange(0, len(index), max(len(index) / MOST_POINTS, 1)).astype(np.int64)
        self._stand_for = len(index) / max(len(some), 1)
        self._place, index = place[some], index[some]
        self._moving = np.ascontiguousarray(
            moving.values[:, :, index[:, 0], index[:, 1]].reshape(-1, len(index)).T
        )
        self._middle = self._place.mean(0)
        self.reach = float(np.sqrt(((self._place - self._middle) ** 2).sum(1).mean()))

    def evidence(self, transform: Rigid) -> float:
        """Evidence for one pose."""
        at = self.fixed.to_pixels(transform.apply(self._place))
        sums = _kernels.common_sums(self._fixed, at, self._moving, self.weighing.weight)
        sums *= self._stand_for
        return float(evidence(sums[0], sums[1], sums[2], sums[3, 0], self.weighing).sum())

    def breadth(self, transform: Rigid) -> float:
        r"""Say how evenly the evidence for a pose comes from all over the common area.

        The common area is cut into about 25 squares. With the evidence :math:`e_k` from each (shares of every
        band's evidence, in proportion to its products), the breadth is the sum over its own standard error,
        :math:`\sum e_k / \sqrt{K s^2}`. One feature that two unlike places happen to share, such as a stretch
        of the tissue's border, gives about 1 to 2, however strong it is.
        """
        at = self.fixed.to_pixels(transform.apply(self._place))
        weight = self.weighing.weight
        each, tissue = _kernels.products(self._fixed, at, self._moving, weight)
        sums = _kernels.common_sums(self._fixed, at, self._moving, weight) * self._stand_for
        total = evidence(sums[0], sums[1], sums[2], sums[3, 0], self.weighing)
        share = each / np.where(sums[0] == 0, 1, sums[0]) * self._stand_for
        side = np.sqrt(sums[3, 0] / _SQUARES) * self.pixel / transform.scale
        if not side > 0:
            return 0.0
        square = np.floor((self._place - self._middle) / side).astype(np.int64)
        _, square = np.unique(square, axis=0, return_inverse=True)
        from_each = np.bincount(square.ravel(), share @ total)
        from_each = from_each[np.bincount(square.ravel(), tissue) > 0]
        error = float(np.sqrt(len(from_each) * np.var(from_each, ddof=1))) if len(from_each) > 2 else 0.0
        return float(from_each.sum()) / error if error > 0 else 0.0

    def climb(self, start: Rigid, *, scale: bool = False, rounds: int = 200) -> Pose:
        """Climb from a pose to the nearest summit of the evidence (Nelder and Mead's simplex)."""
        size = 4 if scale else 3
        # all parameters are in pixels: those of a rotation and of a scale at the tissue's radius of gyration
        simplex = np.vstack([np.zeros(size), _FIRST * np.eye(size)])
        options = {"initial_simplex": simplex, "xatol": 0.01, "fatol": 1e-3, "maxfev": rounds * size / 3}
        found = minimize(
            lambda v: -self.evidence(self._moved(start, v)),
            np.zeros(size),
            method="Nelder-Mead",
            options=options,
        )
        return Pose(self._moved(start, found.x), float(-found.fun))

    def precision(self, transform: Rigid) -> Precision:
        """Return standard errors at a summit: the inverse of the matrix of second differences."""
        points = [np.zeros(3)]
        steps = _STEP * np.eye(3)
        pairs = [(i, j) for i in range(3) for j in range(i, 3)]
        for i, j in pairs:
            points += [steps[i] + steps[j], -steps[i] - steps[j], steps[i] - steps[j], steps[j] - steps[i]]
        values = [self.evidence(self._moved(transform, v)) for v in points]
        curvature = np.zeros((3, 3))
        for n, (i, j) in enumerate(pairs):
            both, neither, first, second = values[1 + 4 * n : 5 + 4 * n]
            size = 4 * _STEP**2
            curvature[i, j] = curvature[j, i] = (both + neither - first - second) / size
        values_, vectors = np.linalg.eigh(-curvature)
        if not values_[0] > 0:
            return Precision(np.inf, np.inf)
        covariance = (vectors / values_) @ vectors.T
        turn = np.sqrt(covariance[0, 0]) * self.pixel / (self.reach * transform.scale)
        return Precision(float(np.rad2deg(turn)), float(np.sqrt(np.trace(covariance)) * self.pixel))

    def _moved(self, start: Rigid, v: Doubles) -> Rigid:
        """Move a pose by ``v`` pixels: rotation, x, y and, if given, scale."""
        arm = self.reach * start.scale / self.pixel
        factor = float(np.exp(v[3] / arm)) if len(v) > 3 else 1.0
        turned = Rigid.make(np.rad2deg(v[0] / arm)).rotation @ start.rotation
        to = start.apply(self._middle) + v[1:3] * self.pixel
        return Rigid.about(Rigid(turned, np.zeros(2), start.scale * factor), self._middle, to)
