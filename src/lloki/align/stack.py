"""Poses of many sections in one frame, fitted to the transforms between pairs of them all at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from lloki.align.rigid import Rigid, stand_ins
from lloki.errors import ConfigError, InputError

Doubles = NDArray[np.float64]
Pair = tuple[int, int]

_LEAST_ERROR = 0.2  # of the median standard error: no pair is trusted without end
_OUTLIER = 3.0  # standard errors from which on a link's pull falls
_REFUSED = 1e3  # cost of a link that a tree's reflections contradict: more than any other's


@dataclass(frozen=True, eq=False)
class Link:
    """What is known about two sections.

    Attributes
    ----------
    transform
        From the second section's frame to the first one's.
    error
        Standard error, as a distance.
    doubtful
        Whether its alignment was not called *aligned*: used only where nothing better connects a section.
    """

    transform: Rigid
    error: float
    doubtful: bool = False


@dataclass(frozen=True, eq=False)
class Stack:
    """Poses of all sections.

    Attributes
    ----------
    transforms
        Each section's own frame to the common one, which is the reference's; None for a section that nothing
        connects to it.
    disagreement
        (first, second) → how far the pair's own transform is from what the poses say, root mean square over
        the second section's cells.
    used
        The pairs that the poses were fitted to.
    """

    transforms: tuple[Rigid | None, ...]
    disagreement: Mapping[Pair, float]
    used: tuple[Pair, ...]


def synchronize(sections: Sequence[Doubles], links: Mapping[Pair, Link], *, reference: int = 0) -> Stack:
    r"""Fit one pose per section to the transforms between pairs of them.

    With the pose :math:`G_i` of section i and a link :math:`T_{ij}` from section j to section i, the sum over
    links of :math:`\rho\bigl(\lVert G_i T_{ij} - G_j \rVert / \sigma_{ij}\bigr)` is least, where the norm is
    the root mean square displacement of section j's cells, and :math:`\rho` is quadratic at first and
    logarithmic farther out (Cauchy's), so that a wrong link that others contradict has little pull. Along a
    chain of sections errors add up; links that skip a section hold it together.

    Parameters
    ----------
    sections
        (n_i, 2) positions of each section.
    links
        (i, j) → link.
    reference
        The section whose frame is the common one.

    Raises
    ------
    ConfigError
        If there is no such reference.
    InputError
        If a link names a section that is not there.

    Notes
    -----
    The fit starts from the tree of the most precise links; where links contradict each other, fits from the
    trees that do without one of these are tried too, and the best one counts. Reflections and scales come
    from its tree, and stay; a link that contradicts them is left out, and shows in ``disagreement``. Time
    grows with links x sections², and with contradictions once more with sections.
    """
    if not 0 <= reference < len(sections):
        raise ConfigError(f"there is no section {reference}: there are {len(sections)}")
    for i, j in links:
        if not (0 <= i < len(sections) and 0 <= j < len(sections)) or i == j:
            raise InputError(
                f"a link joins sections {i} and {j} of {len(sections)}", hint="Name two of them."
            )
    corners = [stand_ins(np.asarray(xy, np.float64)) for xy in sections]
    first = _tree(len(sections), links)
    fits = [_fit_from(first, corners, links, reference)]
    if fits[0].strain > _OUTLIER:  # something contradicts something: perhaps a link of the tree is wrong
        for pair in sorted(first):
            tree = _tree(len(sections), {p: link for p, link in links.items() if p != pair})
            if len(tree) == len(first):  # what it held together hangs together without it
                fits.append(_fit_from(tree, corners, links, reference))
    best = min(fits, key=lambda fit: fit.cost)
    poses = best.poses
    disagreement = {}
    for (i, j), link in links.items():
        if i in poses and j in poses:
            off = poses[i].after(link.transform).apply(corners[j]) - poses[j].apply(corners[j])
            disagreement[i, j] = float(np.sqrt((off**2).sum(1).mean()))
    return Stack(tuple(poses.get(i) for i in range(len(sections))), disagreement, best.used)


@dataclass(frozen=True, eq=False)
class _Fit:
    poses: dict[int, Rigid]
    used: tuple[Pair, ...]
    cost: float
    strain: float  # of the link that fits worst, in standard errors


def _tree(n: int, links: Mapping[Pair, Link]) -> set[Pair]:
    """Links that connect all that can be, the best ones first (Kruskal's tree)."""
    part = list(range(n))
    chosen = set()
    for i, j in sorted(links, key=lambda pair: (links[pair].doubtful, links[pair].error, pair)):
        if part[i] != part[j]:
            chosen.add((i, j))
            part = [part[i] if p == part[j] else p for p in part]
    return chosen


def _poses_along(tree: set[Pair], links: Mapping[Pair, Link], reference: int) -> dict[int, Rigid]:
    """Poses of the sections that the tree connects to the reference."""
    poses = {reference: Rigid.make(0)}
    waiting = [reference]
    while waiting:
        here = waiting.pop()
        for i, j in sorted(tree):
            link = links[i, j].transform
            if i == here and j not in poses:
                poses[j] = poses[here].after(link)
                waiting.append(j)
            elif j == here and i not in poses:
                poses[i] = poses[here].after(link.inverse())
                waiting.append(i)
    return poses


def _fit_from(tree: set[Pair], corners: list[Doubles], links: Mapping[Pair, Link], reference: int) -> _Fit:
    """Fit poses, starting from those along a tree."""
    start = _poses_along(tree, links, reference)
    known = np.array([link.error for link in links.values()])
    typical = float(np.median(known[np.isfinite(known)])) if np.isfinite(known).any() else 1.0
    used, sigma, refused = [], [], 0
    for (i, j), link in links.items():
        if i not in start or (link.doubtful and (i, j) not in tree):
            continue
        if start[i].after(link.transform).reflected != start[j].reflected:
            refused += 1
            continue
        used.append((i, j))
        # a link without a standard error counts as ten times worse than usual
        error = link.error if np.isfinite(link.error) else 10 * typical
        sigma.append(max(error, _LEAST_ERROR * typical))
    free = [i for i in start if i != reference]
    size = {i: max(float(np.sqrt(((c - c.mean(0)) ** 2).sum(1).mean())), 1e-9) for i, c in enumerate(corners)}

    def poses(v: Doubles) -> dict[int, Rigid]:
        out = dict(start)
        for i, (turn, dx, dy) in zip(free, v.reshape(-1, 3)):
            turned = Rigid.make(np.rad2deg(turn / size[i])).rotation @ start[i].rotation
            middle = corners[i].mean(0)
            to = start[i].apply(middle) + np.array([dx, dy])
            out[i] = Rigid.about(Rigid(turned, np.zeros(2), start[i].scale), middle, to)
        return out

    def residuals(v: Doubles) -> Doubles:
        now = poses(v)
        off = []
        for (i, j), s in zip(used, sigma):
            gap = now[i].after(links[i, j].transform).apply(corners[j]) - now[j].apply(corners[j])
            off.append((gap / (s * np.sqrt(len(gap)))).ravel())
        return np.concatenate(off)

    if not used:
        return _Fit(start, (), _REFUSED * refused, 0.0)
    found = least_squares(
        residuals, np.zeros(3 * len(free)), loss="cauchy", f_scale=_OUTLIER, x_scale=typical
    )
    strain = float(np.linalg.norm(residuals(found.x).reshape(len(used), -1), axis=1).max())
    return _Fit(poses(found.x), tuple(used), float(found.cost) + _REFUSED * refused, strain)
