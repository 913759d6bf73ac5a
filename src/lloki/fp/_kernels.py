"""The compiled loop of propagation and denoising: one cell at a time, from its neighbors' sparse rows.

Offsets and indices come as unsigned integers, which spares numba the test for negative ones: half the time.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Longs = NDArray[np.int64]
Index = NDArray[np.uint32]
Words = NDArray[np.uint64]


@njit(nogil=True, cache=True)
def _add_rows(
    row: Floats, neighbors: Index, weights: Floats, indptr: Words, indices: Index, data: Floats
) -> None:
    """Add the weighted sum of sparse rows to the dense ``row``."""
    for e in range(neighbors.shape[0]):
        j, weight = neighbors[e], weights[e]
        for p in range(indptr[j], indptr[np.uint64(j) + np.uint64(1)]):
            row[indices[p]] += weight * data[p]


@njit(nogil=True, cache=True)
def _lottery(seed: np.uint64, place: np.uint64) -> np.uint64:
    """Give a place (cell and gene) its number: splitmix64, which maps distinct places to distinct numbers."""
    z = place * np.uint64(0x9E3779B97F4A7C15) + seed
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@njit(nogil=True, cache=True)
def _candidates(
    row: Floats, first: np.uint64, random: bool, seed: np.uint64, floor: np.uint64, genes: Index, keys: Words
) -> int:
    """List the positive genes whose key is at least ``floor``; a larger key is a better candidate.

    The key is the value and then the lower gene, or the number in the lottery: distinct within a row.
    """
    bits = row.view(np.uint32)  # of positive floats: in the order of their values
    g = row.shape[0]
    size = 0
    for gene in range(g):
        if random:
            key = _lottery(seed, first + np.uint64(gene))
        else:
            key = (np.uint64(bits[gene]) << np.uint64(32)) | np.uint64(g - gene)
        # Written always, counted if good: a branch here would be mispredicted for every other candidate.
        genes[size], keys[size] = gene, key
        size += (row[gene] > 0) & (key >= floor)
    return size


@njit(nogil=True, cache=True)
def _nth_largest(keys: Words, nth: int) -> np.uint64:
    """Quickselect among distinct keys, which it reorders; ``nth`` counts from 1."""
    low, high, want = 0, keys.shape[0] - 1, nth - 1
    while low < high:
        pivot = keys[(low + high) // 2]
        i, j = low, high
        while i <= j:
            while keys[i] > pivot:
                i += 1
            while keys[j] < pivot:
                j -= 1
            if i <= j:
                keys[i], keys[j] = keys[j], keys[i]
                i += 1
                j -= 1
        if want <= j:
            high = j
        elif want >= i:
            low = i
        else:
            break
    return keys[want]


@njit(nogil=True, cache=True)
def impute(
    start: int,
    stop: int,
    a_indptr: Words,
    a_indices: Index,
    a_data: Floats,
    o_indptr: Words,
    o_indices: Index,
    o_data: Floats,
    y_indptr: Words,
    y_indices: Index,
    y_data: Floats,
    g: int,
    budgets: Longs,
    random: bool,
    seed: np.uint64,
    floors: Words,
    base: Floats,
    base_known: bool,
    at_observed: Floats,
    out_indices: Index,
    out_data: Floats,
    out_count: Longs,
    changed: Doubles,
) -> int:
    """Write the imputed entries of rows ``start:stop`` of A (O + Y), cut to budget, as CSR; return how many.

    O holds the observed and Y the imputed values so far. ``floors`` keeps the key that was just good enough
    at the last step: mostly it still excludes nearly all others, and only the rest need be selected from.
    ``base`` (n, g) or empty caches A O between steps. ``at_observed``, if not empty, receives A (O + Y) at
    the entries of O. ``changed`` (rows, 2) receives the squared change of Y and squared norm of the new Y.
    """
    row = np.zeros(g, np.float32)
    genes = np.empty(g, np.uint32)
    keys, order = np.empty(g, np.uint64), np.empty(g, np.uint64)
    end = 0
    for i in range(start, stop):
        out_count[i - start] = 0
        budget = budgets[i]
        if budget == 0 and at_observed.shape[0] == 0:
            continue
        a0, a1 = a_indptr[i], a_indptr[i + 1]
        if base_known:
            row[:] = base[i]
        else:
            _add_rows(row, a_indices[a0:a1], a_data[a0:a1], o_indptr, o_indices, o_data)
            if base.shape[0] > 0:
                base[i] = row
        _add_rows(row, a_indices[a0:a1], a_data[a0:a1], y_indptr, y_indices, y_data)
        for p in range(o_indptr[i], o_indptr[i + 1]):
            if at_observed.shape[0] > 0:
                at_observed[p] = row[o_indices[p]]
            row[o_indices[p]] = 0

        place = np.uint64(i) * np.uint64(g)
        floor = floors[i]
        size = _candidates(row, place, random, seed, floor, genes, keys)
        if size < budget and floor > 0:
            floor = np.uint64(0)
            size = _candidates(row, place, random, seed, floor, genes, keys)
        if size > budget:
            order[:size] = keys[:size]
            floor = _nth_largest(order[:size], budget) if budget > 0 else np.uint64(2**64 - 1)
        floors[i] = floor
        begin = end
        for c in range(size):
            if keys[c] >= floor:
                out_indices[end], out_data[end] = genes[c], row[genes[c]]
                end += 1
        out_count[i - start] = end - begin

        row[:] = 0
        for p in range(begin, end):
            row[out_indices[p]] = out_data[p]
            changed[i - start, 1] += np.float64(out_data[p]) ** 2
        for p in range(y_indptr[i], y_indptr[i + 1]):
            changed[i - start, 0] += (np.float64(row[y_indices[p]]) - np.float64(y_data[p])) ** 2
            row[y_indices[p]] = 0
        for p in range(begin, end):
            changed[i - start, 0] += np.float64(row[out_indices[p]]) ** 2
            row[out_indices[p]] = 0
    return end
