"""LLOKI-FP on one slice, from counts to the matrix that an embedder reads."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from lloki._progress import Advance
from lloki.errors import InputError
from lloki.fp._propagate import denoise, propagate
from lloki.fp.config import FPConfig, K
from lloki.fp.expression import log_normalize
from lloki.fp.sparsity import cell_sparsity, imputation_budgets, sparsity_targets, wasserstein
from lloki.graph import cosine_neighbors, spatial_bandwidth, spatial_graph

# Times n: what the calls of ``advance`` sum to (two graphs and the propagation).
PASSES = 3


@dataclass(frozen=True)
class FPResult:
    """Result of LLOKI-FP for a slice of n cells and g genes.

    Attributes
    ----------
    expression
        (n, g) CSR float32: log(1 + counts scaled to the slice's median total), imputed and denoised. Observed
        entries hold exactly their own log-normalized value where ``preserve_observed``.
    targets
        (n,) sparsity that each cell should have.
    budgets
        (n,) int64: values that each cell was allowed to gain; g without ``transport``.
    sparsity_before, sparsity_after
        (n,) fraction of zero genes in the counts and in ``expression``.
    w1_reference
        1-Wasserstein distance of ``sparsity_before`` from the reference's sparsity.
    w1_before, w1_after
        1-Wasserstein distance of ``sparsity_before`` and ``sparsity_after`` from ``targets``.
    iterations, converged
        Steps of propagation, and whether they ended by ``tol``.
    flagged
        (n,) bool: cells without counts. They have no neighbors and stay empty.
    """

    expression: sparse.csr_matrix
    targets: NDArray[np.float64]
    budgets: NDArray[np.int64]
    sparsity_before: NDArray[np.float64]
    sparsity_after: NDArray[np.float64]
    w1_reference: float
    w1_before: float
    w1_after: float
    iterations: int
    converged: bool
    flagged: NDArray[np.bool_]


def align_features(
    counts: sparse.spmatrix | sparse.sparray,
    coords: NDArray[np.floating],
    reference_sparsity: ArrayLike,
    *,
    config: FPConfig | None = None,
    threads: int | None = None,
    advance: Advance | None = None,
) -> FPResult:
    """Give a slice the sparsity of single-cell data and denoise it (LLOKI-FP, Eq 1-5).

    Log-normalize; connect cells of like expression, weighted by nearness in space; map each cell's sparsity
    to the reference's; impute from neighbors within the budget that this leaves; connect cells anew by the
    imputed matrix; blend each cell with its new neighbors, within the same budget.

    Parameters
    ----------
    counts
        (n, g) raw counts.
    coords
        (n, 2) or (n, 3) centroids, in any one unit of length.
    reference_sparsity
        (m,) sparsity of single cells, from :func:`lloki.fp.reference_sparsity`.
    config
        Parameters; default the preset ``default``.
    threads
        Threads; the result does not depend on it, bit for bit.
    advance
        Called with numbers of cells, which sum to ``PASSES * n``.

    Returns
    -------
    FPResult

    Raises
    ------
    InputError
        If the shapes do not fit, counts are negative or not finite, coordinates are not finite, or the
        reference is empty.

    Notes
    -----
    Time is that of the two neighbor searches, n²·g up to ``config.approximate_above`` cells, plus about
    n·k·(entries per cell) a step of propagation. Memory grows with n alone: two graphs of at most (2k + 1)·n
    edges, one at a time, and a few copies of the result.
    """
    config = (config or FPConfig.preset("default")).for_embedder(joint=False)
    coords = np.asarray(coords, np.float64)
    n, g = counts.shape
    if coords.ndim != 2 or len(coords) != n or coords.shape[1] not in (2, 3):
        raise InputError(f"coordinates of shape {coords.shape} for {n} cells", hint="Pass (n, 2) or (n, 3).")
    if not np.isfinite(coords).all():
        raise InputError("coordinates hold NaN or infinity", hint="Remove these cells first.")
    observed = log_normalize(counts)
    nonzero = np.diff(observed.indptr)
    before = cell_sparsity(observed)
    targets = sparsity_targets(before, reference_sparsity)
    budgets = imputation_budgets(targets, nonzero, g) if config.transport else np.full(n, g, np.int64)
    expression, steps, converged = observed, 0, True
    if config.alpha:
        expression, steps, converged = _from_neighbors(observed, coords, budgets, config, threads, advance)
    elif advance is not None:
        advance(PASSES * n)
    after = cell_sparsity(expression)
    return FPResult(
        expression=expression,
        targets=targets,
        budgets=budgets,
        sparsity_before=before,
        sparsity_after=after,
        w1_reference=wasserstein(before, reference_sparsity),
        w1_before=wasserstein(before, targets),
        w1_after=wasserstein(after, targets),
        iterations=steps,
        converged=converged,
        flagged=nonzero == 0,
    )


def average_neighbors(
    expression: sparse.csr_matrix,
    coords: NDArray[np.floating],
    *,
    config: FPConfig | None = None,
    threads: int | None = None,
) -> sparse.csr_matrix:
    """Average each cell of a slice with neighbors of like expression: Eq 5 alone.

    It is what `align_features` does for an embedder that learns from the slices.

    Parameters
    ----------
    expression
        (n, g) log-normalized, from :func:`lloki.fp.log_normalize`.
    coords
        (n, 2) or (n, 3) centroids.
    config
        Parameters; default those that `FPConfig.for_embedder` gives an embedder that learns from the slices.
        Budgets are left out.
    threads
        Threads; the result does not depend on it.

    Returns
    -------
    (n, g) CSR float32; ``expression`` itself at an ``alpha`` of 0.

    Notes
    -----
    Time is that of one neighbor search, n²·g up to 100,000 cells and less beyond; memory nears 8·n·g bytes.
    """
    config = replace(config or FPConfig(), impute=False).for_embedder(joint=True)
    if not config.alpha:
        return expression
    n, g = expression.shape
    unlimited, coords = np.full(n, g, np.int64), np.asarray(coords, np.float64)
    return _from_neighbors(expression, coords, unlimited, config, threads, None)[0]


def _from_neighbors(
    observed: sparse.csr_matrix,
    coords: NDArray[np.floating],
    budgets: NDArray[np.int64],
    config: FPConfig,
    threads: int | None,
    advance: Advance | None,
) -> tuple[sparse.csr_matrix, int, bool]:
    """Impute, then denoise over the graph of what that gave; also the steps and whether they converged.

    Without steps of imputation, the graph is that of the observed values.
    """
    sigma = (
        spatial_bandwidth(coords, pairs=config.sigma_pairs, seed=config.seed) if config.spatial else np.inf
    )

    def graph_of(x: sparse.csr_matrix) -> sparse.csr_matrix:
        near = cosine_neighbors(
            x,
            config.n_neighbors or K,
            threads=threads,
            approximate_above=config.approximate_above,
            seed=config.seed,
            advance=advance,
        )
        return spatial_graph(near, coords, sigma)

    imputed, steps, converged = observed, 0, True
    if config.iterations:
        imputed, steps, converged = propagate(
            graph_of(observed),
            observed,
            budgets,
            iterations=config.iterations,
            tol=config.tol,
            keep=config.keep,
            seed=config.seed,
            threads=threads,
            advance=advance,
        )
    elif advance is not None:  # one graph of two, and no steps
        advance((PASSES - 1) * observed.shape[0])
    expression = denoise(
        graph_of(imputed),
        observed,
        budgets if config.respect_budget else None,
        alpha=config.alpha or 0.0,
        preserve_observed=config.preserve_observed,
        keep=config.keep,
        seed=config.seed,
        threads=threads,
    )
    return expression, steps, converged
