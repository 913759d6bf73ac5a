"""Cells drawn with equal shares of the batches."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LEAST = 50  # a batch must have more labeled cells than this to be scored


def stratified(groups: NDArray, n_cells: int, *, seed: int = 0) -> NDArray[np.int64]:
    """Draw at most ``n_cells`` cells, at most an equal share of each group; of small groups, all.

    Parameters
    ----------
    groups
        (n,) name of the group of each cell.
    n_cells
        Maximum number of cells.
    seed
        Random seed.

    Returns
    -------
    (m,) rows, group by group in the order of their names, shuffled within each.
    """
    rng = np.random.default_rng(seed)
    names = np.unique(groups)
    share = max(n_cells // max(len(names), 1), 1)
    drawn = [rng.permutation(np.flatnonzero(groups == name))[:share] for name in names]
    return np.concatenate(drawn) if drawn else np.zeros(0, np.int64)


def scored_cells(
    labels: NDArray, batches: NDArray, *, n_cells: int | None, seed: int = 0
) -> NDArray[np.int64]:
    """Choose the cells that metrics are computed from.

    Parameters
    ----------
    labels
        (n,) strings, ``""`` where unknown: such cells are left out.
    batches
        (n,) batch of each cell; one with no more than `LEAST` labeled cells is left out.
    n_cells
        At most this many, an equal share of each batch (:func:`stratified`); ``None`` takes all, in their
        order.
    seed
        Random seed.

    Returns
    -------
    (m,) rows.
    """
    known = np.flatnonzero(labels != "")
    names, codes, counts = np.unique(batches[known], return_inverse=True, return_counts=True)
    known = known[(counts > LEAST)[codes]] if len(names) else known
    return known if n_cells is None else known[stratified(batches[known], n_cells, seed=seed)]
