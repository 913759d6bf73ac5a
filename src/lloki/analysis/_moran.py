"""Moran's I: spatial autocorrelation."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from lloki.errors import InputError

_MIN_VARIANCE = 1e-24  # relative variance below which a column counts as constant


def moran(values: ArrayLike, graph: sparse.spmatrix, *, standardize: bool = True) -> NDArray[np.float64]:
    r"""Compute Moran's I of every column.

    .. math::
        I = \frac{n}{\sum_{ij} w_{ij}} \frac{\sum_{ij} w_{ij} (x_i-\bar x)(x_j-\bar x)}{\sum_i (x_i-\bar x)^2}

    Parameters
    ----------
    values
        (n, m) of one slice, or (n,).
    graph
        (n, n) spatial weights, non-negative.
    standardize
        Whether to normalize rows of weights to a sum of one, as squidpy does.

    Returns
    -------
    (m,) float64. Near 1: neighbors have similar values; near -1/(n - 1): no autocorrelation.
    NaN for constant columns, and for all where no cell has a neighbor.

    Raises
    ------
    InputError
        If values are not finite or shapes do not fit.

    Notes
    -----
    It lies between -1 and 1 where all cells have equally many neighbors, and can go a little beyond
    elsewhere. Time grows with edges x m, memory with n x m.
    """
    x = np.asarray(values, np.float64)
    x = x[:, None] if x.ndim == 1 else x
    w = sparse.csr_matrix(graph, dtype=np.float64)
    if x.ndim != 2 or w.shape != (len(x), len(x)):
        raise InputError(
            f"values have shape {x.shape} and the graph {w.shape}", hint="Give one row per cell."
        )
    if not np.isfinite(x).all():
        raise InputError("values hold NaN or infinity", hint="Leave these cells out.")
    if standardize:
        total = np.asarray(w.sum(1)).ravel()
        scale = np.divide(1.0, total, out=np.zeros_like(total), where=total > 0)
        w = sparse.diags(scale) @ w
    centered = x - x.mean(0)
    square = np.square(centered).sum(0)
    varies = square > _MIN_VARIANCE * np.square(x).sum(0)
    weight = w.sum()
    out = np.full(x.shape[1], np.nan)
    if weight > 0 and varies.any():
        c = centered[:, varies]
        out[varies] = len(x) / weight * np.einsum("nm,nm->m", c, w @ c) / square[varies]
    return out
