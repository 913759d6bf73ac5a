"""What people use without lloki: PCA of the expression, and Harmony on an embedding."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from lloki._parallel import single_threaded
from lloki.errors import InputError, MissingExtraError

Floats = NDArray[np.floating]
# About what an imaging panel counts in a cell; one number for all slices, so that none is scaled apart.
TOTAL = 100.0


def normalized(counts: sparse.spmatrix | sparse.sparray) -> sparse.csr_matrix:
    """``log(1 + 100 x / total)`` of each cell's counts: (n, g) CSR float32."""
    x = sparse.csr_matrix(counts, dtype=np.float32, copy=True)
    total = np.asarray(x.sum(axis=1)).ravel()
    x.data *= np.repeat(TOTAL / np.maximum(total, 1), np.diff(x.indptr)).astype(np.float32)
    np.log1p(x.data, out=x.data)
    return x


def expression_pca(x: sparse.spmatrix, *, components: int = 30, seed: int = 0) -> NDArray[np.float32]:
    """Principal components of expression, sparse from end to end.

    Parameters
    ----------
    x
        (n, g) log-normalized expression. Over the union of panels, a gene that a slice did not measure is 0
        there, which is what makes this a poor integration.
    components
        Fewer if there are not as many genes or cells.
    seed
        Random seed.

    Returns
    -------
    (n, d) float32.

    Raises
    ------
    InputError
        With fewer than 3 genes or cells.
    """
    from sklearn.decomposition import PCA

    if min(x.shape) < 3:
        raise InputError(f"{x.shape[1]} genes in {x.shape[0]} cells are too few for a PCA")
    with single_threaded():
        model = PCA(min(components, min(x.shape) - 1), svd_solver="arpack", random_state=seed)
        return np.asarray(model.fit_transform(sparse.csr_matrix(x)), np.float32)


def harmony(embedding: Floats, batches: NDArray, *, seed: int = 0) -> NDArray[np.float32]:
    """Harmony (Korsunsky et al. 2019), with harmonypy's defaults.

    Parameters
    ----------
    embedding
        (n, d).
    batches
        (n,).
    seed
        Random seed.

    Returns
    -------
    (n, d) float32.

    Raises
    ------
    MissingExtraError
        Without harmonypy (the extra ``benchmark``).
    """
    try:
        import harmonypy
    except ImportError as error:
        raise MissingExtraError("harmonypy", "benchmark", "Harmony") from error
    x = np.asarray(embedding, np.float32)
    table = pd.DataFrame({"batch": np.asarray(batches).astype(str)})
    run = harmonypy.run_harmony(x, table, "batch", verbose=False, random_state=seed)
    corrected = np.asarray(run.Z_corr, np.float32)
    # cells x columns from version 2 on, the other way round before
    return corrected if corrected.shape == x.shape else np.ascontiguousarray(corrected.T)
