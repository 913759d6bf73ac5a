"""Units of expression."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
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


def root_shares(values: sparse.csr_matrix) -> NDArray[np.float64]:
    """Square roots of each gene's share of the cell's total: (n, g) counts, or a multiple → (n, g) dense.

    The root stabilizes the variance of counts; the share removes depth. Unlike ``log1p`` it has no free
    scale, whose best value would depend on the size of the panel.
    """
    x = sparse.csr_matrix(values, dtype=np.float64, copy=True)
    total = np.asarray(x.sum(axis=1)).ravel()
    x.data /= np.repeat(np.maximum(total, 1e-12), np.diff(x.indptr))
    np.sqrt(x.data, out=x.data)
    dense: NDArray[np.float64] = x.toarray()
    return dense
