"""An index for more rows than can all be compared: lists by direction, of which each row looks through some.

Sivic & Zisserman (2003) call it an inverted file. All products are of whole numbers, as in the exact search,
so that the lists, too, depend on the rows and the seed alone: not on threads, blocks or the BLAS library.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from lloki._parallel import blocks, map_ordered
from lloki._progress import Advance
from lloki.graph.knn import _kernels
from lloki.graph.knn._rows import whole

if TYPE_CHECKING:
    from lloki.graph.knn._rows import DenseRows, SparseRows

Longs = NDArray[np.int64]
Floats = NDArray[np.float32]

LIST = 500  # rows of a list, on average
PROBES = 40  # lists that a row is compared with: 20,000 rows
LEARNED, ROUNDS = 40, 5  # rows for each list that the centers are learned from, and how often they move
BLOCK = 2048  # rows that look for their neighbors together


def candidates(
    rows: SparseRows | DenseRows, c: int, *, seed: int, threads: int | None, advance: Advance | None
) -> Longs:
    """Keys (n, c) of the most similar rows in the lists looked at, as the exact search gives them.

    Time grows with n·(`LIST` x `PROBES` + n / `LIST`)·g.
    """
    keys = np.zeros((rows.n, c), np.int64)
    full = rows.full().astype(np.int64)  # a row without counts has no direction
    if len(full) < 2:
        if advance is not None:
            advance(rows.n)
        return keys
    centers = _centers(rows, full, seed, threads)
    assigned = np.concatenate(
        list(
            map_ordered(
                lambda part: _nearest(rows, full[part], centers), blocks(len(full), BLOCK), threads=threads
            )
        )
    )
    order = np.argsort(assigned, kind="stable")
    ends = np.cumsum(np.bincount(assigned, minlength=len(centers)))
    lists = np.split(full[order], ends[:-1])

    def search(part: slice) -> int:
        own = full[order[part]]
        mine = rows.block(own)
        for near, others in zip(_probed(mine @ centers.T).T, lists):
            asking = np.flatnonzero(near)
            if len(asking) and len(others):
                similarity = mine[asking] @ rows.block(others).T
                _kernels.offer_listed(similarity, keys, own[asking], others, 1)
        return len(own)

    done = rows.n - len(full)
    for n in map_ordered(search, blocks(len(full), BLOCK), threads=threads):
        done, new = 0, n + done
        if advance is not None:
            advance(new)
    return keys


def _centers(rows: SparseRows | DenseRows, full: Longs, seed: int, threads: int | None) -> Floats:
    """Directions (lists, g) of the lists by k-means on a sample, in whole numbers."""
    n = -(-len(full) // LIST)
    drawn = np.random.default_rng(seed).permutation(full)[: n * LEARNED]
    centers = rows.block(drawn[:n])
    parts = blocks(len(drawn), BLOCK)
    for _ in range(ROUNDS):
        total: NDArray[np.float64] = np.zeros(centers.shape)

        def assign(part: slice, of: Floats = centers) -> tuple[Longs, Floats]:
            mine = rows.block(drawn[part])
            return (mine @ of.T).argmax(axis=1), mine

        for nearest, mine in map_ordered(assign, parts, threads=threads):
            own = sparse.csr_matrix(
                (np.ones(len(mine)), (nearest, np.arange(len(mine)))), shape=(n, len(mine))
            )
            total += own @ mine.astype(np.float64)  # of whole numbers: exact in any order
        length = np.sqrt(np.square(total).sum(axis=1, keepdims=True))
        moved = np.rint(total / np.maximum(length, 1) * whole(centers.shape[1])).astype(np.float32)
        centers = np.where(length > 0, moved, centers)
    return centers


def _nearest(rows: SparseRows | DenseRows, part: Longs, centers: Floats) -> Longs:
    nearest: Longs = (rows.block(part) @ centers.T).argmax(axis=1)
    return nearest


def _probed(similarity: Floats) -> NDArray[np.bool_]:
    """Say which lists (n, lists) each row is compared with: the nearest, with those that are just as near."""
    lists = similarity.shape[1]
    if lists <= PROBES:
        return np.ones(similarity.shape, bool)
    worst = np.partition(similarity, lists - PROBES, axis=1)[:, lists - PROBES]
    near: NDArray[np.bool_] = similarity >= worst[:, None]
    return near
