"""From a pose on the grid of the search to the best one nearby, and how sure it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from lloki.align import _kernels
from lloki.align._evidence import Weighing, evidence, weigh, z_score
from lloki.align.fields import Fields
from lloki.align.rigid import Rigid
from lloki.align.search import Pose

Doubles = NDArray[np.float64]

MOST_POINTS = 20_000  # pixels compared: more change neither the pose nor its evidence
_FIRST = 1.5  # pixels, at the rim for a rotation: the size of the first simplex
_SQUARES = 25
_LEFT_OUT_ROUNDS = 80  # of a climb without one channel: to a tenth of a pixel
_STEP = 1.0  # pixels: the step of second differences


@dataclass(frozen=True, eq=False)
class Precision:
    """Standard errors of a pose; infinite where the evidence is flat. See `Refinement.precision`.

    Attributes
    ----------
    degrees
        Of the rotation.
    distance
        Root mean square over the moving tissue, in the fixed slice's unit.
    """

    degrees: float
    distance: float


@dataclass(frozen=True, eq=False)
class Support:
    """What is left of the evidence for a pose when any one channel of the embedding is left out.

    Attributes
    ----------
    z
        The lowest z-score.
    rival
        Which of its rivals then has more evidence, the first where there are several; None if none has.
    """

    z: float
    rival: int | None


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

    def evidence(self, transform: Rigid, weighing: Weighing | None = None) -> float:
        """Evidence for one pose, by all images or as they are weighed."""
        weighing = weighing or self.weighing
        at = self.fixed.to_pixels(transform.apply(self._place))
        sums = _kernels.common_sums(self._fixed, at, self._moving, weighing.weight)
        sums *= self._stand_for
        return float(evidence(sums[0], sums[1], sums[2], sums[3, 0], weighing).sum())

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
        if not sums[3, 0] > 0:
            return 0.0
        square = self._squares(transform, sums[3, 0])
        from_each = np.bincount(square, share @ total)
        from_each = from_each[np.bincount(square, tissue) > 0]
        error = float(np.sqrt(len(from_each) * np.var(from_each, ddof=1))) if len(from_each) > 2 else 0.0
        return float(from_each.sum()) / error if error > 0 else 0.0

    def climb(self, start: Rigid, *, scale: bool = False, rounds: int = 200) -> Pose:
        """Climb from a pose to the nearest summit of the evidence (Nelder and Mead's simplex)."""
        step, value = self._climbed(start, 4 if scale else 3, self.weighing, rounds)
        return Pose(self._moved(start, step), value)

    def _climbed(self, start: Rigid, size: int, weighing: Weighing, rounds: int) -> tuple[Doubles, float]:
        """Step to the nearest summit, in pixels: of a rotation and of a scale at the radius of gyration."""
        simplex = np.vstack([np.zeros(size), _FIRST * np.eye(size)])
        options = {"initial_simplex": simplex, "xatol": 0.01, "fatol": 1e-3, "maxfev": rounds * size / 3}
        found = minimize(
            lambda v: -self.evidence(self._moved(start, v), weighing),
            np.zeros(size),
            method="Nelder-Mead",
            options=options,
        )
        return found.x, float(-found.fun)

    def precision(self, transform: Rigid) -> Precision:
        r"""Return standard errors at a summit: the largest of three, each of which is blind to something.

        - The inverse of the matrix :math:`H` of second differences, as of any likelihood. It takes the
          agreement for the same all over, and in all channels.
        - Squares of tissue: :math:`H^{-1} (\sum_k g_k g_k^\top) H^{-1}`, with the slope :math:`g_k` of each
          square's share of the evidence. It is what drawing squares at random, with replacement, would give:
          large where parts of the tissue pull apart, as on a broad summit made of several.
        - Channels: the jackknife, :math:`\tfrac{K-1}{K} \sum_k δ_k δ_k^\top`, with the step :math:`δ_k` to
          where the summit would lie without channel k.
        """
        points = [np.zeros(3)]
        steps = _STEP * np.eye(3)
        pairs = [(i, j) for i in range(3) for j in range(i, 3)]
        for i, j in pairs:
            points += [steps[i] + steps[j], -steps[i] - steps[j], steps[i] - steps[j], steps[j] - steps[i]]
        sums = [self._sums(self._moved(transform, v)) for v in points]

        def differences(weighing: Weighing) -> tuple[Doubles, Doubles]:
            """Slope and second differences of the evidence."""
            values = [_pooled(*s, weighing) for s in sums]
            slope, curvature = np.zeros(3), np.zeros((3, 3))
            for n, (i, j) in enumerate(pairs):
                both, neither, first, second = values[1 + 4 * n : 5 + 4 * n]
                size = 4 * _STEP**2
                curvature[i, j] = curvature[j, i] = (both + neither - first - second) / size
                if i == j:
                    slope[i] = (both - neither) / (4 * _STEP)
            return slope, curvature

        curvature = differences(self.weighing)[1]
        if not np.linalg.eigvalsh(-curvature)[0] > 0:
            return Precision(np.inf, np.inf)
        inverse = np.linalg.inv(-curvature)
        slopes = self._slopes(transform)
        found = [inverse, inverse @ slopes.T @ slopes @ inverse]
        channels = self.weighing.weight.shape[1]
        shifts = np.zeros((channels, 3))
        for k in range(channels) if channels > 1 else ():
            slope, without = differences(weighing := self.weighing.without(k))
            if np.linalg.eigvalsh(-without)[0] > 0:
                shifts[k] = np.linalg.solve(-without, slope)
            if np.linalg.eigvalsh(-without)[0] <= 0 or np.abs(shifts[k]).max() > _STEP:
                # a parabola through these points does not say where the summit is
                shifts[k] = self._climbed(transform, 3, weighing, _LEFT_OUT_ROUNDS)[0]
        found.append((channels - 1) / channels * shifts.T @ shifts)
        turn = max(np.sqrt(c[0, 0]) for c in found) * self.pixel / (self.reach * transform.scale)
        distance = max(float(np.sqrt(np.trace(covariance)) * self.pixel) for covariance in found)
        return Precision(float(np.rad2deg(turn)), distance)

    def support(self, transform: Rigid, rivals: Sequence[Rigid]) -> Support:
        """Compare a pose with others by all channels but one, each left out in turn."""
        own, others = self._sums(transform), [self._sums(rival) for rival in rivals]
        least, better = np.inf, None
        for k in range(self.weighing.weight.shape[1]):
            weighing = self.weighing.without(k)
            value = _pooled(*own, weighing)
            least = min(least, z_score(value))
            for i, sums in enumerate(others):
                if better is None and _pooled(*sums, weighing) > value:
                    better = i
        return Support(float(least), better)

    def _sums(self, transform: Rigid) -> tuple[Doubles, float]:
        """Sum up every image by itself at a pose."""
        at = self.fixed.to_pixels(transform.apply(self._place))
        bands = self.weighing.weight.shape[0]
        sums, pixels = _kernels.channel_sums(self._fixed, at, self._moving, bands)
        return sums * self._stand_for, pixels * self._stand_for

    def _slopes(self, transform: Rigid) -> Doubles:
        """Slope of each square's share of the evidence, (squares, 3)."""
        at = self.fixed.to_pixels(transform.apply(self._place))
        weight = self.weighing.weight
        sums = _kernels.common_sums(self._fixed, at, self._moving, weight) * self._stand_for
        small = 1e-3 * np.maximum(np.abs(sums[0]), 1e-9)
        high, low = (
            evidence(sums[0] + d, sums[1], sums[2], sums[3, 0], self.weighing) for d in (small, -small)
        )
        worth = (high - low) / (2 * small) * self._stand_for  # of a product, by band
        square = self._squares(transform, sums[3, 0])
        out = np.zeros((square.max() + 1, 3))
        for i, step in enumerate(_STEP * np.eye(3)):
            forth, back = (
                _kernels.products(
                    self._fixed,
                    self.fixed.to_pixels(self._moved(transform, v).apply(self._place)),
                    self._moving,
                    weight,
                )[0]
                for v in (step, -step)
            )
            out[:, i] = np.bincount(square, (forth - back) @ worth) / (2 * _STEP)
        return out

    def _squares(self, transform: Rigid, pixels: float) -> NDArray[np.int64]:
        """Which of about 25 squares of the common area each moving pixel is in."""
        side = np.sqrt(pixels / _SQUARES) * self.pixel / transform.scale
        square = np.floor((self._place - self._middle) / side).astype(np.int64)
        return np.unique(square, axis=0, return_inverse=True)[1].ravel()

    def _moved(self, start: Rigid, v: Doubles) -> Rigid:
        """Move a pose by ``v`` pixels: rotation, x, y and, if given, scale."""
        arm = self.reach * start.scale / self.pixel
        factor = float(np.exp(v[3] / arm)) if len(v) > 3 else 1.0
        turned = Rigid.make(np.rad2deg(v[0] / arm)).rotation @ start.rotation
        to = start.apply(self._middle) + v[1:3] * self.pixel
        return Rigid.about(Rigid(turned, np.zeros(2), start.scale * factor), self._middle, to)


def _pooled(sums: Doubles, pixels: float, weighing: Weighing) -> float:
    """Evidence from the sums of every image, pooled over channels."""
    products, fixed, moving = (sums * weighing.weight).sum(2)
    return float(evidence(products, fixed, moving, np.array(pixels), weighing).sum())
