"""Labels carried from slice to slice by nearest neighbors."""

from __future__ import annotations

from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from lloki._parallel import blocks, map_ordered
from lloki._vectors import unit_rows

BLOCK = (
    1024  # queries compared with a whole slice at a time; bounds memory at 4 bytes x BLOCK x cells a thread
)
_NEAREST = 1e-6  # least distance, so that an identical cell does not outweigh everything for ever


def transfer_accuracy(
    embedding: NDArray[np.floating], labels: NDArray, slices: NDArray, *, k: int = 15
) -> tuple[float, float]:
    """Accuracy and macro-F1 of labels carried from each slice to each other by k nearest neighbors.

    Parameters
    ----------
    embedding
        (n, d).
    labels
        (n,) strings, ``""`` where unknown; only types that both slices of a pair have are scored.
    slices
        (n,) slice of each cell.
    k
        Neighbors (cosine), each with the weight 1 / distance, as in shared practice of kNN label transfer.

    Returns
    -------
    accuracy, macro_f1
        Means over ordered pairs of slices of which both have more than ``k`` labeled cells; NaN without any.
        The F1 of a pair is the mean over its common types.

    Notes
    -----
    Time grows with n²·d over all pairs, memory with the largest slice.
    """
    unit = unit_rows(np.asarray(embedding, np.float32))
    _, codes = np.unique(labels, return_inverse=True)
    known = [np.flatnonzero((slices == name) & (labels != "")) for name in np.unique(slices)]
    known = [rows for rows in known if len(rows) > k]
    scores = []
    for source, target in permutations(known, 2):
        types = np.intersect1d(codes[source], codes[target])
        if not len(types):
            continue
        given, asked = (rows[np.isin(codes[rows], types)] for rows in (source, target))
        votes = np.searchsorted(types, codes[given])
        told = nearest_label(unit[asked], unit[given], votes, k=k)
        scores.append(_scores(told, np.searchsorted(types, codes[asked]), len(types)))
    if not scores:
        return float("nan"), float("nan")
    accuracy, f1 = np.mean(scores, axis=0)
    return float(accuracy), float(f1)


def nearest_label(
    queries: NDArray[np.float32],
    targets: NDArray[np.float32],
    labels: NDArray[np.integer],
    *,
    k: int,
    threads: int | None = None,
) -> NDArray[np.int64]:
    """Label of each query by a vote of its k nearest targets, weighted by 1 / cosine distance.

    Parameters
    ----------
    queries, targets
        (n, d) and (m, d) rows of length one.
    labels
        (m,) codes from 0.
    k
        Neighbors; at most m are taken.
    threads
        Threads; the result does not depend on it.

    Returns
    -------
    (n,) codes; of equal votes the lower one.
    """
    k, kinds = min(k, len(targets)), int(labels.max()) + 1
    told = np.empty(len(queries), np.int64)

    def vote(rows: slice) -> None:
        similar = queries[rows] @ targets.T
        near = np.argpartition(similar, -k, axis=1)[:, -k:]
        weights = 1 / np.maximum(1 - np.take_along_axis(similar, near, 1).astype(np.float64), _NEAREST)
        cell = np.repeat(np.arange(len(near)), k)
        votes = np.bincount(cell * kinds + labels[near].ravel(), weights.ravel(), minlength=len(near) * kinds)
        told[rows] = votes.reshape(len(near), kinds).argmax(axis=1)

    for _ in map_ordered(vote, blocks(len(queries), BLOCK), threads=threads):
        pass
    return told


def _scores(told: NDArray[np.int64], truth: NDArray[np.int64], types: int) -> tuple[float, float]:
    """Accuracy, and the mean over types of 2 hits / (predicted + true)."""
    hits = np.bincount(truth[told == truth], minlength=types)
    total = np.bincount(told, minlength=types) + np.bincount(truth, minlength=types)
    return float(np.mean(told == truth)), float(np.mean(2 * hits / total))
