"""Rigid transforms of the plane, and the Kabsch algorithm that finds one from pairs of points."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lloki.errors import InputError

Doubles = NDArray[np.float64]

FEWEST = 3  # pairs of points: two fix a rotation, but leave nothing that could contradict it


@dataclass(frozen=True, eq=False)
class Rigid:
    r"""A map of the plane that keeps shapes: :math:`x \mapsto s R x + t`.

    Attributes
    ----------
    rotation
        (2, 2) orthogonal R. A reflection is the mirror image in the first coordinate, then rotated:
        :math:`R = R_\theta\, \mathrm{diag}(-1, 1)`.
    translation
        (2,) t, in the unit of the target.
    scale
        s > 0; 1 where both frames have one unit.
    """

    rotation: Doubles
    translation: Doubles
    scale: float = 1.0

    @classmethod
    def make(
        cls, degrees: float, translation: ArrayLike = (0, 0), *, reflected: bool = False, scale: float = 1.0
    ) -> Rigid:
        """Rotate by ``degrees`` counter-clockwise (x right, y up), after mirroring x if ``reflected``."""
        turn = np.deg2rad(degrees)
        rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        if reflected:
            rotation = rotation @ np.diag([-1.0, 1.0])
        return cls(rotation, np.asarray(translation, np.float64), scale)

    @classmethod
    def about(cls, linear: Rigid, center: ArrayLike, to: ArrayLike) -> Rigid:
        """Take rotation and scale of ``linear``, and the translation that moves ``center`` to ``to``."""
        center = np.asarray(center, np.float64)
        shift = np.asarray(to, np.float64) - linear.scale * linear.rotation @ center
        return cls(linear.rotation, shift, linear.scale)

    def apply(self, xy: ArrayLike) -> Doubles:
        """Move points (n, 2)."""
        return self.scale * np.asarray(xy, np.float64) @ self.rotation.T + self.translation

    def after(self, first: Rigid) -> Rigid:
        """Return the map that does ``first`` and then this."""
        return Rigid(self.rotation @ first.rotation, self.apply(first.translation), self.scale * first.scale)

    def inverse(self) -> Rigid:
        """Return the way back."""
        scale = 1 / self.scale
        return Rigid(self.rotation.T, -scale * self.rotation.T @ self.translation, scale)

    @property
    def reflected(self) -> bool:
        """Whether it mirrors."""
        return bool(np.linalg.det(self.rotation) < 0)

    @property
    def degrees(self) -> float:
        """Angle of the rotation, in (-180, 180]."""
        # the second column is the same with and without the mirror
        angle = np.rad2deg(np.arctan2(-self.rotation[0, 1], self.rotation[1, 1]))
        return 180.0 if angle <= -180.0 else float(angle)

    @property
    def matrix(self) -> Doubles:
        """(3, 3) homogeneous matrix, for column vectors (x, y, 1)."""
        out = np.eye(3)
        out[:2, :2] = self.scale * self.rotation
        out[:2, 2] = self.translation
        return out


def stand_ins(xy: Doubles) -> Doubles:
    """Three points with the mean and the covariance of many (n, 2).

    The mean square displacement between two transforms depends on nothing else of the points.
    """
    root = np.linalg.cholesky(np.cov(xy.T, bias=True) + 1e-12 * max(float(xy.var()), 1e-12) * np.eye(2))
    angles = np.arange(3) * 2 * np.pi / 3
    return xy.mean(0) + np.sqrt(2) * np.column_stack([np.cos(angles), np.sin(angles)]) @ root.T


def displacement(a: Rigid, b: Rigid, xy: Doubles) -> float:
    """Root mean square distance between where two transforms put the points (n, 2)."""
    return float(np.sqrt(((a.apply(xy) - b.apply(xy)) ** 2).sum(1).mean()))


def kabsch(
    moving: ArrayLike,
    fixed: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    reflected: bool | None = False,
    scale: bool = False,
) -> Rigid:
    r"""Find the rigid transform that brings paired points closest together.

    Minimizes :math:`\sum_i w_i \lVert s R p_i + t - q_i \rVert^2` (Kabsch 1976; the scale as Umeyama 1991).

    Parameters
    ----------
    moving, fixed
        (n, 2) points p and q, pair by pair; n at least 3.
    weights
        (n,) non-negative; default all 1.
    reflected
        False: rotations only; True: reflections only; None: whichever fits better.
    scale
        Whether to estimate s too; else 1.

    Raises
    ------
    InputError
        If there are fewer than three pairs with a weight, shapes differ, or either side's points coincide.

    Notes
    -----
    Exact where an exact solution exists. Points on a line fix the rotation but not whether they were
    mirrored: with ``reflected=None`` the rotation is returned. Time grows with n.
    """
    p, q = np.asarray(moving, np.float64), np.asarray(fixed, np.float64)
    w = np.ones(len(p)) if weights is None else np.asarray(weights, np.float64)
    if p.shape != q.shape or p.ndim != 2 or p.shape[1] != 2 or w.shape != (len(p),):
        raise InputError(
            f"pairs of points have shapes {p.shape} and {q.shape}, weights {w.shape}",
            hint="Pass two (n, 2) arrays, and weights (n,).",
        )
    if (w > 0).sum() < FEWEST:
        raise InputError(
            f"{(w > 0).sum()} landmark pairs", hint=f"A rigid transform needs {FEWEST} or more with a weight."
        )
    w = w / w.sum()
    from_, to = w @ p, w @ q
    p, q = p - from_, q - to
    spread = w @ (p**2).sum(1)
    if not spread > 0 or not w @ (q**2).sum(1) > 0:
        raise InputError("all landmarks of a slice lie in one place", hint="The rotation is undetermined.")
    u, s, vt = np.linalg.svd((q * w[:, None]).T @ p)  # q ≈ R p, R = u · diag(1, ±1) · vt
    sign = float(np.sign(np.linalg.det(u @ vt)))
    if reflected is not None:
        sign_wanted = -1.0 if reflected else 1.0
    else:
        # on a line s[1] is rounding: then it says nothing of mirrors
        sign_wanted = sign if s[1] > 1e-12 * s[0] else 1.0
    last = sign * sign_wanted
    rotation = u @ np.diag([1.0, last]) @ vt
    factor = float((s[0] + last * s[1]) / spread) if scale else 1.0
    if not factor > 0:
        raise InputError("landmarks fit no positive scale", hint="Leave scale out.")
    return Rigid.about(Rigid(rotation, np.zeros(2), factor), from_, to)


def robust_kabsch(
    moving: Doubles,
    fixed: Doubles,
    weights: Doubles,
    start: Rigid,
    *,
    width: float,
    scale: bool = False,
    rounds: int = 50,
) -> tuple[Rigid, Doubles]:
    r"""Kabsch that wrong pairs do not pull: iteratively reweighted, with Geman and McClure's loss.

    Each round multiplies a pair's weight by :math:`(1 + r^2 / c^2)^{-2}` for its residual r, with c the
    larger of ``width`` and 1.4826 times the weighted median residual.

    Parameters
    ----------
    moving, fixed
        (n, 2) points, pair by pair.
    weights
        (n,) confidence of each pair.
    start
        Where to begin: the loss has many minima, and rounds lead to the one nearby. It also says whether the
        result is mirrored.
    width
        Residuals below this are all as good: the cells' spacing.
    scale
        Whether to estimate the scale; else that of ``start`` is kept.
    rounds
        At most; fewer when the transform no longer changes.

    Returns
    -------
    transform, weights
        And the (n,) final weights, from 0 to those given.

    Raises
    ------
    InputError
        As for :func:`kabsch`.
    """
    transform, kept = start, weights
    for _ in range(rounds):
        residual = np.linalg.norm(transform.apply(moving) - fixed, axis=1)
        c = max(width, 1.4826 * _weighted_median(residual, weights))
        kept = weights / (1 + (residual / c) ** 2) ** 2
        # a known scale goes into the points, so that Kabsch need not know of it
        points = moving if scale else start.scale * moving
        found = kabsch(points, fixed, kept, reflected=start.reflected, scale=scale)
        if not scale:
            found = Rigid(found.rotation, found.translation, start.scale)
        step = displacement(found, transform, moving)
        transform = found
        if step < 1e-3 * width:
            break
    return transform, kept


def _weighted_median(values: Doubles, weights: Doubles) -> float:
    order = np.argsort(values)
    total = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(total, total[-1] / 2)]) if len(values) else 0.0
