"""Genes of a metagene that was found in an embedding, from each slice's own panel."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from lloki.errors import InputError


def gene_loadings(
    expression: sparse.spmatrix | NDArray, states: NDArray, genes: list[str], *, ridge: float = 1e-2
) -> pd.DataFrame:
    r"""Regress every gene on the states, to find the genes of each metagene.

    .. math:: \min_B \|E - 1 b^T - Z B\|^2 + \rho\, n\, \overline{z^2}\, \|B\|^2

    Parameters
    ----------
    expression
        (n, g) of one slice, log-normalized; columns are scaled to unit variance.
    states
        (n, K); rows are normalized to compositions first, so that a cell's total does not matter.
    genes
        (g,) names.
    ridge
        ρ: compositions sum to one, and few cells use a rare metagene.

    Returns
    -------
    Genes by metagenes: how many standard deviations more of the gene a cell expresses that uses this metagene
    alone than a cell of the slice's mean composition. 0 for genes that do not vary.

    Raises
    ------
    InputError
        If shapes do not fit or values are not finite.

    Notes
    -----
    Time grows with n x K x (K + g); sparse expression stays sparse.
    """
    z = np.asarray(states, np.float64)
    e: Any = (
        sparse.csr_matrix(expression, dtype=np.float64)
        if sparse.issparse(expression)
        else np.asarray(expression, np.float64)
    )
    if e.shape != (len(z), len(genes)):
        raise InputError(f"expression has shape {e.shape}", hint=f"It must be {(len(z), len(genes))}.")
    if not np.isfinite(z).all() or not np.isfinite(e.data if sparse.issparse(e) else e).all():
        raise InputError("expression or states hold NaN or infinity", hint="Leave these cells out.")
    total = z.sum(1, keepdims=True)
    z = np.divide(z, total, out=np.full_like(z, 1 / z.shape[1]), where=total > 0)
    centered = z - z.mean(0)
    n = len(z)
    mean = np.asarray(e.mean(0)).ravel()
    square = np.asarray((e.multiply(e) if sparse.issparse(e) else e * e).mean(0)).ravel()
    spread = np.sqrt(np.maximum(square - mean**2, 0))
    quad = centered.T @ centered + ridge * n * max(np.square(centered).mean(), 1e-12) * np.eye(z.shape[1])
    cross = np.asarray(e.T @ centered)  # the mean of e cancels: columns of `centered` sum to 0
    slopes = np.linalg.solve(quad, cross.T).T
    slopes -= (slopes @ z.mean(0))[:, None]
    safe = np.where(spread > 1e-9, spread, np.inf)
    return pd.DataFrame(slopes / safe[:, None], index=list(genes), columns=range(z.shape[1]))


def top_genes(loadings: pd.DataFrame, *, n_genes: int = 10) -> dict[int, list[str]]:
    """Metagene → names of the genes with the largest positive loadings, the largest first."""
    return {
        k: [str(g) for g in column.sort_values(ascending=False).index[:n_genes] if column[g] > 0]
        for k, (_, column) in enumerate(loadings.items())
    }
