"""The steps for what all cells share: metagenes and affinities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lloki._parallel import blocks
from lloki.analysis.programs.partition import log_partition
from lloki.analysis.programs.section import Section
from lloki.analysis.programs.simplex import descend, plain, project_simplex

_HALVINGS = 12


def fit_metagenes(sections: Sequence[Section], m: Tensor, *, steps: int) -> Tensor:
    r"""Minimize :math:`\sum_s \|Y_s - X_s M^T\|^2 / 2\sigma_s^2`, columns of M on the simplex.

    Parameters
    ----------
    sections
        Slices with states and noise.
    m
        (D, K) where to begin.
    steps
        Most gradient steps.

    Returns
    -------
    (D, K) no worse than ``m``. Features are read once; the steps work on K x K and D x K alone.
    """
    quad = torch.zeros(m.shape[1], m.shape[1], dtype=torch.float64)
    cross = torch.zeros(m.shape, dtype=torch.float64)
    for section in sections:
        q, c = section.moments()
        quad += q / section.noise**2
        cross += c / section.noise**2
    start = m.double().cpu().T.contiguous()  # (K, D): a metagene is a row here
    cross = cross.T
    # metagenes that no cell uses keep their place: a step of any length would do, their gradient is 0
    step = 1.0 / quad.sum(1, keepdim=True).clamp(min=1e-12 * float(quad.max()))

    def gradient(rows: Tensor) -> Tensor:
        return quad @ rows - cross

    def value(rows: Tensor) -> float:
        return float((0.5 * (quad @ rows) * rows - cross * rows).sum())

    new = descend(start, gradient, project_simplex, step, steps=steps, tolerance=1e-7)
    if value(new) > value(start):
        new = plain(start, gradient, project_simplex, step, steps=steps)
    return new.T.contiguous().to(m)


@dataclass(frozen=True)
class Pull:
    """What affinities are fitted to, and their curvature.

    Attributes
    ----------
    value
        The objective of `fit_affinity`.
    slope
        (K, K) its gradient.
    bend
        (K², K²) its Hessian, where it was asked for.
    """

    value: float
    slope: Tensor
    bend: Tensor | None


def fit_affinity(
    given: Sequence[tuple[Tensor, Tensor]],
    affinity: Tensor,
    *,
    regularization: float,
    block: int,
    bend: Tensor | None,
) -> tuple[Tensor, Tensor | None, float]:
    r"""Take a Newton step for the affinities: maximum pseudo-likelihood of compositions given neighbors.

    .. math::
        \min_{\Sigma^{-1}}\ \sum_i \Bigl[z_i^T\Sigma^{-1}\nu_i
        + \log\int_\Delta e^{-z^T\Sigma^{-1}\nu_i}dz\Bigr]
        + \frac{\lambda}{2} |E| \|\Sigma^{-1}\|^2,\qquad \nu_i = \sum_{j \in N(i)} z_j

    which is convex.

    Parameters
    ----------
    given
        Per slice, (n, K) compositions z and sums ν over each cell's neighbors, float64.
    affinity
        (K, K) symmetric, where to begin.
    regularization
        λ; ``|E|`` counts directed edges.
    block
        Cells at a time.
    bend
        Hessian of an earlier step. It serves as long as its steps go down; time then falls by the half.

    Returns
    -------
    affinity
        (K, K) symmetric, its objective no higher than at the start.
    bend
        The Hessian that was used.
    value
        The objective.

    Notes
    -----
    Time grows with cells x K for the gradient, cells x K⁴ for the Hessian; memory with the block.
    """
    ridge = _ridge(given, regularization)
    here = pull(given, affinity, ridge, block, hessian=bend is None)
    for attempt in range(2):
        known = bend if here.bend is None else here.bend
        new = None if known is None else _step(given, affinity, here, known, ridge, block)
        if new is not None:
            return new[0], known, new[1]
        if here.bend is not None or attempt:
            break
        here = pull(given, affinity, ridge, block, hessian=True)
    return affinity, here.bend, here.value


def pairs_value(
    given: Sequence[tuple[Tensor, Tensor]], affinity: Tensor, *, regularization: float, block: int
) -> float:
    """Compute the objective of `fit_affinity`; parameters as there."""
    return pull(given, affinity, _ridge(given, regularization), block, hessian=False).value


def _ridge(given: Sequence[tuple[Tensor, Tensor]], regularization: float) -> float:
    """λ |E|: every neighbor adds a sum of one."""
    return regularization * sum(float(nu.sum()) for _, nu in given)


def pull(
    given: Sequence[tuple[Tensor, Tensor]], affinity: Tensor, ridge: float, block: int, *, hessian: bool
) -> Pull:
    """Compute the objective of `fit_affinity` and its derivatives, from (z, ν) of every slice."""
    k = len(affinity)
    value = 0.5 * ridge * float(affinity.square().sum())
    slope = ridge * affinity
    bend = ridge * torch.eye(k * k, dtype=torch.float64, device=affinity.device) if hessian else None
    for z, nu in given:
        for rows in blocks(len(z), _moderate(block, k, hessian)):
            eta = nu[rows] @ affinity
            log_z, mean, second = log_partition(eta, moments=hessian)
            value += float((eta * z[rows]).sum() + log_z.sum())
            slope = slope + nu[rows].T @ (z[rows] - mean)
            if bend is not None and second is not None:
                spread = second - mean[:, :, None] * mean[:, None, :]
                outer = nu[rows][:, :, None] * nu[rows][:, None, :]
                product = outer.flatten(1).T @ spread.flatten(1)  # (ab, cd) of ν_a ν_b Cov_cd
                bend += product.view(k, k, k, k).permute(0, 2, 1, 3).reshape(k * k, k * k)
    return Pull(value, (slope + slope.T) / 2.0, bend)


def _step(
    given: Sequence[tuple[Tensor, Tensor]],
    affinity: Tensor,
    here: Pull,
    bend: Tensor,
    ridge: float,
    block: int,
) -> tuple[Tensor, float] | None:
    """Go down along Newton's direction; None if nothing lower was found."""
    k = len(affinity)
    way = torch.linalg.solve(_symmetrized(bend, k), here.slope.flatten()).view(k, k)
    way = (way + way.T) / 2.0
    fall = float((way * here.slope).sum())
    length = 1.0
    for _ in range(_HALVINGS):
        new = affinity - length * way
        value = pull(given, new, ridge, block, hessian=False).value
        if value <= here.value - 1e-4 * length * fall:
            return new, value
        length /= 2.0
    return None


def _symmetrized(bend: Tensor, k: int) -> Tensor:
    """Make a Hessian lead from symmetric matrices to symmetric ones, where its product stays the same."""
    swap = torch.arange(k * k, device=bend.device).view(k, k).T.flatten()
    return (bend + bend[swap][:, swap]) / 2.0


def _moderate(block: int, k: int, hessian: bool) -> int:
    """Cells at a time, such that the products of all their nodes stay within tens of megabytes."""
    return max(1, min(block, 200_000 // (k * k if hessian else 4 * k)))
