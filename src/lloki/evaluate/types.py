"""Whether known types met their like: one row a type and pair of slices."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import permutations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lloki.evaluate.held_out import SPARE
from lloki.graph import nearest

NEIGHBORS = 15
LEAST = 10  # cells of a type that both slices must have
COLUMNS = ("target", "source", "type", "cells", "chance", "before", "within", "across")


def type_agreement(
    before: NDArray[np.floating],
    joint: NDArray[np.floating],
    labels: NDArray,
    slices: NDArray,
    *,
    n_neighbors: int = NEIGHBORS,
    n_queries: int = 2_000,
    n_targets: int = 10_000,
    seed: int = 0,
    threads: int | None = None,
) -> pd.DataFrame:
    """Count, type by type, how many of a cell's nearest cells are of its own type.

    Only types that both slices of a pair name are compared, and only cells of these take part: names that one
    slice has alone say nothing about the embedding.

    Parameters
    ----------
    before, joint
        (n, d) and (n, e): before and after the slices were aligned.
    labels
        (n,) types, ``""`` where unknown.
    slices
        (n,) slice of each cell.
    n_neighbors
        Neighbors (cosine).
    n_queries, n_targets
        At most so many cells of a slice are asked about, and searched, drawn at random.
    seed
        Draws them.
    threads
        Threads; the result does not depend on it.

    Returns
    -------
    pandas.DataFrame
        A row an ordered pair of slices and type of which both have at least 10 cells: ``target``, ``source``,
        ``type``, ``cells`` asked about, ``chance`` (the type's share of the source's cells), and the share of
        neighbors of the cell's type: ``before`` and ``within``, in its own slice before and after alignment,
        and ``across``, among the source's cells. None for a pair with fewer than two such types.

    Notes
    -----
    Time grows with slices² x n_queries x n_targets x (d + e).
    """
    names = [str(name) for name in np.unique(slices) if (labels[slices == name] != "").any()]
    counts = {name: _counts(labels[slices == name]) for name in names}
    found: list[tuple[object, ...]] = []
    within: dict[tuple[str, ...], list[NDArray[np.float64]]] = {}
    for target, source in permutations(names, 2):
        types = sorted(set(counts[target]) & set(counts[source]))
        if len(types) < 2:
            continue
        asked, given = (_draw(labels, slices, name, types, n_targets, seed) for name in (target, source))
        queries = np.sort(np.random.default_rng(seed).permutation(len(asked))[:n_queries])
        mine, theirs = labels[asked], labels[given]
        if (target, *types) not in within:  # the same for every source of these types
            within[target, *types] = [
                _share(x[asked], x[asked], mine, queries, n_neighbors, threads, own=True)
                for x in (before, joint)
            ]
        own = within[target, *types]
        across = _share(joint[asked], joint[given], mine, queries, n_neighbors, threads, theirs=theirs)
        for kind in types:
            rows = mine[queries] == kind
            if rows.any():
                values = [float(x[rows].mean()) for x in (*own, across)]
                found.append((target, source, kind, int(rows.sum()), float((theirs == kind).mean()), *values))
    return pd.DataFrame(found, columns=list(COLUMNS))


def shared_names(labels: NDArray, slices: NDArray) -> pd.DataFrame:
    """Count how many names of types each two labeled slices share.

    Returns
    -------
    pandas.DataFrame
        Columns ``one``, ``other``, ``types`` (of the one with fewer), ``shared``, and ``cells``: the smaller
        share, of the two slices, of labeled cells whose name both have.
    """
    names = [str(name) for name in np.unique(slices) if (labels[slices == name] != "").any()]
    counts = {name: _counts(labels[slices == name], least=1) for name in names}
    rows = []
    for i, one in enumerate(names):
        for other in names[i + 1 :]:
            a, b = counts[one], counts[other]
            common = set(a) & set(b)
            cells = min(sum(x[t] for t in common) / sum(x.values()) for x in (a, b))
            rows.append((one, other, min(len(a), len(b)), len(common), cells))
    return pd.DataFrame(rows, columns=["one", "other", "types", "shared", "cells"])


def _counts(labels: NDArray, least: int = LEAST) -> Mapping[str, int]:
    names, counts = np.unique(labels[labels != ""], return_counts=True)
    return {str(name): int(n) for name, n in zip(names, counts) if n >= least}


def _draw(
    labels: NDArray, slices: NDArray, name: str, types: list[str], n: int, seed: int
) -> NDArray[np.int64]:
    rows = np.flatnonzero((slices == name) & np.isin(labels, types))
    return np.sort(np.random.default_rng(seed).permutation(rows)[:n])


def _share(
    asked: NDArray[np.floating],
    given: NDArray[np.floating],
    labels: NDArray,
    queries: NDArray[np.int64],
    n_neighbors: int,
    threads: int | None,
    *,
    theirs: NDArray | None = None,
    own: bool = False,
) -> NDArray[np.float64]:
    """Share of each query's neighbors that have its label; ``own``: among the cells it is one of."""
    theirs = labels if theirs is None else theirs
    near = nearest(
        np.asarray(asked[queries], np.float32),
        np.asarray(given, np.float32),
        n_neighbors,
        exclude=queries if own else None,
        spare=SPARE,
        threads=threads,
    ).index
    return np.asarray((theirs[near] == labels[queries][:, None]).mean(1), np.float64)
