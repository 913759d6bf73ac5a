"""Whether slices predict each other's genes that the embedding has not seen: a score without labels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lloki.graph import nearest

NEIGHBORS = 15
QUERIES, TARGETS = 2_000, 10_000  # cells of a slice that are predicted, and that predict
ENOUGH_GENES = 5
LEAST_WITHIN = 0.02  # mean correlation below which a ratio to it is noise


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
    """

    table: pd.DataFrame

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
    found: list[tuple[str, str, float, float]] = []
    for fold in folds:
        names = [name for name in sorted(fold) if len(fold[name].rows) > 1]
        drawn = {name: _draw(len(fold[name].rows), n_queries, n_targets, seed) for name in names}
        own: dict[str, dict[str, float]] = {}
        for target, source in permutations(names, 2):
            asked, given = fold[target], fold[source]
            common = sorted(set(asked.genes) & set(given.genes))
            if not common:
                continue
            queries, cells = drawn[target]
            if target not in own:
                own[target] = _correlations(asked, queries, asked, cells, asked.genes, n_neighbors, threads)
            across = _correlations(asked, queries, given, drawn[source][1], common, n_neighbors, threads)
            found += [(target, source, own[target][gene], value) for gene, value in across.items()]
    pairs = pd.DataFrame(found, columns=["target", "source", "within", "across"])
    pairs = pairs.astype({"within": float, "across": float})
    table = (
        pairs.groupby(["target", "source"])
        .agg(genes=("across", "size"), within=("within", "mean"), across=("across", "mean"))
        .reset_index()
    )
    table["ratio"] = (table["across"] / table["within"]).where(table["within"] >= LEAST_WITHIN)
    return HeldOutScore(table)


def _draw(n: int, n_queries: int, n_targets: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Cells to predict, and those to search, among which they are."""
    order = np.random.default_rng(seed).permutation(n)
    return np.sort(order[: min(n_queries, n_targets)]), np.sort(order[:n_targets])


def _correlations(
    asked: UnseenGenes,
    queries: NDArray[np.int64],
    given: UnseenGenes,
    cells: NDArray[np.int64],
    genes: Sequence[str],
    n_neighbors: int,
    threads: int | None,
) -> dict[str, float]:
    """Correlation over cells of predicted and measured values of each gene that varies among the queries.

    A prediction that is the same for all cells is worth 0.
    """
    exclude = np.searchsorted(cells, queries) if given is asked else None
    near = nearest(
        asked.rows[queries], given.rows[cells], n_neighbors, exclude=exclude, threads=threads
    ).index
    mine, theirs = ({gene: i for i, gene in enumerate(part.genes)} for part in (asked, given))
    out = {}
    for gene in genes:
        measured = np.asarray(asked.values[queries, mine[gene]], np.float64)
        guess = np.asarray(given.values[cells, theirs[gene]], np.float64)[near].mean(1)
        a, b = measured - measured.mean(), guess - guess.mean()
        norm = np.sqrt((a @ a) * (b @ b))
        if a @ a > 1e-12:
            out[gene] = float(a @ b / norm) if norm > 1e-12 else 0.0
    return out
