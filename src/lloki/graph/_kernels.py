"""Compiled loops of the neighbor search. A key is ``similarity << 32 | (LAST - index)``, or 0 for none.

Offsets and indices of rows come as unsigned integers, which spares numba the test for negative ones.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Ints = NDArray[np.int32]
Index = NDArray[np.uint32]
Words = NDArray[np.uint64]
Keys = NDArray[np.int64]

LAST = (1 << 32) - 1
# Similarities looked at together: one vectorized comparison skips most of them.
STRIP = 64


@njit(nogil=True, cache=True)
def fill(indptr: Words, indices: Index, data: Floats, out: Floats) -> None:
    """Scatter the CSR rows that ``indptr`` bounds into the zeroed dense ``out``."""
    for i in range(out.shape[0]):
        for p in range(indptr[i], indptr[i + 1]):
            out[i, indices[p]] = data[p]


@njit(nogil=True, cache=True)
def _offer(heap: Keys, similarity: np.float32, index: int) -> None:
    """Put a neighbor into a row's min-heap if it beats the worst one kept."""
    key = (np.int64(similarity) << 32) | (LAST - index)
    if key <= heap[0]:
        return
    i, size = 0, heap.shape[0]
    while True:
        child = 2 * i + 1
        if child >= size:
            break
        if child + 1 < size and heap[child + 1] < heap[child]:
            child += 1
        if heap[child] >= key:
            break
        heap[i] = heap[child]
        i = child
    heap[i] = key


@njit(nogil=True, cache=True)
def _worst(heap: Keys) -> np.float32:
    """Similarity that a candidate must reach; at least 1, since zero is no neighbor."""
    return np.float32(max(heap[0] >> 32, 1))


@njit(nogil=True, cache=True)
def offer_within(s: Floats, keys: Keys, start: int) -> None:
    """Offer a diagonal block (b, b) to its rows; a row is not offered itself."""
    b = s.shape[0]
    for i in range(b):
        worst = _worst(keys[start + i])
        for j in range(b):
            if s[i, j] >= worst and i != j:
                _offer(keys[start + i], s[i, j], start + j)
                worst = _worst(keys[start + i])


@njit(nogil=True, cache=True)
def offer_between(s: Floats, keys: Keys, start_i: int, start_j: int) -> None:
    """Offer a block (a, b) of similarities to the rows of both sides."""
    a, b = s.shape
    worst_j = np.empty(b, np.float32)
    for j in range(b):
        worst_j[j] = _worst(keys[start_j + j])
    for i in range(a):
        row = s[i]
        heap_i = keys[start_i + i]
        worst_i = _worst(heap_i)
        for j0 in range(0, b, STRIP):
            j1 = min(j0 + STRIP, b)
            hits = 0
            for j in range(j0, j1):
                hits += (row[j] >= worst_i) | (row[j] >= worst_j[j])
            if hits == 0:
                continue
            for j in range(j0, j1):
                if row[j] >= worst_i:
                    _offer(heap_i, row[j], start_j + j)
                    worst_i = _worst(heap_i)
                if row[j] >= worst_j[j]:
                    _offer(keys[start_j + j], row[j], start_i + i)
                    worst_j[j] = _worst(keys[start_j + j])


@njit(nogil=True, cache=True)
def _insert(cosine: Keys, other: Keys, m: int, value: np.int64, j: np.int64) -> None:
    """Put a candidate into its place among the ``m`` ranked ones: a few dozen."""
    at = m
    while at > 0 and (cosine[at - 1] < value or (cosine[at - 1] == value and other[at - 1] > j)):
        cosine[at], other[at] = cosine[at - 1], other[at - 1]
        at -= 1
    cosine[at], other[at] = value, j


@njit(nogil=True, cache=True)
def rank(
    indptr: Words, indices: Index, data: Doubles, g: int, keys: Keys, out: Ints, start: int, stop: int
) -> None:
    """Order each row's candidates by exact cosine, then index, and write the first ``out.shape[1]``.

    Cosines are rounded to 2^-40 first, so that cells whose cosines are equal by arithmetic but not in the
    last bit of a float (counts 1,1,0 and 3,3,0) are ordered by index.
    """
    c, k = keys.shape[1], out.shape[1]
    row = np.zeros(g, np.float64)
    cosine = np.empty(c, np.int64)
    other = np.empty(c, np.int64)
    for i in range(start, stop):
        for p in range(indptr[i], indptr[i + 1]):
            row[indices[p]] = data[p]
        m = 0
        for q in range(c):
            if keys[i, q] == 0:
                continue
            j = LAST - (keys[i, q] & LAST)  # signed, like the indices written
            total = 0.0
            for p in range(indptr[j], indptr[j + 1]):
                total += data[p] * row[indices[p]]
            value = np.int64(np.rint(total * 2.0**40))
            if value <= 0:
                continue
            _insert(cosine, other, m, value, j)
            m += 1
        for q in range(k):
            out[i, q] = other[q] if q < m else -1
        for p in range(indptr[i], indptr[i + 1]):
            row[indices[p]] = 0.0


@njit(nogil=True, cache=True)
def rank_dense(
    x: Floats, top: Doubles, length: Doubles, keys: Keys, out: Ints, start: int, stop: int
) -> None:
    """Do the same for rows of a dense array, given the largest value of each and its length over that."""
    c, k, g = keys.shape[1], out.shape[1], x.shape[1]
    row = np.zeros(g, np.float64)
    cosine = np.empty(c, np.int64)
    other = np.empty(c, np.int64)
    for i in range(start, stop):
        for p in range(g):
            row[p] = x[i, p] / top[i] / length[i]
        m = 0
        for q in range(c):
            if keys[i, q] == 0:
                continue
            j = LAST - (keys[i, q] & LAST)
            total = 0.0
            for p in range(g):
                total += x[j, p] / top[j] * row[p]
            value = np.int64(np.rint(total / length[j] * 2.0**40))
            if value <= 0:
                continue
            _insert(cosine, other, m, value, j)
            m += 1
        for q in range(k):
            out[i, q] = other[q] if q < m else -1
