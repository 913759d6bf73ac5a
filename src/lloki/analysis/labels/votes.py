"""Votes of labeled neighbors, and distances to them: the parts of label transfer."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from lloki.graph import Near, nearest

Doubles = NDArray[np.float64]
Codes = NDArray[np.int64]

_RARE = 50  # left-out cells of a type below which its distances are compared with those of all types


def left_out(
    x: NDArray[np.floating],
    slices: NDArray,
    voters: NDArray[np.int64],
    code: Codes,
    n_neighbors: int,
    n_types: int,
    threads: int | None,
) -> tuple[bool, NDArray[np.int64], tuple[NDArray, ...]]:
    """Predict labeled cells from the other slices, or from all other cells if no two slices share a type.

    Returns whether whole slices were left out, the rows (t,) that were predicted, and the `score` of each.
    """
    rows, scores = [], []
    for name in np.unique(slices[voters]):
        out, rest = voters[slices[voters] == name], voters[slices[voters] != name]
        out = out[np.isin(code[out], code[rest])]  # other types cannot be predicted correctly
        if len(out):
            rows.append(out)
            near = nearest(x[out], x[rest], n_neighbors, threads=threads)
            scores.append(score(near, code[rest], n_types))
    if rows:
        predicted, share, far = (np.concatenate(part) for part in zip(*scores))
        return True, np.concatenate(rows), (predicted, share, far)
    near = nearest(x[voters], x[voters], n_neighbors, exclude=np.arange(len(voters)), threads=threads)
    return False, voters, score(near, code[voters], n_types)


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


def score(near: Near, codes: Codes, n_types: int) -> tuple[Codes, Doubles, Doubles]:
    """Winning type of each query, its share of the votes, and the mean distance to the voters."""
    n = len(codes)
    one_hot = sparse.csr_matrix((np.ones(n), (np.arange(n), codes)), shape=(n, n_types))
    votes = (near.weights() @ one_hot).toarray()
    best = votes.argmax(1)
    share = votes[np.arange(len(votes)), best] / votes.sum(1)
    return best, np.minimum(share, 1.0), near.distance.mean(1)


def typicality(far: Doubles, best: Codes, known_far: Doubles, known: Codes, n_types: int) -> Doubles:
    """Share of the known cells of the same type that are at least as far: (1 + those) / (1 + all)."""
    everyone, out = np.sort(known_far), np.empty(len(far))
    for t in range(n_types):
        rows = best == t
        same_type = np.sort(known_far[known == t])
        base = same_type if len(same_type) >= _RARE else everyone
        out[rows] = (1 + len(base) - np.searchsorted(base, far[rows])) / (1 + len(base))
    return out
