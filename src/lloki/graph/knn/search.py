"""The search, exact and in memory linear in the number of cells: within one set of cells and among others."""

from __future__ import annotations

from threading import Lock
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from lloki._parallel import blocks, map_ordered
from lloki._progress import Advance
from lloki.errors import ConfigError
from lloki.graph.knn import _index, _kernels
from lloki.graph.knn._rows import ANY, POSITIVE, DenseRows, Found, SparseRows, rows_of
from lloki.graph.knn.result import Near

Longs = NDArray[np.int64]
Rows: TypeAlias = sparse.spmatrix | sparse.sparray | NDArray[np.floating]

# Rows of a square block of similarities: 4 MB of float32, which stays in cache between product and scan.
BLOCK = 1024
# Rows up to which every pair is compared: about 20 minutes on one core for half a million of 300 genes.
EXACT = 500_000
# Targets that are rounded once for all queries, in place of once for each block of them.
ROUNDED = 100_000
# Candidates kept beyond k by the first, coarser pass, so that rounding does not push out true neighbors.
SPARE = 40


def cosine_neighbors(
    x: Rows,
    k: int,
    *,
    threads: int | None = None,
    approximate_above: int = EXACT,
    seed: int = 0,
    advance: Advance | None = None,
    block: int = BLOCK,
) -> NDArray[np.int32]:
    r"""Find each cell's ``k`` most similar cells by cosine of expression.

    Up to ``approximate_above`` cells every pair is compared. Rows are scaled to length one and rounded to
    whole multiples of :math:`1/S`, with :math:`S \approx 4096` chosen so that every partial sum of a product
    of two rows stays under :math:`2^{24}`: float32 matrix products are then exact integers, whatever the BLAS
    library, block size, number of threads or order of summation. Each block of pairs is computed once and
    serves both its rows and its columns. The ``k + 40`` best of this pass are ranked again by the cosine of
    the unrounded rows in float64. The first pass errs by about 1e-4, far less than the cosines of neighbors
    k and k + 40 differ: on the real slices compared, the result was that of a float64 search.

    Parameters
    ----------
    x
        (n, g) expression, non-negative for the usual meaning of the result; any scale, the rows' lengths do
        not matter.
    k
        Neighbors per cell, at least 1. The cell itself does not count.
    threads
        Threads to use; default all cores. The result does not depend on it.
    approximate_above
        Above this many cells, each is compared with about 20,000 others, whose direction is like its own, in
        place of all (`lloki.graph.knn._index`).
    seed
        Seeds the index; the exact search draws nothing.
    advance
        Called with numbers of cells done, which sum to n.
    block
        Rows of a block of pairs. Changes time and memory only, never the result.

    Returns
    -------
    indices
        (n, k) int32, most similar first; equal similarity is ordered by lower index. ``-1`` fills the row of
        a cell with fewer than ``k`` neighbors: a neighbor shares at least one expressed gene, so a cell
        without counts has none and is nobody's neighbor.

    Raises
    ------
    ConfigError
        If ``k`` or ``block`` is below 1.
    InputError
        If ``x`` is not two-dimensional or holds NaN or infinity.

    Notes
    -----
    Time grows with n²·g up to ``approximate_above`` (about 20 CPU-seconds at 50,000 × 500), then with
    n·(20,000 + n / 500)·g. Memory beside the input: 8·n·(k + 40) bytes, per thread 4·block·(block + 2g),
    and for a sparse matrix a copy in float64.
    """
    if k < 1 or block < 1:
        raise ConfigError(f"k and block must be at least 1, got k={k}, block={block}")
    rows = rows_of(x)
    if rows.n <= approximate_above:
        keys = _candidates_exact(
            rows, min(k + SPARE, max(rows.n - 1, 1)), threads=threads, advance=advance, block=block
        )
    else:
        keys = _index.candidates(rows, k + SPARE, seed=seed, threads=threads, advance=advance)
    found = Found(np.empty((rows.n, k), np.int32), np.empty((0, k), np.int64), POSITIVE)
    _rank(rows, rows, keys, found, threads)
    return found.index


