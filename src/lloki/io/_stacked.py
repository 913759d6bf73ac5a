"""Whether groups of cells lie in coordinates of their own, by how near to one another their cells are.

Cells take up space, so the nearest cell is hardly ever much nearer than the next ones. Where fields of view
or sections were laid on one another, cells keep apart from those of their own group only. This tells them
from cell types, which keep apart from all cells, whatever the column is called.
"""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.special import beta

_NEIGHBORS = 8  # the nearest is compared with this one
_LEAST = 3 * _NEIGHBORS  # cells of a group that is looked at
_GROUPS = 40  # groups looked at
_CELLS = 6_000  # cells looked at
# By how much more cells keep apart in groups than among all. In 15 real slices, fields of 200 cells laid on
# one another show 0.02 to 0.15, cell types and layers -0.09 to 0.
_MORE = 0.015
_ERRORS = 3.0  # standard errors that it must exceed as well
_NEAREST = _NEIGHBORS - 1
_PLANE = re.compile(
    r"(.*[_.\s])?(z|plane|depth|focus)([_.\s-].*)?|z\d*", re.I
)  # cells there do lie on others


def kept_apart(positions: NDArray, some: NDArray[np.int64]) -> NDArray[np.float64]:
    """Distance to the nearest cell over that to the 8th nearest, for some cells.

    Its median is 0.31 where positions are independent (the square of the ratio then follows Beta(1, 7)), and
    from 0.34 to 0.48 in tissue.

    Parameters
    ----------
    positions
        (n, 2 or 3), more than 8.
    some
        (m,) rows to look at.
    """
    distances = cKDTree(positions).query(positions[some], k=_NEIGHBORS + 1)[0]
    return np.asarray(distances[:, 1] / np.maximum(distances[:, -1], np.finfo(float).tiny))


def stacked(positions: NDArray, groups: NDArray[np.int64], name: str) -> float:
    """By how much more cells keep apart from those of their group than from all; 0 where that is no evidence.

    Parameters
    ----------
    positions
        (n, 2 or 3).
    groups
        (n,) codes, -1 for none.
    name
        Of the column: cells in different planes of a thick section lie on one another, as they should.

    Notes
    -----
    At most 40 groups of 24 cells or more and 6,000 cells are looked at, all of them in the same order of
    rows.
    """
    found = None if _PLANE.fullmatch(name) else _kept_apart_in(positions, groups)
    if found is None:
        return 0.0
    more, error = _difference(*found)
    if more <= max(_MORE, _ERRORS * error) or found[0].mean() <= _by_chance(positions):
        return 0.0
    return more


def not_stacked(positions: NDArray, groups: NDArray[np.int64]) -> bool:
    """Whether cells evidently keep apart from all cells, not only from those of their group.

    Parameters
    ----------
    positions
        (n, 2 or 3).
    groups
        (n,) codes, -1 for none.

    Returns
    -------
    bool
        That groups which lie on one another share one frame: numbers given to cells, say. Without, it is
        open: small groups and positions without any spacing are evidence of nothing. In 15 real slices it
        holds for 341 of 375 sets of random groups, and for 1 of 180 with fields laid on one another.
    """
    found = _kept_apart_in(positions, groups)
    if found is None:
        return False
    more, error = _difference(*found)
    spaced = float(found[1].mean()) > _by_chance(positions) + _MORE
    return bool(spaced and more < -max(_MORE, _ERRORS * error))


def _kept_apart_in(positions: NDArray, groups: NDArray[np.int64]) -> tuple[NDArray, NDArray] | None:
    """(m,) how far cells keep apart from those of their group, and from all; ``None`` for small groups."""
    codes, sizes = np.unique(groups[groups >= 0], return_counts=True)
    codes = codes[sizes >= _LEAST]
    if len(codes) < 2:
        return None
    codes = codes[:: -(-len(codes) // _GROUPS)]
    each = max(_LEAST, _CELLS // len(codes))
    own, rows = [], []
    for code in codes:
        members = np.flatnonzero(groups == code)
        chosen = np.arange(0, len(members), -(-len(members) // each))
        own.append(kept_apart(positions[members], chosen))
        rows.append(members[chosen])
    return np.concatenate(own), kept_apart(positions, np.concatenate(rows))


def _difference(inside: NDArray, among_all: NDArray) -> tuple[float, float]:
    """Mean of how much more cells keep apart in their group, and its standard error."""
    more = inside - among_all
    return float(more.mean()), float(more.std() / np.sqrt(len(more)))


def _by_chance(positions: NDArray) -> float:
    """Mean of the ratio at independent positions."""
    return float(_NEAREST * beta(1 + 1 / positions.shape[1], _NEAREST))
