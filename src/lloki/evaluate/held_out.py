"""Whether slices predict each other's genes that the embedding has not seen: a score without labels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import permutations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lloki.graph import nearest

Doubles = NDArray[np.float64]

NEIGHBORS = 15
QUERIES, TARGETS = 2_000, 10_000  # cells of a slice that are predicted, and that predict
SPARE = 5  # a neighbor that is hardly farther predicts as well
ENOUGH_GENES = 5
LEAST_WITHIN = 0.02  # mean correlation below which a ratio to it is noise
_OF_CLUSTERS = {
    **{"target": str, "source": str, "cluster": int, "cells": int, "genes": int},
    **{"within": float, "across": float},
}
LEAST_OF_CLUSTER = 15  # predicted cells of a cluster whose mean profile is looked at


@dataclass(frozen=True)
class UnseenGenes:
    """Cells of one slice embedded without some genes, and those genes.

    Attributes
    ----------
    genes
        Names of the h genes.
    rows
        (n, d) embedding by the others.
    values
        (n, h) their measured expression, in any units of the slice: correlations do not depend on them.
    """

    genes: Sequence[str]
    rows: NDArray[np.floating]
    values: NDArray[np.floating]


@dataclass(frozen=True)
class HeldOutScore:
    """How well slices predict genes of each other that the embedding has not seen.

    Attributes
    ----------
    table
        A row an ordered pair of slices that share a gene: ``target``, whose cells are predicted, ``source``,
        whose cells predict, number of ``genes``, mean correlation ``within`` the target and ``across`` from
        the source, and their ``ratio`` (NaN where ``within`` is below 0.02: then the embedding says nothing
        about these genes, which is a finding of its own).
    clusters
        A row an ordered pair of slices and cluster of the target's cells: ``target``, ``source``,
        ``cluster``, its predicted ``cells``, ``genes``, and the correlation over these genes of the cluster's
        mean profile with its mean prediction, ``within`` and ``across``. A cluster that the target predicts
        and the source does not has no like there. Empty without clusters.
    """

    table: pd.DataFrame
    clusters: pd.DataFrame = field(
        default_factory=lambda: pd.DataFrame(columns=list(_OF_CLUSTERS)).astype(_OF_CLUSTERS)
    )

    @property
    def mean(self) -> float:
        """Mean ratio over pairs with at least 5 genes; NaN without any."""
        return self.relative_to(self)

    def relative_to(self, other: HeldOutScore) -> float:
        """Mean of ``across`` over another embedding's ``within``.

        Two embeddings of the same cells are compared by one denominator: by its own, an embedding in which
        neighbors within a slice have become as poor as those across would have a perfect ratio.
        """
        index = ["target", "source"]
        joined = self.table.set_index(index).join(other.table.set_index(index), rsuffix="_other")
        joined = joined[(joined["genes"] >= ENOUGH_GENES) & (joined["within_other"] >= LEAST_WITHIN)]
        return float((joined["across"] / joined["within_other"]).mean()) if len(joined) else float("nan")


def held_out_score(
    folds: Iterable[Mapping[str, UnseenGenes]],
    *,
    clusters: Mapping[str, NDArray[np.integer]] | None = None,
    n_neighbors: int = NEIGHBORS,
    n_queries: int = QUERIES,
    n_targets: int = TARGETS,
    seed: int = 0,
    threads: int | None = None,
) -> HeldOutScore:
    """Predict genes of a slice's cells from their nearest cells in other slices and in the slice itself.

    A gene of a cell is predicted by the mean over its nearest cells, and predictions are scored by their
    Pearson correlation with the measured values over cells, averaged over the genes that both slices have.
    Where slices are matched cell by cell, neighbors from another slice predict nearly as well as the cell's
    neighbors in its own slice (a ratio near 1); where unlike cells were matched, they do not.

    Parameters
    ----------
    folds
        Of each fold of genes, slice → its cells embedded without any gene of the fold; the cells of a slice
        are the same in each.
    clusters
        Slice → (n,) clusters of its cells, whose mean profiles are compared. Ones of fewer than 15 predicted
        cells are left out.
    n_neighbors
        Neighbors (cosine); a cell is none of its own.
    n_queries, n_targets
        At most so many cells of a slice are predicted, and searched for neighbors, drawn at random.
    seed
        Draws them.
    threads
        Threads; the result does not depend on it, nor on the order of slices.

    Notes
    -----
    Time grows with folds x slices² x n_queries x n_targets x d, and so not with the slices' sizes above
    these limits. A slice that lacks a type of another cannot predict what sets the type apart: where the
    composition of slices differs, a ratio below 1 is right, and only ratios of the same pair compare.
    A cell is missing among its own neighbors, which lowers ``within`` by about √k / (n - 1), 0.03 in 150
    cells and 0.002 in 2,000: of slices of few hundred cells ratios are too high.
    """
    pairs: list[pd.DataFrame] = []
    profiles: dict[tuple[str, str], list[tuple[Doubles, Doubles, Doubles]]] = {}
    groups: dict[str, _Groups] = {}
    for fold in folds:
        names = [name for name in sorted(fold) if len(fold[name].rows) > 1]
        drawn = {name: _draw(len(fold[name].rows), n_queries, n_targets, seed) for name in names}
        if clusters is not None:
            groups |= {name: _Groups.of(np.asarray(clusters[name])[drawn[name][0]]) for name in names}
        own: dict[str, Doubles] = {}
        for target, source in permutations(names, 2):
            asked, given = fold[target], fold[source]
            mine, theirs = ({gene: i for i, gene in enumerate(part.genes)} for part in (asked, given))
            common = sorted(set(mine) & set(theirs))
            if not common:
                continue
            queries, cells = drawn[target]
            if target not in own:
                own[target] = _predicted(asked, queries, asked, cells, n_neighbors, threads)
            columns, sources = [mine[g] for g in common], [theirs[g] for g in common]
            measured = np.asarray(asked.values[queries][:, columns], np.float64)
            within = own[target][:, columns]
            across = _predicted(asked, queries, given, drawn[source][1], n_neighbors, threads)[:, sources]
            scores = {"within": _correlations(measured, within), "across": _correlations(measured, across)}
            pairs.append(pd.DataFrame({"target": target, "source": source} | scores).dropna())
            if clusters is not None:
                means = [groups[target].mean @ x for x in (measured, within, across)]
                profiles.setdefault((target, source), []).append((means[0], means[1], means[2]))
    return HeldOutScore(_table(pairs), _of_clusters(profiles, groups))


@dataclass(frozen=True)
class _Groups:
    """Clusters of the predicted cells of a slice, their sizes, and the matrix that takes means over them."""

    names: NDArray[np.int64]
    cells: NDArray[np.int64]
    mean: Doubles

    @classmethod
    def of(cls, clusters: NDArray[np.integer]) -> _Groups:
        names, codes, cells = np.unique(clusters, return_inverse=True, return_counts=True)
        kept = np.flatnonzero(cells >= LEAST_OF_CLUSTER)
        mean = (codes[None, :] == kept[:, None]) / cells[kept, None]
        return cls(names[kept].astype(np.int64), cells[kept].astype(np.int64), mean)


def _table(pairs: Sequence[pd.DataFrame]) -> pd.DataFrame:
    columns = {"target": str, "source": str, "within": float, "across": float}
    genes = pd.concat(pairs) if pairs else pd.DataFrame(columns=list(columns)).astype(columns)
    table = (
        genes.groupby(["target", "source"])
        .agg(genes=("across", "size"), within=("within", "mean"), across=("across", "mean"))
        .reset_index()
    )
    table["ratio"] = (table["across"] / table["within"]).where(table["within"] >= LEAST_WITHIN)
    return table


def _of_clusters(
    profiles: Mapping[tuple[str, str], Sequence[tuple[Doubles, Doubles, Doubles]]],
    groups: Mapping[str, _Groups],
) -> pd.DataFrame:
    """Compare the mean profiles of clusters with their predictions."""
    found = []
    for (target, source), parts in profiles.items():
        measured, within, across = (np.hstack([part[i] for part in parts]).T for i in range(3))
        if len(measured) < ENOUGH_GENES:
            continue
        of = groups[target]
        scores = zip(of.names, of.cells, _correlations(measured, within), _correlations(measured, across))
        found += [(target, source, int(c), int(n), len(measured), own, other) for c, n, own, other in scores]
    return pd.DataFrame(found, columns=list(_OF_CLUSTERS)).astype(_OF_CLUSTERS)


def _draw(n: int, n_queries: int, n_targets: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Cells to predict, and those to search, among which they are."""
    order = np.random.default_rng(seed).permutation(n)
    return np.sort(order[: min(n_queries, n_targets)]), np.sort(order[:n_targets])


