r"""The partition function of a cell's state given its neighbors: an integral over the simplex.

By the formula of Hermite and Genocchi :math:`\int_\Delta e^{-\eta\cdot z}\,dz` is a divided difference of
the exponential, and so, by Cauchy, :math:`\frac{1}{2\pi i}\int e^t \prod_k (t+\eta_k)^{-1} dt` along a path
around the poles. The sum of exponentials that it is often written as cancels to nothing once two of the
:math:`\eta_k` are alike; the integral does not.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

NODES = (
    24  # on the upper half of the path: relative errors below 1e-6 at worst, most below 1e-12, for K to 50
)
_SADDLE_STEPS = 8


def log_partition(eta: Tensor, *, moments: bool = True) -> tuple[Tensor, Tensor, Tensor | None]:
    r"""Integrate :math:`e^{-\eta\cdot z}` over the simplex, for many cells.

    Parameters
    ----------
    eta
        (n, K) float64; any real numbers.
    moments
        Whether to compute second moments too.

    Returns
    -------
    log_z
        (n,) :math:`\log\int_\Delta e^{-\eta\cdot z}dz`.
    mean
        (n, K) mean of z under the density, which is the negative gradient of ``log_z``.
    second
        (n, K, K) mean of :math:`z z^T`, or None.

    Notes
    -----
    A Talbot contour through the saddle point of each cell, integrated by the midpoint rule. Time and memory
    grow with n·K·NODES, with K² for second moments: call it with blocks of cells.
    """
    low = eta.min(1, keepdim=True).values
    a = eta - low  # poles at -a: the rightmost is 0
    radius = _saddle(a)
    theta, weight = _nodes(str(eta.device))
    path, slope = _talbot(theta)
    t = radius * path  # (n, P)
    inverse = 1.0 / (t[:, :, None] + a[:, None, :])  # (n, P, K)
    # the path crosses the real axis at the radius: over what they are there, all factors are near 1
    height = torch.log(radius + a).sum(1, keepdim=True) - radius
    term = torch.exp(t - radius) * (inverse * (radius + a)[:, None, :]).prod(2)
    term = term * (slope * weight) * radius
    total = term.imag.sum(1)
    log_z = torch.log(total) - height[:, 0] - low[:, 0]
    share = term / total[:, None]
    mean = torch.einsum("np,npk->nk", share, inverse).imag
    if not moments:
        return log_z, mean, None
    second = torch.einsum("npk,npl->nkl", share[:, :, None] * inverse, inverse).imag
    second = second + torch.diag_embed(torch.diagonal(second, dim1=1, dim2=2))
    return log_z, mean, second


def _saddle(a: Tensor) -> Tensor:
    """Find where 1 = Σ 1/(t + a), by Newton's method on the reciprocal, which is almost linear in t."""
    t = torch.ones_like(a[:, :1])
    for _ in range(_SADDLE_STEPS):
        inverse = 1.0 / (t + a)
        total = inverse.sum(1, keepdim=True)
        t = t + (total - 1.0) * total / inverse.square().sum(1, keepdim=True)
    # Left of the saddle the path comes near to poles that lie close together; the detour costs few digits.
    return t.clamp(max(1.5, 0.5 * a.shape[1]), max(1.5, float(a.shape[1])))


@lru_cache
def _nodes(device: str) -> tuple[Tensor, float]:
    step = math.pi / NODES
    theta = (torch.arange(NODES, dtype=torch.float64, device=device) + 0.5) * step
    return theta, step / math.pi


def _talbot(theta: Tensor) -> tuple[Tensor, Tensor]:
    """Return the path θ cot θ + iθ, and its derivative."""
    cot = 1.0 / torch.tan(theta)
    path = torch.complex(theta * cot, theta)
    return path, torch.complex(cot - theta * (1.0 + cot.square()), torch.ones_like(theta))
