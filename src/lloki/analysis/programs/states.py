"""The step for the states: what every cell is made of, given metagenes and affinities."""

from __future__ import annotations

import torch
from torch import Tensor

from lloki.analysis.programs.section import Section
from lloki.analysis.programs.simplex import descend, plain, project_positive, project_simplex

_FLAT = 1e-12  # below it, a curvature is none


def free_states(section: Section, m: Tensor, *, steps: int) -> None:
    r"""Fit states to the features alone: min ‖Y - X Mᵀ‖² over X ≥ 0.

    Parameters
    ----------
    section
        Its ``own`` is where to begin, and is replaced.
    m
        (D, K) metagenes.
    steps
        Most gradient steps.
    """
    quad, linear = m.T @ m, section.onto(m)
    # diag(Q 1) bounds Q where all entries are 0 or more
    step = 1.0 / quad.sum(1)[None, :].clamp(min=_FLAT)
    section.own = descend(
        section.own,
        lambda x: x @ quad - linear,
        project_positive,
        step,
        steps=steps,
        tolerance=1e-5 * float(section.own.sum(1).mean()),
    )


def composition(x: Tensor) -> tuple[Tensor, Tensor]:
    """Part states (n, K) into compositions (n, K), even ones for states of 0, and sizes (n, 1)."""
    size = x.sum(1, keepdim=True)
    there = size > 0
    return torch.where(there, x / torch.where(there, size, 1.0), 1.0 / x.shape[1]), size


def coupled_states(section: Section, m: Tensor, affinity: Tensor, *, rounds: int, steps: int) -> None:
    r"""Fit states to the features and to their neighbors.

    .. math::
        \min_{s \ge 0,\ z_i \in \Delta}\ \frac{1}{2\sigma^2}\sum_i \|y_i - s_i M z_i\|^2
        + \sum_{(i,j) \in E} z_i^T \Sigma^{-1} z_j

    All cells move at once. That is safe since a cell's step is one over
    :math:`s_i^2\|M^TM\|/\sigma^2 + d_i\|\Sigma^{-1}\|` (both within the simplex, ``d_i`` its degree), which
    bounds the curvature of the whole from above, neighbors included; no coloring of the graph is needed.

    Parameters
    ----------
    section
        Its ``z`` and ``s`` are where to begin, and are replaced; the objective is never higher afterward.
    m, affinity
        (D, K) metagenes and (K, K) Σ⁻¹.
    rounds, steps
        As in :class:`ProgramConfig`.
    """
    quad = m.T @ m / section.noise**2
    linear = section.onto(m) / section.noise**2
    bend, pull = _within(quad), _within(affinity)
    z, s = section.z, section.s
    best = energy(section, z, s, quad, linear, affinity)
    for _ in range(rounds):
        square, force = s.square(), s * linear
        step = 1.0 / (square * bend + section.degree * pull).clamp(min=_FLAT)

        def gradient(z: Tensor, square: Tensor = square, force: Tensor = force) -> Tensor:
            return square * (z @ quad) - force + section.neighbors(z) @ affinity

        new = descend(z, gradient, project_simplex, step, steps=steps)
        size = best_size(new, quad, linear)
        value = energy(section, new, size, quad, linear, affinity)
        if value > best:
            new = plain(z, gradient, project_simplex, step, steps=steps)
            size = best_size(new, quad, linear)
            value = energy(section, new, size, quad, linear, affinity)
            if value > best:  # by rounding alone
                break
        z, s, best = new, size, value
    section.z, section.s = z, s


def best_size(z: Tensor, quad: Tensor, linear: Tensor) -> Tensor:
    """(n, 1) the size that explains a cell's features best, given its composition."""
    return ((z * linear).sum(1, keepdim=True) / ((z @ quad) * z).sum(1, keepdim=True).clamp(min=_FLAT)).clamp(
        min=0.0
    )


def energy(section: Section, z: Tensor, s: Tensor, quad: Tensor, linear: Tensor, affinity: Tensor) -> float:
    """Compute the objective of `coupled_states`, less the features' own squares."""
    fit = 0.5 * s.square() * ((z @ quad) * z).sum(1, keepdim=True) - s * (z * linear).sum(1, keepdim=True)
    pairs = 0.5 * ((section.neighbors(z) @ affinity) * z).sum(1, keepdim=True)
    return float((fit + pairs).sum(dtype=torch.float64))


def _within(matrix: Tensor) -> Tensor:
    """Spectral norm of a symmetric matrix on directions that keep the sum, the only ones in the simplex."""
    k = len(matrix)
    center = torch.eye(k, dtype=torch.float64) - 1.0 / k
    inner = center @ matrix.double().cpu() @ center
    return torch.linalg.eigvalsh(inner).abs().max().to(matrix)
