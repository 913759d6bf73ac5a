"""Labels carried from slice to slice by nearest neighbors."""

from __future__ import annotations

from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from lloki.graph import nearest

_NEAREST = 1e-6  # least distance, so that an identical cell does not outweigh everything for ever


def transfer_accuracy(
    embedding: NDArray[np.floating], labels: NDArray, slices: NDArray, *, n_neighbors: int = 15
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
    n_neighbors
        Neighbors (cosine), each with the weight 1 / distance, as in shared practice of kNN label transfer.

    Returns
    -------
    accuracy, macro_f1
        Means over ordered pairs of slices that share two types or more and of which both have more than
        ``n_neighbors`` labeled cells; NaN without any. The F1 of a pair is the mean over its common types.

    Notes
    -----
    Time grows with n²·d over all pairs, memory with the largest slice.
    """
    x = np.asarray(embedding, np.float32)
    _, codes = np.unique(labels, return_inverse=True)
    known = [np.flatnonzero((slices == name) & (labels != "")) for name in np.unique(slices)]
    known = [rows for rows in known if len(rows) > n_neighbors]
    scores = []
    for source, target in permutations(known, 2):
        types = np.intersect1d(codes[source], codes[target])
        if len(types) < 2:  # with one, every answer is right
            continue
        given, asked = (rows[np.isin(codes[rows], types)] for rows in (source, target))
        votes = np.searchsorted(types, codes[given])
        found = nearest_label(x[asked], x[given], votes, n_neighbors=n_neighbors)
        scores.append(_scores(found, np.searchsorted(types, codes[asked]), len(types)))
    if not scores:
        return float("nan"), float("nan")
    accuracy, f1 = np.mean(scores, axis=0)
    return float(accuracy), float(f1)


def nearest_label(
    queries: NDArray[np.float32],
    targets: NDArray[np.float32],
    labels: NDArray[np.integer],
    *,
    n_neighbors: int,
    threads: int | None = None,
) -> NDArray[np.int64]:
    """Label of each query by a vote of its k nearest targets, weighted by 1 / cosine distance.

    Parameters
    ----------
    queries, targets
        (n, d) and (m, d); the rows' lengths do not matter.
    labels
        (m,) codes from 0.
    n_neighbors
        Neighbors; at most m are taken.
    threads
        Threads; the result does not depend on it.

    Returns
    -------
    (n,) codes; of equal votes the lower one.
    """
    near, kinds = nearest(queries, targets, n_neighbors, threads=threads), int(labels.max()) + 1
    weights = 1 / np.maximum(near.distance, _NEAREST)
    cell = np.repeat(np.arange(len(weights)), weights.shape[1])
    place = cell * kinds + labels[near.index].ravel()
    votes = np.bincount(place, weights.ravel(), minlength=len(weights) * kinds)
    return votes.reshape(len(weights), kinds).argmax(axis=1)


def _scores(found: NDArray[np.int64], truth: NDArray[np.int64], types: int) -> tuple[float, float]:
    """Accuracy, and the mean over types of 2 hits / (predicted + true)."""
    hits = np.bincount(truth[found == truth], minlength=types)
    total = np.bincount(found, minlength=types) + np.bincount(truth, minlength=types)
    return float(np.mean(found == truth)), float(np.mean(2 * hits / total))
