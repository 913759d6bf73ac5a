"""From neighbor shares to genes and scores: the steps that every permutation repeats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from lloki.analysis.contrast import FocalSet, compare, consistent, enriched, rich_clusters, standard_ranks
from lloki.analysis.gene_score import signed_weights
from lloki.analysis.neighborhood_inputs import NeighborhoodConfig, Tissue

Doubles = NDArray[np.float64]
POOLED = "pooled"


@dataclass(frozen=True, eq=False)
class DataSet:
    """A data set prepared for the second stage and the score; ``rows`` are its focal cells among all."""

    rows: NDArray[np.bool_]
    focal: FocalSet
    expression: sparse.csr_matrix  # (n, g) of its focal cells
    genes: tuple[str, ...]
    mean: Doubles

    @classmethod
    def make(
        cls,
        name: str,
        tissues: Sequence[Tissue],
        slices: NDArray,
        rows: NDArray[np.bool_],
        cluster: NDArray[np.int64],
        n_clusters: int,
        config: NeighborhoodConfig,
    ) -> DataSet:
        genes = sorted(set.intersection(*(set(t.genes) for t in tissues)))
        parts = []
        for t in tissues:
            at = {gene: i for i, gene in enumerate(t.genes)}
            parts.append(sparse.csr_matrix(t.expression[:, [at[gene] for gene in genes]]))
        x = sparse.vstack(parts, format="csr")
        is_focal = np.concatenate([t.focal for t in tissues])
        own = x[is_focal]
        kept = enriched(own, x[~is_focal], expressed=config.expressed, fold=config.fold)
        near = x[np.concatenate([t.neighbor for t in tissues])]
        if config.spill_guard and near.shape[0]:
            kept &= enriched(own, near, expressed=0.0, fold=0.0)
        named = [gene for gene, keep in zip(genes, kept) if keep]
        focal = FocalSet.make(
            name, own[:, np.flatnonzero(kept)], named, slices[rows], cluster[rows], n_clusters
        )
        mean = np.asarray(own.sum(axis=0)).ravel() / max(own.shape[0], 1)
        return cls(rows, focal, own, tuple(genes), mean)


@dataclass(frozen=True, eq=False)
class Outcome:
    """Clusters, genes and scores for one assignment of shares to cells."""

    rich: NDArray[np.bool_]
    contrast: float
    genes: pd.DataFrame
    score: Doubles
    correlations: pd.DataFrame


def outcome(
    share: Doubles,
    slices: NDArray,
    cluster: NDArray[np.int64],
    n_clusters: int,
    datasets: Sequence[DataSet],
    config: NeighborhoodConfig,
) -> Outcome:
    """Compute everything that depends on the shares."""
    centered, ranked = np.empty(len(share)), np.empty(len(share))
    for name in np.unique(slices):
        rows = slices == name
        centered[rows], ranked[rows] = share[rows] - share[rows].mean(), standard_ranks(share[rows])
    rich, contrast = rich_clusters(cluster, centered, n_clusters)
    genes = compare([d.focal for d in datasets], rich, [ranked[d.rows] for d in datasets])
    sign = consistent(genes, q=config.q, agreement=config.agreement)
    genes["direction"] = np.array(["down", "", "up"], object)[sign + 1]
    up, down = set(genes.index[sign > 0]), set(genes.index[sign < 0])
    score = np.full(len(share), np.nan)
    for d in datasets:
        sides = [np.array([gene in side for gene in d.genes], bool) for side in (up, down)]
        if sides[0].any() or sides[1].any():
            score[d.rows] = d.expression @ signed_weights(d.mean, *sides, seed=config.seed)
    table = [_correlation(d.focal.name, score[d.rows], share[d.rows]) for d in datasets]
    correlations = pd.DataFrame([*table, _correlation(POOLED, score, share)])
    return Outcome(rich, contrast, genes, score, correlations)


def _correlation(name: str, score: Doubles, share: Doubles) -> dict[str, Any]:
    """Correlate score and share; 0 where no gene was found and so no score."""
    known = np.isfinite(score)
    a, b = score[known], share[known]
    if len(a) < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return {"dataset": name, "n_cells": len(a), "pearson": 0.0, "spearman": 0.0}
    spearman = float(np.mean(standard_ranks(a) * standard_ranks(b)))
    return {
        "dataset": name,
        "n_cells": len(a),
        "pearson": float(np.corrcoef(a, b)[0, 1]),
        "spearman": spearman,
    }
