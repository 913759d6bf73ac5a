"""Many tests in several tables: false discovery within each, and over all of them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray


def benjamini_hochberg(p: ArrayLike) -> NDArray[np.float64]:
    """Adjust p-values (n,); NaN, where there was no test, stays NaN and does not count."""
    p = np.asarray(p, float)
    q, tested = np.full(len(p), np.nan), np.flatnonzero(np.isfinite(p))
    order = tested[np.argsort(p[tested], kind="stable")]
    scaled = p[order] * len(order) / np.arange(1, len(order) + 1)
    q[order] = np.minimum.accumulate(scaled[::-1])[::-1].clip(max=1.0)
    return q


def adjust_tables(tables: Mapping[str, pd.DataFrame], alpha: float) -> dict[str, pd.DataFrame]:
    """Add ``q_value`` to tables with ``p_value``.

    Benjamini and Hochberg (1995) within each table; then each table is a family, and those with evidence are
    selected by the same procedure on their smallest adjusted values (Simes' test of the whole table), and the
    q-values of all are multiplied by tables / selected (Benjamini and Bogomolov 2014). Without any
    difference,
    the probability that some q-value of some table is at most ``alpha`` is ``alpha``; if all tables have
    findings, nothing is lost.
    """
    q = {name: benjamini_hochberg(table["p_value"]) for name, table in tables.items() if len(table)}
    smallest = [float(np.nanmin(values)) for values in q.values() if np.isfinite(values).any()]
    selected = int((benjamini_hochberg(smallest) <= alpha).sum())
    factor = len(smallest) / max(selected, 1)
    return {
        name: table.assign(q_value=np.minimum(q[name] * factor, 1.0)) if name in q else table
        for name, table in tables.items()
    }
