"""How sparse each cell is, how sparse it should be, and how many values that lets it gain (Eq 3-4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse, stats

from lloki.errors import GeneError, InputError

Doubles = NDArray[np.float64]


def cell_sparsity(x: sparse.csr_matrix) -> Doubles:
    """Fraction of a cell's genes that are zero: (n, g) CSR without explicit zeros → (n,), in [0, 1]."""
    return 1.0 - np.diff(x.indptr) / max(x.shape[1], 1)


def reference_sparsity(
    counts: sparse.spmatrix | sparse.sparray,
    genes_ref: Sequence[str],
    genes_slice: Sequence[str],
    *,
    mode: Literal["panel", "all"] = "panel",
) -> Doubles:
    """Sparsity of each reference cell, over the genes that make it comparable with a slice.

    Parameters
    ----------
    counts
        (m, G) reference counts.
    genes_ref, genes_slice
        Unique names of the reference's G genes and the slice's g genes.
    mode
        ``"panel"`` (default) compares like with like: only genes that both measure count. A panel holds genes
        chosen to be expressed, so whole transcriptomes (``"all"``) are sparser and give lower budgets.

    Returns
    -------
    sparsity
        (m,) in [0, 1].

    Raises
    ------
    GeneError
        If the two share no gene in mode ``"panel"``.
    InputError
        If the reference has no cells, or names do not fit the counts.
    """
    x = sparse.csr_matrix(counts)
    if x.shape[0] == 0:
        raise InputError(
            "the reference has no cells", slot="X", hint="Pass a single-cell reference with counts."
        )
    if x.shape[1] != len(genes_ref):
        raise InputError(f"{len(genes_ref)} gene names for {x.shape[1]} columns of the reference")
    if mode == "panel":
        wanted = set(genes_slice)
        shared = np.array([gene in wanted for gene in genes_ref], dtype=bool)
        if not shared.any():
            raise GeneError(
                "the slice and the reference have no gene in common",
                hint="Check that both are of one species and use the same kind of gene names.",
            )
        x = x[:, np.flatnonzero(shared)]
    present = np.add.reduceat(np.append(x.data != 0, 0), x.indptr[:-1]) * (np.diff(x.indptr) > 0)
    return 1.0 - present / x.shape[1]


def sparsity_targets(sparsity: ArrayLike, reference: ArrayLike) -> Doubles:
    r"""Map each cell's sparsity to the same quantile of the reference (Eq 4).

    :math:`s^*_i = F_{ref}^{-1}(F(s_i))`, the optimal transport map between the two distributions on a line,
    with :math:`F(s)` the fraction of cells at or below ``s`` and :math:`F_{ref}^{-1}(p)` the lowest sparsity
    that at least a fraction ``p`` of the reference does not exceed.

    Parameters
    ----------
    sparsity
        (n,) of the slice's cells.
    reference
        (m,) of the reference's cells, m ≥ 1.

    Returns
    -------
    targets
        (n,), each a value of ``reference``. Non-decreasing in ``sparsity``; equal sparsity, equal target.

    Raises
    ------
    InputError
        If ``reference`` is empty.
    """
    s, ref = np.asarray(sparsity, np.float64), np.sort(np.asarray(reference, np.float64))
    if not ref.size:
        raise InputError("the reference has no cells", hint="Pass a single-cell reference with counts.")
    if not s.size:
        return s.copy()
    at_or_below = np.searchsorted(np.sort(s), s, side="right")
    # ceil(F m) in whole numbers: a product of floats could land on the wrong side of an integer.
    return ref[-(-at_or_below * ref.size // s.size) - 1]


def imputation_budgets(targets: ArrayLike, nonzero: ArrayLike, n_genes: int) -> NDArray[np.int64]:
    r"""How many values each cell may gain: :math:`b_i = \max(0, \lceil (1 - s^*_i) g \rceil - nnz_i)`.

    Parameters
    ----------
    targets
        (n,) sparsity targets.
    nonzero
        (n,) genes observed per cell.
    n_genes
        Genes of the slice, g.

    Returns
    -------
    budgets
        (n,) int64, in genes. 0 for a cell that is as dense as its target or denser: it is left alone.
    """
    # 1e-9: 1 - s* is a rounded difference, and an excess of the last bit must not buy a gene.
    wanted = np.ceil((1.0 - np.asarray(targets, np.float64)) * n_genes - 1e-9).astype(np.int64)
    return np.maximum(wanted - np.asarray(nonzero, np.int64), 0)


def wasserstein(a: ArrayLike, b: ArrayLike) -> float:
    """1-Wasserstein distance of two sets of sparsities; NaN if one is empty."""
    x, y = np.asarray(a, np.float64), np.asarray(b, np.float64)
    return float(stats.wasserstein_distance(x, y)) if x.size and y.size else float("nan")