def nearest(
    queries: Rows,
    targets: Rows,
    k: int,
    *,
    exclude: NDArray[np.integer] | None = None,
    spare: int = SPARE,
    threads: int | None = None,
    advance: Advance | None = None,
    block: int = BLOCK,
) -> Near:
    """Find each query's ``k`` most similar targets by cosine, exactly, as `cosine_neighbors` does.

    Parameters
    ----------
    queries, targets
        (n, d) and (m, d), both dense or both sparse, finite; the rows' lengths do not matter. Unlike there,
        a cosine of 0 or less makes a neighbor too: of an embedding the sign means nothing.
    k
        Neighbors, at least 1; all m where there are fewer.
    exclude
        (n,) the target that must not be a query's neighbor: its own row, where queries are targets too.
    spare
        Candidates that the first pass keeps beyond k. With few of them, a neighbor may give way to a target
        whose cosine is smaller by 1e-4, in 0.6 of the time among 5,000 targets of 60 to 128 columns.
    threads, advance, block
        As of `cosine_neighbors`; ``advance`` sums to n.

    Raises
    ------
    ConfigError
        If ``k`` is below 1, or there is no target.
    InputError
        If rows are not two-dimensional or hold NaN or infinity.

    Notes
    -----
    Time grows with n·m·d, memory with 12·n·(k + spare) bytes, 4·block·(block + 2d) a thread, and 4·d bytes
    for each of up to 100,000 targets.
    """
    left, right = (
        rows_of(x if sparse.issparse(x) else np.asarray(x, np.float32)) for x in (queries, targets)
    )
    k = min(k, right.n - (exclude is not None))
    if k < 1:
        raise ConfigError(f"neighbors need k of at least 1 and a cell to find, got {right.n} cells")
    skip = np.full(left.n, -1, np.int64) if exclude is None else np.asarray(exclude, np.int64)
    keys = np.zeros((left.n, min(k + spare, right.n - (exclude is not None))), np.int64)

    cuts = blocks(right.n, block)
    ready = [right.block(others) for others in cuts] if right.n <= ROUNDED else None

    def compare(rows: slice) -> int:
        own = left.block(rows)
        for i, others in enumerate(cuts):
            theirs = right.block(others) if ready is None else ready[i]
            _kernels.offer_across(own @ theirs.T, keys, skip, rows.start, others.start)
        return rows.stop - rows.start

    some = int(np.clip(left.n // 8, 1, block))  # a few pieces even of few queries, for threads
    for done in map_ordered(compare, blocks(left.n, max(some, min(block, 256))), threads=threads):
        if advance is not None:
            advance(done)
    found = Found(np.empty((left.n, k), np.int32), np.empty((left.n, k), np.int64), ANY)
    _rank(left, right, keys, found, threads)
    return Near(found.index.astype(np.int64), np.maximum(1 - found.cosine * 2.0**-40, 0), right.n)


def mutual_nearest(a: Rows, b: Rows, *, threads: int | None = None) -> tuple[Longs, Longs]:
    """Pairs (p,), (p,) of rows (n, d) and (m, d) that are each other's most similar, in order of i."""
    if not a.shape[0] or not b.shape[0]:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    forward, backward = (nearest(*pair, 1, threads=threads).index[:, 0] for pair in ((a, b), (b, a)))
    i = np.flatnonzero(backward[forward] == np.arange(len(forward)))
    return i, forward[i]


def _rank(left: Any, right: Any, keys: Longs, found: Found, threads: int | None) -> None:
    """Order the candidates of all rows."""
    parts = blocks(left.n, BLOCK)
    for _ in map_ordered(lambda part: left.rank(right, keys, found, part), parts, threads=threads):
        pass


def _candidates_exact(
    rows: SparseRows | DenseRows, c: int, *, threads: int | None, advance: Advance | None, block: int
) -> NDArray[np.int64]:
    """Keys (n, c) of the c most similar rows by rounded cosine, as heaps; 0 where there are fewer.

    A key holds the similarity in its upper and the complement of the index in its lower half, so that keys
    are distinct, larger is better, and the c largest are the same in whatever order blocks arrive.
    """
    keys = np.zeros((rows.n, c), np.int64)
    cuts = blocks(rows.n, block)
    locks = [Lock() for _ in cuts]

    def compare(pair: tuple[int, int]) -> int:
        i, j = pair
        left = rows.block(cuts[i])
        right = left if i == j else rows.block(cuts[j])
        similarity = left @ right.T
        with locks[i]:
            if i == j:
                _kernels.offer_within(similarity, keys, cuts[i].start)
            else:
                with locks[j]:  # i < j always: two threads cannot wait for each other
                    _kernels.offer_between(similarity, keys, keys, cuts[i].start, cuts[j].start, 1)
        return int(similarity.size) * (1 if i == j else 2)

    # Pairs far apart in this order share no block, so threads seldom wait for one another.
    pairs = [(i, i + gap) for gap in range(len(cuts)) for i in range(len(cuts) - gap)]
    compared = reported = 0
    for size in map_ordered(compare, pairs, threads=threads):
        compared += size
        if advance is not None and (now := compared // rows.n) > reported:
            advance(now - reported)
            reported = now
    return keys
