"""Spatial arrangement: who is beside whom, and how far a type is from another."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from lloki.compare.composition import differences
from lloki.compare.config import CompareConfig
from lloki.compare.counts import log_rates
from lloki.compare.design import Identified
from lloki.compare.inputs import Cohort
from lloki.compare.linear import Compared

Doubles = NDArray[np.float64]


def compare_neighborhood(cohort: Cohort, identified: list[Identified], config: CompareConfig) -> Compared:
    """Compare the arrangement of types in space.

    Returns
    -------
    See :func:`lloki.compare.compare`. Rows of three kinds:

    ``"contact"``
        log2 ratio of the pairs of neighboring cells of two types to those expected if the types of a slice
        were shuffled over its cells. The expectation is exact: no shuffling is needed.
    ``"distance"``
        Mean log2 distance of cells of a type to the nearest of another, less that of all cells. Independent
        of the unit of the positions and of how many there are of the other type.
    ``"program"``
        Mean score of a neighborhood program that an earlier analysis left.
    """
    types, n = cohort.types, len(cohort.design.unit)
    t = len(types)
    tables = []
    if t:
        observed, expected = np.zeros((2, n, t, t))
        nearest, spread, cells = np.zeros((3, n, t, t))
        for s, at, code in zip(cohort.slices, cohort.design.observation, cohort.codes):
            seen, by_chance = contacts(s.xy, code, t, config.contact_neighbors)
            observed[at] += seen
            expected[at] += by_chance
            mean, var, size = distances(s.xy, code, t, config.min_cells)
            nearest[at] += mean * size
            spread[at] += var * size
            cells[at] += size
        first, second = np.triu_indices(t)
        seen, by_chance = observed[:, first, second], expected[:, first, second]
        y, v, mask = log_rates(seen, by_chance, by_chance > 0, cohort.design, min_count=config.min_count)
        found = _compare(y, v, mask, cohort, identified, config)
        tables.append(_named(found, "contact", np.array(types)[first], np.array(types)[second]))
        first, second = (1 - np.eye(t)).nonzero()
        size = np.maximum(cells, 1)
        y = (nearest / size)[:, first, second]
        v = (spread / size**2)[:, first, second] + 1e-6
        found = _compare(y, v, cells[:, first, second] > 0, cohort, identified, config)
        tables.append(_named(found, "distance", np.array(types)[first], np.array(types)[second]))
    tables.append(_programs(cohort, identified, config))
    return Compared.join(tables)


def contacts(xy: Doubles, code: NDArray[np.int64], n_types: int, k: int) -> tuple[Doubles, Doubles]:
    """Count pairs of neighboring cells by their types.

    Parameters
    ----------
    xy
        (n, 2 or 3).
    code
        (n,) types, -1 for none.
    n_types
        t, number of types.
    k
        Nearest cells of each.

    Returns
    -------
    (t, t) counts, symmetric, a pair counted for each cell that has the other among its nearest; and their
    mean over all permutations of the types among the cells that have one: of E pairs,
    E · n_a n_b / (n (n - 1)) for two types, each way.
    """
    k = min(k, len(xy) - 1)
    seen, expected = np.zeros((2, n_types, n_types))
    if k < 1:
        return seen, expected
    _, near = cKDTree(xy).query(xy, k + 1)
    one, other = np.repeat(code, k + 1), code[near.ravel()]
    self = near.ravel() == np.repeat(np.arange(len(xy)), k + 1)
    kept = (one >= 0) & (other >= 0) & ~self
    pairs_of = np.bincount(one[kept] * n_types + other[kept], minlength=n_types**2)
    seen += pairs_of.reshape(n_types, n_types)
    sizes = np.bincount(code[code >= 0], minlength=n_types).astype(float)
    total = sizes.sum()
    if total > 1:
        pairs = np.outer(sizes, sizes) - np.diag(sizes)
        expected = kept.sum() * pairs / (total * (total - 1))
    twice = 2.0 - np.eye(n_types)  # a beside b and b beside a are the same contact
    return (seen + seen.T) * twice / 2, expected * twice


def distances(
    xy: Doubles, code: NDArray[np.int64], n_types: int, min_cells: int
) -> tuple[Doubles, Doubles, Doubles]:
    """Measure how far cells of a type (rows) are from the nearest of another (columns).

    Returns
    -------
    (t, t) mean log2 distance, less that of all cells to the nearest other cell of the second type; variance
    of the log2 distances; cells of the first type. 0 where either has fewer than ``min_cells`` cells.

    Notes
    -----
    All cells, the second type's own among them, stand for the tissue: their mean does not change if cells of
    other types are exchanged in place.
    """
    mean, var, cells = np.zeros((3, n_types, n_types))
    known = np.flatnonzero(code >= 0)
    own = code[known]
    sizes = np.bincount(own, minlength=n_types)
    for b in np.flatnonzero(sizes >= max(min_cells, 2)):
        both, _ = cKDTree(xy[code == b]).query(xy[known], 2)
        gap = np.where(own == b, both[:, 1], both[:, 0])
        logs = np.log2(np.maximum(gap, max(1e-3 * float(np.median(gap)), 1e-300)))
        number = sizes.astype(float)
        total = np.bincount(own, logs, minlength=n_types)
        square = np.bincount(own, logs**2, minlength=n_types)
        for a in np.flatnonzero(sizes >= min_cells):
            if a == b:
                continue
            at = total[a] / number[a]
            mean[a, b] = at - logs.mean()
            var[a, b] = max(square[a] / number[a] - at**2, 0.0)
            cells[a, b] = number[a]
    return mean, var, cells


def _programs(cohort: Cohort, identified: list[Identified], config: CompareConfig) -> Compared:
    """Compare the mean score of a neighborhood program, where cells have one."""
    n = len(cohort.design.unit)
    number, total, square = np.zeros((3, n, 1))
    for s, at in zip(cohort.slices, cohort.design.observation):
        if s.scores is not None:
            known = s.scores[np.isfinite(s.scores)]
            number[at] += len(known)
            total[at] += known.sum()
            square[at] += (known**2).sum()
    enough = number >= config.min_cells
    if not enough.any():
        return Compared(pd.DataFrame(), {})
    mean = total / np.maximum(number, 1)
    var = np.maximum(square / np.maximum(number, 1) - mean**2, 0) / np.maximum(number, 1) + 1e-6
    found = _compare(mean, var, enough, cohort, identified, config)
    return _named(found, "program", np.array(["neighborhood program"]), np.array([""]))


def _compare(
    y: Doubles,
    v: Doubles,
    mask: NDArray[np.bool_],
    cohort: Cohort,
    identified: list[Identified],
    config: CompareConfig,
) -> Compared:
    return differences(np.where(mask, y, 0.0), np.where(mask, v, 1.0), mask, cohort, identified, config)


def _named(compared: Compared, kind: str, first: NDArray, second: NDArray) -> Compared:
    found = compared.table
    if not len(found):
        return compared
    found.insert(0, "kind", kind)
    found.insert(1, "type", first[found["feature"]])
    found.insert(2, "neighbor", second[found["feature"]])
    return compared
