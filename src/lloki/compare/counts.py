"""Counts of donors as logarithms with the variance of their measurement."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lloki.compare.design import Design

Doubles = NDArray[np.float64]
_LN2 = np.log(2.0)
_FEW = 5  # genes: with fewer, the median of their ratios is no better than the total


def log_rates(
    counts: Doubles,
    totals: Doubles,
    measured: NDArray[np.bool_],
    design: Design,
    *,
    min_count: float,
) -> tuple[Doubles, Doubles, NDArray[np.bool_]]:
    """Logarithms of counts over their totals.

    Parameters
    ----------
    counts
        (n, f) of the observations of a design.
    totals
        (n,) or (n, f) what they are out of: all cells, the size of a library, or a number by chance.
    measured
        (n, f) where a feature was measured.
    design
        The observations.
    min_count
        Minimum mean expected count over the observations of a panel group.

    Returns
    -------
    y, v, mask (n, f): log2 rates, their variances by counting, and where they can be used. Variances and the
    minimum count go by the rate of a whole panel group, whatever the condition: weights by a unit's own count
    would be small where the count happens to be small, and bias the mean upward.
    """
    y, v, mask = np.zeros_like(counts), np.ones_like(counts), np.zeros(counts.shape, bool)
    totals = np.broadcast_to(totals.reshape(len(counts), -1), counts.shape)
    for token in design.tokens:
        own = np.flatnonzero(design.token == token)
        there = measured[own] & (totals[own] > 0)
        total = np.where(there, totals[own], 0.0)
        rate = np.where(there, counts[own], 0.0).sum(axis=0) / np.maximum(total.sum(axis=0), 1e-300)
        expected = rate * totals[own]
        mean = np.where(there, expected, 0.0).sum(axis=0) / np.maximum(there.sum(axis=0), 1)
        mask[own] = there & (mean >= min_count)
        y[own] = np.log2((counts[own] + 0.5) / np.maximum(totals[own], 1e-300))
        v[own] = 1.0 / (expected + 0.5) / _LN2**2
    return np.where(mask, y, 0.0), np.where(mask, v, 1.0), mask


def library_sizes(
    counts: Doubles, measured: NDArray[np.bool_], used: NDArray[np.bool_], design: Design, *, min_count: float
) -> Doubles:
    """(n,) sizes of pseudobulk libraries, comparable within a panel group.

    The median ratio of a library's genes to their geometric mean over the group (Anders and Huber 2010), not
    the total: a panel has few genes, and one that rises would make all others seem to fall.

    Parameters
    ----------
    counts, measured
        (n, g) sums over cells of one type, and where genes were measured.
    used
        (n,) observations with enough cells; others get 0.
    """
    sizes = np.zeros(len(counts))
    for token in design.tokens:
        own = np.flatnonzero((design.token == token) & used)
        if not len(own):
            continue
        x = counts[own][:, measured[own].all(axis=0)]
        rich = x[:, x.mean(axis=0) >= min_count]
        sizes[own] = x.sum(axis=1)
        if rich.shape[1] >= _FEW:
            logs = np.log(rich + 0.5)
            factor = np.median(logs - logs.mean(axis=0), axis=1)
            sizes[own] = np.exp(factor) * x.sum(axis=1).mean()
    return sizes
