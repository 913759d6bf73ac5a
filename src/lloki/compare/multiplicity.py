"""Many tests in several tables: false discovery in each, over all of them, and against relabeled units."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from lloki.compare.linear import Compared

_SAME = 1e-6  # relative difference below which evidence is the same: mirrored labelings differ by rounding


def benjamini_hochberg(p: ArrayLike) -> NDArray[np.float64]:
    """Adjust p-values (n,); NaN, where there was no test, stays NaN and does not count."""
    p = np.asarray(p, float)
    q, tested = np.full(len(p), np.nan), np.flatnonzero(np.isfinite(p))
    order = tested[np.argsort(p[tested], kind="stable")]
    scaled = p[order] * len(order) / np.arange(1, len(order) + 1)
    q[order] = np.minimum.accumulate(scaled[::-1])[::-1].clip(max=1.0)
    return q


def evidence_of_rows(p: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Measure how much each row of p-values (r, f), NaN without a test, speaks against chance.

    Returns
    -------
    (r,) negative logarithms of the smallest adjusted value (Simes' test of the whole row), and (r,) their sum
    over all tests of the row, which one outlying test moves less. 0 without evidence.
    """
    ordered = np.sort(p, axis=1)[:, ::-1]  # NaN first, then the largest
    with np.errstate(invalid="ignore", divide="ignore"):
        rank = np.arange(p.shape[1], 0, -1)
        scaled = ordered * np.isfinite(p).sum(axis=1)[:, None] / rank
        q = np.minimum.accumulate(np.where(np.isfinite(scaled), scaled, 1.0).clip(1e-300, 1.0), axis=1)
    logs = -np.log(q)
    return logs.max(axis=1, initial=0.0), logs.sum(axis=1)


def adjust_tables(
    compared: Mapping[str, Compared], alpha: float, floors: Mapping[str, float] | None = None
) -> dict[str, pd.DataFrame]:
    """Add ``q_value`` to tables with ``p_value``; ``floors`` are the smallest possible ones of a condition.

    Each table of each condition is a family. A q-value is the largest of

    - that of Benjamini and Hochberg (1995) within the family, times families / selected ones, where families
      with evidence are selected by the same procedure on their smallest adjusted values (Simes' test of the
      whole family; Benjamini and Bogomolov 2014). If all families have findings, nothing is lost;
    - the share of labelings of the units with as much evidence in the family as the observed one: the sum of
      -log of adjusted values;
    - the share with as much in all families of the condition, times the number of conditions: the sum of -log
      of the families' smallest adjusted values, so that no family dominates by its number of tests.

    The first holds as far as the model does. The others hold whatever the distributions and dependences of
    the features are, as the labeling is all that they take to be random: without any difference, the
    probability that some q-value of some table is at most ``alpha`` is at most ``alpha``, and so it is within
    a table without a difference beside others with some.
    """
    q = {name: np.full(len(each.table), np.nan) for name, each in compared.items()}
    rows: dict[tuple[str, str], NDArray[np.bool_]] = {}
    most: dict[tuple[str, str], NDArray[np.float64]] = {}
    total: dict[tuple[str, str], NDArray[np.float64]] = {}
    for name, each in compared.items():
        for condition, p in each.relabeled.items():
            own = (each.table["condition"] == condition).to_numpy()
            own &= each.table["p_value"].notna().to_numpy()
            if own.any():
                rows[name, condition] = own
                most[name, condition], total[name, condition] = evidence_of_rows(p)
                q[name][own] = benjamini_hochberg(each.table["p_value"][own])
    smallest = {key: float(q[key[0]][own].min()) for key, own in rows.items()}
    selected = int((benjamini_hochberg(list(smallest.values())) <= alpha).sum())
    conditions = {condition for _, condition in rows}
    for (name, condition), own in rows.items():
        overall = np.sum([values for key, values in most.items() if key[1] == condition], axis=0)
        floor = max(
            (floors or {}).get(condition, 0.0),
            _rank(total[name, condition]),
            _rank(overall) * len(conditions),
        )
        values = q[name][own] * len(rows) / max(selected, 1)
        q[name][own] = np.maximum(values, floor).clip(max=1.0)
    return {
        name: each.table.assign(q_value=q[name]) if len(each.table) else each.table
        for name, each in compared.items()
    }


def _rank(evidence: NDArray[np.float64]) -> float:
    """Share of labelings with as much evidence as the first, the observed; 0 if it is the only one."""
    least = evidence[0] - _SAME * (1 + abs(evidence[0]))
    return float((evidence >= least).mean()) if len(evidence) > 1 else 0.0
