"""Projected gradient descent: on the simplex, and above zero."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def project_simplex(y: Tensor) -> Tensor:
    """Move rows (n, K) to the nearest points with entries of 0 or more that sum to one.

    By the passes of Michelot, which end exactly, after K at most and four as a rule.
    """
    k = y.shape[1]
    active = torch.ones_like(y, dtype=torch.bool)
    while True:
        count = active.sum(1, keepdim=True)
        shift = ((y * active).sum(1, keepdim=True) - 1.0) / count
        kept = active & (y > shift)
        if k == 1 or torch.equal(kept, active):
            break
        active = kept
    z = (y - shift).clamp_(min=0.0)
    return z / z.sum(1, keepdim=True)


def project_positive(y: Tensor) -> Tensor:
    """Move entries below 0 there."""
    return y.clamp(min=0.0)


def descend(
    x: Tensor,
    gradient: Callable[[Tensor], Tensor],
    project: Callable[[Tensor], Tensor],
    step: Tensor,
    *,
    steps: int,
    tolerance: float = 0.0,
) -> Tensor:
    """Take accelerated projected gradient steps, every row with its own momentum.

    Parameters
    ----------
    x
        (n, K) where to begin.
    gradient
        Of the objective, at any (n, K).
    project
        Onto the feasible set, row by row.
    step
        (n, 1) or (n, K) one over a bound of the curvature.
    steps
        Most steps.
    tolerance
        End once no entry moves by more.

    Notes
    -----
    A row's momentum starts anew where it points uphill (O'Donoghue & Candès 2015): rows converge at their own
    pace. This may raise the objective for a while; `plain` steps never do.
    """
    ahead, age = x, torch.ones_like(x[:, :1])
    for _ in range(steps):
        g = gradient(ahead)
        new = project(ahead - step * g)
        moved = new - x
        older = (1.0 + torch.sqrt(1.0 + 4.0 * age.square())) / 2.0
        uphill = (g * moved).sum(1, keepdim=True) > 0
        ahead = torch.where(uphill, new, new + (age - 1.0) / older * moved)
        age = torch.where(uphill, torch.ones_like(age), older)
        x = new
        if tolerance > 0 and float(moved.abs().max()) < tolerance:
            break
    return x


def plain(
    x: Tensor,
    gradient: Callable[[Tensor], Tensor],
    project: Callable[[Tensor], Tensor],
    step: Tensor,
    *,
    steps: int,
) -> Tensor:
    """Take projected gradient steps without momentum: each lowers the objective or leaves it."""
    for _ in range(steps):
        x = project(x - step * gradient(x))
    return x
