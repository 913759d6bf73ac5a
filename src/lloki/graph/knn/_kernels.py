"""Compiled loops of the neighbor search.

A key is ``(similarity + OFFSET) << 32 | (LAST - index)``, or 0 for none. Offsets and indices of rows come as
unsigned integers, which spares numba the test for negative ones.
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
OFFSET = 1 << 25  # similarities lie within 2^24: a key is never 0
# Similarities looked at together: one vectorized comparison skips most of them.
STRIP = 64


@njit(nogil=True, cache=True)
def fill(rows: Words, indptr: Words, indices: Index, data: Floats, out: Floats) -> None:
    """Scatter some CSR rows into the zeroed dense ``out``."""
    for i in range(out.shape[0]):
        for p in range(indptr[rows[i]], indptr[rows[i] + np.uint64(1)]):
            out[i, indices[p]] = data[p]


@njit(nogil=True, cache=True)
def _offer(heap: Keys, similarity: np.float32, index: int) -> None:
    """Put a neighbor into a row's min-heap if it beats the worst one kept."""
    key = ((np.int64(similarity) + OFFSET) << 32) | (LAST - index)
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
def _worst(heap: Keys, least: int) -> np.float32:
    """Similarity that a candidate must reach; ``least`` while the heap is not full."""
    return np.float32(max((heap[0] >> 32) - OFFSET, least))


@njit(nogil=True, cache=True)
def offer_within(s: Floats, keys: Keys, start: int) -> None:
    """Offer a diagonal block (b, b) to its rows; a row is not offered itself, and zero is no neighbor."""
    b = s.shape[0]
    for i in range(b):
        worst = _worst(keys[start + i], 1)
        for j in range(b):
            if s[i, j] >= worst and i != j:
                _offer(keys[start + i], s[i, j], start + j)
                worst = _worst(keys[start + i], 1)


@njit(nogil=True, cache=True)
def offer_between(s: Floats, keys_i: Keys, keys_j: Keys, start_i: int, start_j: int, least: int) -> None:
    """Offer a block (a, b) of similarities of at least ``least``, rounded down, to the rows of both sides."""
    a, b = s.shape
    worst_j = np.empty(b, np.float32)
    for j in range(b):
        worst_j[j] = _worst(keys_j[start_j + j], least)
    for i in range(a):
        row, heap_i = s[i], keys_i[start_i + i]
        worst_i = _worst(heap_i, least)
        for j0 in range(0, b, STRIP):
            j1 = min(j0 + STRIP, b)
            hits = 0
            for j in range(j0, j1):
                hits += (row[j] >= worst_i) | (row[j] >= worst_j[j])
            if hits == 0:
                continue
            for j in range(j0, j1):
                if row[j] >= worst_i:
                    _offer(heap_i, np.floor(row[j]), start_j + j)
                    worst_i = _worst(heap_i, least)
                if row[j] >= worst_j[j]:
                    _offer(keys_j[start_j + j], np.floor(row[j]), start_i + i)
                    worst_j[j] = _worst(keys_j[start_j + j], least)


@njit(nogil=True, cache=True)
def offer_across(s: Floats, keys: Keys, exclude: Keys, start_i: int, start_j: int) -> None:
    """Offer a block (a, b) to its rows, whatever the sign; row i is not offered the column ``exclude[i]``."""
    a, b = s.shape
    for i in range(a):
        row, heap, skip = s[i], keys[start_i + i], exclude[start_i + i] - start_j
        worst = _worst(heap, -OFFSET)
        for j0 in range(0, b, STRIP):
            j1 = min(j0 + STRIP, b)
            hits = 0
            for j in range(j0, j1):
                hits += row[j] >= worst
            if hits == 0:
                continue
            for j in range(j0, j1):
                if row[j] >= worst and j != skip:
                    _offer(heap, row[j], start_j + j)
                    worst = _worst(heap, -OFFSET)


@njit(nogil=True, cache=True)
def offer_listed(s: Floats, keys: Keys, rows: Keys, others: Keys, least: int) -> None:
    """Offer a block (a, b) of listed rows and others to these rows; a row is not offered itself."""
    a, b = s.shape
    for i in range(a):
        row, heap, own = s[i], keys[rows[i]], rows[i]
        worst = _worst(heap, least)
        for j0 in range(0, b, STRIP):
            j1 = min(j0 + STRIP, b)
            hits = 0
            for j in range(j0, j1):
                hits += row[j] >= worst
            if hits == 0:
                continue
            for j in range(j0, j1):
                if row[j] >= worst and others[j] != own:
                    _offer(heap, row[j], others[j])
                    worst = _worst(heap, least)


@njit(nogil=True, cache=True)
def _insert(cosine: Keys, other: Keys, m: int, value: np.int64, j: np.int64) -> None:
    """Put a candidate into its place among the ``m`` ranked ones: a few dozen."""
    at = m
    while at > 0 and (cosine[at - 1] < value or (cosine[at - 1] == value and other[at - 1] > j)):
        cosine[at], other[at] = cosine[at - 1], other[at - 1]
        at -= 1
    cosine[at], other[at] = value, j


@njit(nogil=True, cache=True)
def _write(cosine: Keys, other: Keys, m: int, index: Ints, value: Keys, i: int) -> None:
    """Write the first of ``m`` ranked candidates into row i; cosines where they are wanted."""
    for q in range(index.shape[1]):
        index[i, q] = other[q] if q < m else -1
        if value.shape[0] > 0:
            value[i, q] = cosine[q] if q < m else 0


@njit(nogil=True, cache=True)
def rank(
    indptr: Words,
    indices: Index,
    data: Doubles,
    g: int,
    indptr_j: Words,
    indices_j: Index,
    data_j: Doubles,
    keys: Keys,
    out: Ints,
    values: Keys,
    least: int,
    start: int,
    stop: int,
) -> None:
    """Order each row's candidates by exact cosine, then index, and write the first ``out.shape[1]``.

    Cosines are rounded to 2^-40 first, so that cells whose cosines are equal by arithmetic but not in the
    last bit of a float (counts 1,1,0 and 3,3,0) are ordered by index. Those below ``least`` are left out.
    """
    c = keys.shape[1]
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
            for p in range(indptr_j[j], indptr_j[j + 1]):
                total += data_j[p] * row[indices_j[p]]
            value = np.int64(np.rint(total * 2.0**40))
            if value < least:
                continue
            _insert(cosine, other, m, value, j)
            m += 1
        _write(cosine, other, m, out, values, i)
        for p in range(indptr[i], indptr[i + 1]):
            row[indices[p]] = 0.0


@njit(nogil=True, cache=True)
def rank_dense(
    x: Floats,
    top: Doubles,
    length: Doubles,
    x_j: Floats,
    top_j: Doubles,
    length_j: Doubles,
    keys: Keys,
    out: Ints,
    values: Keys,
    least: int,
    start: int,
    stop: int,
) -> None:
    """Do the same for rows of dense arrays, given the largest value of each and its length over that."""
    c, g = keys.shape[1], x.shape[1]
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
                total += x_j[j, p] / top_j[j] * row[p]
            value = np.int64(np.rint(total / length_j[j] * 2.0**40))
            if value < least:
                continue
            _insert(cosine, other, m, value, j)
            m += 1
        _write(cosine, other, m, out, values, i)