def _predicted(
    asked: UnseenGenes,
    queries: NDArray[np.int64],
    given: UnseenGenes,
    cells: NDArray[np.int64],
    n_neighbors: int,
    threads: int | None,
) -> Doubles:
    """Mean over the nearest given cells of every given gene: (queries, h)."""
    exclude = np.searchsorted(cells, queries) if given is asked else None
    near = nearest(
        asked.rows[queries], given.rows[cells], n_neighbors, exclude=exclude, spare=SPARE, threads=threads
    ).index
    values = np.asarray(given.values[cells], np.float64)
    out = np.zeros((len(queries), values.shape[1]))
    for j in range(near.shape[1]):  # a neighbor at a time: all at once would take k times the memory
        out += values[near[:, j]]
    return out / near.shape[1]


def _correlations(measured: Doubles, predicted: Doubles) -> Doubles:
    """Correlate columns. NaN where nothing varies that could be predicted; 0 if the prediction does not."""
    a, b = measured - measured.mean(0), predicted - predicted.mean(0)
    varies, norm = (a * a).sum(0), np.sqrt((a * a).sum(0) * (b * b).sum(0))
    found = np.where(norm > 1e-12, (a * b).sum(0) / np.maximum(norm, 1e-12), 0.0)
    out: Doubles = np.where(varies > 1e-12, found, np.nan)
    return out
