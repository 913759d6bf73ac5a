"""Controlled propagation (Eq 2) and denoising (Eq 5) on sparse matrices."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from lloki._parallel import blocks, map_ordered, single_threaded
from lloki._progress import Advance
from lloki.fp import _kernels

# Cells per unit of work of one thread. Each cell is computed by itself: the number changes nothing but speed.
CHUNK = 1024
# A X0 is the same at every step. Keeping it halves the time of a step; it is kept if it takes no more bytes.
CACHE_BYTES = 1 << 30

Keep = Literal["largest", "random"]


def propagate(
    graph: sparse.csr_matrix,
    observed: sparse.csr_matrix,
    budgets: NDArray[np.int64],
    *,
    iterations: int = 40,
    tol: float = 2e-2,
    keep: Keep = "largest",
    seed: int = 0,
    threads: int | None = None,
    advance: Advance | None = None,
) -> tuple[sparse.csr_matrix, int, bool]:
    r"""Impute from neighbors, under a budget per cell, until nothing changes much (Eq 2).

    :math:`X \leftarrow (1 - M) \circ A X + M \circ X^0`, after which at most ``budgets[i]`` imputed entries
    of cell i stay.

    Parameters
    ----------
    graph
        (n, n) A of :func:`lloki.graph.spatial_graph`.
    observed
        (n, g) X⁰, canonical CSR float32, positive entries only. They come out unchanged.
    budgets
        (n,) imputed entries that each cell may hold; ``g`` or more sets no limit.
    iterations, tol
        Most steps, and the change of the imputed values relative to their norm below which to stop.
    keep, seed
        Which candidates stay; see :class:`lloki.fp.FPConfig`. Equal candidates: lower gene index.
    threads
        Threads; the result does not depend on it.
    advance
        Called with numbers of cells that sum to n over all steps.

    Returns
    -------
    imputed, steps, converged
        The matrix (canonical CSR float32), the steps taken, and whether the last changed less than ``tol``.

    Notes
    -----
    A step takes about n·2k·(imputed entries per cell) multiplications. Memory is a few times the result's,
    plus up to ``CACHE_BYTES``. Cells without budget cost nothing.
    """
    step = _Step(graph, observed, budgets, keep=keep, seed=seed, threads=threads, cache=iterations > 2)
    imputed, converged, steps = _empty_like(observed), False, 0
    n = observed.shape[0]
    with single_threaded():  # once, not at every step
        for steps in range(1, iterations + 1):
            imputed, change, size = step(imputed)
            converged = change <= tol**2 * size
            if advance is not None:
                advance((n if converged else n * steps // iterations) - n * (steps - 1) // iterations)
            if converged:
                break
    if iterations == 0 and advance is not None:
        advance(n)
    return (observed + imputed).tocsr(), steps, converged


def denoise(
    graph: sparse.csr_matrix,
    observed: sparse.csr_matrix,
    budgets: NDArray[np.int64] | None,
    *,
    alpha: float,
    preserve_observed: bool = True,
    keep: Keep = "largest",
    seed: int = 0,
    threads: int | None = None,
) -> sparse.csr_matrix:
    r"""Blend each cell with its neighbors in the graph of the imputed matrix (Eq 5).

    :math:`\alpha A' X^0 + (1 - \alpha) X^0`, with observed values as they were if ``preserve_observed``.

    Parameters
    ----------
    graph
        (n, n) A', built from the imputed matrix.
    observed
        (n, g) X⁰, canonical CSR float32, positive entries only.
    budgets
        (n,) entries beyond the observed ones that each cell may hold, or ``None`` for no limit; memory then
        nears 8·n·g bytes.
    alpha
        Share of the neighbors, in [0, 1]. At 0 the result is ``observed``.
    preserve_observed, keep, seed, threads
        As in :class:`lloki.fp.FPConfig` and :func:`propagate`.

    Returns
    -------
    denoised
        (n, g) canonical CSR float32.
    """
    kept = observed.copy()
    if alpha == 0:
        return kept
    if budgets is None:
        budgets = np.full(observed.shape[0], observed.shape[1], np.int64)
    smooth = None if preserve_observed else np.zeros(observed.nnz, np.float32)
    step = _Step(graph, observed, budgets, keep=keep, seed=seed, threads=threads, at_observed=smooth)
    imputed, _, _ = step(_empty_like(observed))
    imputed.data *= np.float32(alpha)
    if smooth is not None:
        kept.data = np.float32(alpha) * smooth + np.float32(1 - alpha) * kept.data
    return (kept + imputed).tocsr()


class _Step:
    """One application of the graph, cut to budget; keeps between steps what they share."""

    def __init__(
        self,
        graph: sparse.csr_matrix,
        observed: sparse.csr_matrix,
        budgets: NDArray[np.int64],
        *,
        keep: Keep,
        seed: int,
        threads: int | None,
        cache: bool = False,
        at_observed: NDArray[np.float32] | None = None,
    ) -> None:
        n, self.g = observed.shape
        self.graph, self.observed = _unsigned(graph), _unsigned(observed)
        self.budgets, self.threads, self.random = np.asarray(budgets, np.int64), threads, keep == "random"
        self.space = np.minimum(self.budgets, self.g - np.diff(observed.indptr))
        # Mixed, because seeds 0 and 1 would otherwise give nearly the same lottery, shifted.
        self.seed = np.random.SeedSequence(seed).generate_state(1, np.uint64)[0]
        self.floors = np.zeros(n, np.uint64)
        cache = cache and 4 * n * self.g <= CACHE_BYTES
        self.base = np.empty((n, self.g) if cache else (0, 0), np.float32)
        self.base_known = False
        self.at_observed = np.empty(0, np.float32) if at_observed is None else at_observed

    def __call__(self, imputed: sparse.csr_matrix) -> tuple[sparse.csr_matrix, float, float]:
        """Next imputed entries (n, g), the squared change from the last, and the squared norm of the new."""
        y = _unsigned(imputed)

        def work(rows: slice) -> tuple[NDArray, NDArray, NDArray, NDArray]:
            space = int(self.space[rows].sum())
            indices, data = np.empty(space, np.uint32), np.empty(space, np.float32)
            count, changed = np.empty(rows.stop - rows.start, np.int64), np.zeros((rows.stop - rows.start, 2))
            arguments: list[Any] = [rows.start, rows.stop, *self.graph, *self.observed, *y]
            arguments += [self.g, self.budgets, self.random, self.seed, self.floors]
            arguments += [self.base, self.base_known, self.at_observed, indices, data, count, changed]
            end = _kernels.impute(*arguments)
            return indices[:end], data[:end], count, changed

        done = list(map_ordered(work, blocks(len(self.budgets), CHUNK), threads=self.threads))
        self.base_known = self.base.size > 0
        if not done:
            return imputed, 0.0, 0.0
        indices, data, count, changed = (np.concatenate(part) for part in zip(*done))
        indptr = np.concatenate([[0], np.cumsum(count)])
        change, size = changed.sum(axis=0)
        following = sparse.csr_matrix((data, indices.view(np.int32), indptr), imputed.shape)
        return following, float(change), float(size)


def _unsigned(x: sparse.csr_matrix) -> tuple[NDArray[np.uint64], NDArray[np.uint32], NDArray[np.float32]]:
    """Offsets, indices and values of a CSR matrix as the kernel takes them."""
    return (
        x.indptr.astype(np.uint64),
        x.indices.astype(np.uint32, copy=False),
        x.data.astype(np.float32, copy=False),
    )


def _empty_like(x: sparse.csr_matrix) -> sparse.csr_matrix:
    return sparse.csr_matrix(x.shape, dtype=np.float32)
