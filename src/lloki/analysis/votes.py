"""Votes of labeled neighbors, and how far from these a cell lies: what label transfer is made of."""

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
    k: int,
    kinds: int,
    threads: int | None,
) -> tuple[bool, NDArray[np.int64], tuple[NDArray, ...]]:
    """Label labeled cells from the other slices, or if no two share a type, from all other cells.

    Returns whether slices were left out, the rows (t,) that were labeled, and what `score` says of them.
    """
    rows, scores = [], []
    for name in np.unique(slices[voters]):
        out, rest = voters[slices[voters] == name], voters[slices[voters] != name]
        out = out[np.isin(code[out], code[rest])]  # of other types no answer could be right
        if len(out):
            rows.append(out)
            scores.append(score(nearest(x[out], x[rest], k, threads=threads), code[rest], kinds))
    if rows:
        told, share, far = (np.concatenate(part) for part in zip(*scores))
        return True, np.concatenate(rows), (told, share, far)
    near = nearest(x[voters], x[voters], k, exclude=np.arange(len(voters)), threads=threads)
    return False, voters, score(near, code[voters], kinds)


def at_home(
    x: NDArray[np.floating], slices: NDArray, usable: NDArray[np.bool_], k: int, threads: int | None
) -> Doubles:
    """(n,) mean distance to the k nearest cells of the own slice; 1 for a cell that is alone."""
    out = np.ones(len(x))
    for name in np.unique(slices[usable]):
        rows = np.flatnonzero((slices == name) & usable)
        if len(rows) > 1:
            near = nearest(x[rows], x[rows], k, exclude=np.arange(len(rows)), threads=threads)
            out[rows] = near.distance.mean(1)
    return np.maximum(out, 1e-9)


def score(near: Near, codes: Codes, kinds: int) -> tuple[Codes, Doubles, Doubles]:
    """Winning type of each query, its share of the votes, and the mean distance to the voters."""
    kind = sparse.csr_matrix((np.ones(len(codes)), (np.arange(len(codes)), codes)), shape=(len(codes), kinds))
    votes = (near.weights() @ kind).toarray()
    best = votes.argmax(1)
    share = votes[np.arange(len(votes)), best] / votes.sum(1)
    return best, np.minimum(share, 1.0), near.distance.mean(1)


def usual(far: Doubles, best: Codes, known_far: Doubles, known: Codes, kinds: int) -> Doubles:
    """Share of the known cells of the same type that lie at least as far: (1 + those) / (1 + all)."""
    everyone, out = np.sort(known_far), np.empty(len(far))
    for t in range(kinds):
        rows = best == t
        like = np.sort(known_far[known == t])
        base = like if len(like) >= _RARE else everyone
        out[rows] = (1 + len(base) - np.searchsorted(base, far[rows])) / (1 + len(base))
    return out
