"""Cell types that use each metagene, and how consistent slices are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linear_sum_assignment

from lloki.errors import InputError

_NONE = 1e-9  # of a metagene's largest state: below it, a cell does not use the metagene


def enrichment(states: ArrayLike, labels: ArrayLike, *, min_cells: int = 10) -> pd.DataFrame:
    """Compute how strongly each type uses each metagene: the mean over its cells that use it at all.

    Parameters
    ----------
    states
        (n, K) of one slice, non-negative.
    labels
        (n,) types; ``""`` and missing values are left out.
    min_cells
        Minimum number of cells of a type.

    Returns
    -------
    Types by metagenes; 0 where no cell of the type uses the metagene.

    Raises
    ------
    InputError
        If shapes do not fit, or no type has enough cells.
    """
    x = np.asarray(states, np.float64)
    named = pd.Series(np.asarray(labels, object))
    if len(named) != len(x):
        raise InputError(f"{len(x)} states and {len(named)} labels", hint="Give one label per cell.")
    known = named.where(named.notna(), "").astype(str)
    counts = known[known != ""].value_counts()
    types = sorted(counts.index[counts >= min_cells])
    if not types:
        raise InputError(f"no type has {min_cells} cells", hint="Name another column of cell types.")
    used = x > _NONE * x.max(0, keepdims=True)
    rows = []
    for name in types:
        here = (known == name).to_numpy()
        count = used[here].sum(0)
        rows.append(np.where(count > 0, (x[here] * used[here]).sum(0) / np.maximum(count, 1), 0.0))
    return pd.DataFrame(np.array(rows), index=types, columns=range(x.shape[1]))


def by_maximum(table: pd.DataFrame) -> list[int]:
    """Order metagenes by the type that uses them most, and within a type by how much: for heat maps."""
    values = table.to_numpy()
    owner = values.argmax(0)
    return sorted(range(values.shape[1]), key=lambda j: (owner[j], -values[owner[j], j]))


def consistency(tables: Sequence[pd.DataFrame]) -> float:
    """Compute how well slices agree: the mean correlation of their types' profiles.

    Parameters
    ----------
    tables
        One of `enrichment` for each slice, metagenes matched; each is scaled to the mean 1 of every metagene.

    Returns
    -------
    Over all pairs of slices and types that both have, the mean Pearson correlation of the type's profile over
    metagenes. NaN without such a pair.
    """
    scaled = [t / t.mean().replace(0, 1) for t in tables]
    found = []
    for i, a in enumerate(scaled):
        for b in scaled[i + 1 :]:
            for name in a.index.intersection(b.index):
                u, v = a.loc[name].to_numpy(), b.loc[name].to_numpy()
                if np.ptp(u) > 0 and np.ptp(v) > 0:
                    found.append(np.corrcoef(u, v)[0, 1])
    return float(np.mean(found)) if found else np.nan


def match_metagenes(fixed: pd.DataFrame, moving: pd.DataFrame) -> NDArray[np.int64]:
    """Match metagenes of two separate fits by their types: optimal assignment.

    Parameters
    ----------
    fixed, moving
        Tables of `enrichment`; types that only one has are ignored.

    Returns
    -------
    (K,) which metagene of ``moving`` is that of ``fixed``: the sum of correlations is the largest possible.

    Raises
    ------
    InputError
        If they share fewer than two types.
    """
    types = fixed.index.intersection(moving.index)
    if len(types) < 2:
        raise InputError(
            f"slices share {len(types)} types", hint="At least two are needed to match metagenes."
        )
    a, b = (_unit(t.loc[types].to_numpy()) for t in (fixed, moving))
    return linear_sum_assignment(-(a.T @ b))[1]


def _unit(x: NDArray) -> NDArray:
    centered = x - x.mean(0)
    return centered / np.maximum(np.linalg.norm(centered, axis=0), 1e-300)
