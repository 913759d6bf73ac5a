"""Votes of labeled neighbors, and distances to them: the parts of label transfer."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from lloki.graph import Near, nearest

Doubles = NDArray[np.float64]
Codes = NDArray[np.int64]

_RARE = 50  # left-out cells of a type below which its distances are compared with those of all types


def distance_within_slice(
    x: NDArray[np.floating], slices: NDArray, usable: NDArray[np.bool_], n_neighbors: int, threads: int | None
) -> Doubles:
    """(n,) mean distance to the nearest cells of the same slice; 1 for a cell that is alone."""
    out = np.ones(len(x))
    for name in np.unique(slices[usable]):
        rows = np.flatnonzero((slices == name) & usable)
        if len(rows) > 1:
            near = nearest(x[rows], x[rows], n_neighbors, exclude=np.arange(len(rows)), threads=threads)
            out[rows] = near.distance.mean(1)
    return np.maximum(out, 1e-9)


def shares(near: Near, codes: Codes, n_types: int) -> Doubles:
    """(m, T) share of the votes of each query's neighbors that each type has."""
    n = len(codes)
    one_hot = sparse.csr_matrix((np.ones(n), (np.arange(n), codes)), shape=(n, n_types))
    votes = (near.weights() @ one_hot).toarray()
    return np.asarray(votes / votes.sum(1, keepdims=True))


def typicality(far: Doubles, best: Codes, known_far: Doubles, known: Codes, n_types: int) -> Doubles:
    """Share of the known cells of the same type that are at least as far: (1 + those) / (1 + all)."""
    everyone, out = np.sort(known_far), np.empty(len(far))
    for t in range(n_types):
        rows = best == t
        same_type = np.sort(known_far[known == t])
        base = same_type if len(same_type) >= _RARE else everyone
        out[rows] = (1 + len(base) - np.searchsorted(base, far[rows])) / (1 + len(base))
    return out
