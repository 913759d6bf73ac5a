"""The unit in which LLOKI-FP works."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from lloki.errors import InputError


def log_normalize(counts: sparse.spmatrix | sparse.sparray) -> sparse.csr_matrix:
    """Scale each cell to the slice's median total count and take log(1 + x).

    Parameters
    ----------
    counts
        (n, g) raw counts, at least 0.

    Returns
    -------
    expression
        (n, g) CSR float32, canonical, without explicit zeros, so that its entries are the observed ones. The
        target total is the median over cells with counts; cells without counts stay empty. The input is not
        changed.

    Raises
    ------
    InputError
        If a value is negative, NaN or infinite.
    """
    x = sparse.csr_matrix(counts, dtype=np.float64, copy=True)
    x.sum_duplicates()
    x.eliminate_zeros()
    if x.nnz and not (np.isfinite(x.data).all() and x.data.min() > 0):
        raise InputError("counts hold negative, NaN or infinite values", slot="X", hint="Pass raw counts.")
    totals = np.asarray(x.sum(axis=1)).ravel()
    full = totals > 0
    if full.any():
        x.data *= np.repeat(np.median(totals[full]) / np.where(full, totals, 1.0), np.diff(x.indptr))
    np.log1p(x.data, out=x.data)
    return x.astype(np.float32)
