"""Genes that differ between two groups of focal cells, over data sets with different panels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse
from scipy.stats import norm, rankdata

Doubles = NDArray[np.float64]
Codes = NDArray[np.int64]

_TINY = 1e-9
MIN_CELLS = 10  # on either side, for a data set to count


@dataclass(frozen=True, eq=False)
class FocalSet:
    """Expression of the focal cells of one data set.

    Attributes
    ----------
    name
        Name of the data set.
    genes
        (g,) that are enriched in the focal type.
    ranks
        (n, g) ranks of each gene within each slice, standardized; 0 where a gene does not vary.
    cells, sums, squares, linear
        By cluster (c,) and (c, g): cells, sums and sums of squares of log expression, and sums of its
        exponential.
    """

    name: str
    genes: tuple[str, ...]
    ranks: Doubles
    cells: Doubles
    sums: Doubles
    squares: Doubles
    linear: Doubles

    @classmethod
    def make(
        cls,
        name: str,
        x: sparse.csr_matrix,
        genes: Sequence[str],
        slices: NDArray,
        cluster: Codes,
        n_clusters: int,
    ) -> FocalSet:
        """Summarize log expression (n, g) of focal cells in ``n_clusters`` clusters."""
        member = sparse.csr_matrix(
            (np.ones(len(cluster)), (cluster, np.arange(len(cluster)))), (n_clusters, len(cluster))
        )
        dense = x.toarray().astype(np.float64)
        ranks = np.zeros_like(dense)
        for each in np.unique(slices):
            rows = slices == each
            ranks[rows] = standard_ranks(dense[rows])
        cells = np.asarray(member.sum(axis=1)).ravel()
        return cls(
            name, tuple(genes), ranks, cells, member @ dense, member @ dense**2, member @ np.expm1(dense)
        )


def standard_ranks(x: Doubles) -> Doubles:
    """Ranks of the columns of (n, g) or of (n,), mean 0 and variance 1; 0 where they do not vary."""
    r = rankdata(x, axis=0)
    r -= r.mean(axis=0)
    sd = r.std(axis=0)
    return r / np.where(sd > 0, sd, 1.0)


def enriched(
    focal: sparse.csr_matrix, rest: sparse.csr_matrix, *, expressed: float = 0.05, fold: float = 0.3
) -> NDArray[np.bool_]:
    """Find genes that are expressed and enriched in the focal type: the first stage.

    Parameters
    ----------
    focal, rest
        (n, g) and (m, g) log-normalized expression of the focal cells and of all others.
    expressed
        Minimum share of focal cells that express the gene.
    fold
        Minimum log2 ratio of mean normalized counts.
    """
    seen = np.asarray((focal > 0).sum(axis=0)).ravel() / max(focal.shape[0], 1)
    means = [np.asarray(x.expm1().sum(axis=0)).ravel() / max(x.shape[0], 1) for x in (focal, rest)]
    return (seen >= expressed) & (np.log2((means[0] + _TINY) / (means[1] + _TINY)) >= fold)


def rich_clusters(cluster: Codes, share: Doubles, n_clusters: int) -> tuple[NDArray[np.bool_], float]:
    """Split clusters in two by their cells' mean share of neighbors, where that explains most.

    Parameters
    ----------
    cluster
        (n,) codes below ``n_clusters``.
    share
        (n,) less the mean of its slice.
    n_clusters
        Number of clusters.

    Returns
    -------
    rich, contrast
        (n_clusters,) bool, and how much higher the mean share is in rich clusters than in the others: 0 with
        a single cluster. Of all cuts of the clusters in order of their means, the one with the largest
        variance between the two groups (Otsu's rule).
    """
    cells = np.bincount(cluster, minlength=n_clusters).astype(float)
    total = np.bincount(cluster, share, minlength=n_clusters)
    order = np.argsort(total / np.maximum(cells, 1), kind="stable")
    low, high = np.cumsum(cells[order])[:-1], cells.sum() - np.cumsum(cells[order])[:-1]
    if not ((low > 0) & (high > 0)).any():
        return np.zeros(n_clusters, bool), 0.0
    below = np.cumsum(total[order])[:-1]
    difference = (total.sum() - below) / np.maximum(high, 1) - below / np.maximum(low, 1)
    cut = int(np.argmax(low * high * difference**2))
    rich = np.zeros(n_clusters, bool)
    rich[order[cut + 1 :]] = True
    return rich, float(difference[cut])


def compare(sets: Sequence[FocalSet], rich: NDArray[np.bool_], shares: Sequence[Doubles]) -> pd.DataFrame:
    r"""Compare rich with other clusters, gene by gene, over all data sets that measured it: the second stage.

    In each data set genes are ranked by Welch's t, from 0 (most down) to 1 (most up), and the ranks averaged
    over data sets with the weights :math:`\sqrt{n_1 n_0 / (n_1 + n_0)}`, n being the cells on either side.
    Each gene's rank correlation with the share of neighbors itself, within slices, is computed as well:
    clusters are found in the same counts that are compared here, so their differences alone are no evidence,
    while a cell's position is independent of them.

    Parameters
    ----------
    sets
        Data sets.
    rich
        (c,) bool, by cluster.
    shares
        For each data set (n,) standardized ranks of the neighbor share within slices.

    Returns
    -------
    pandas.DataFrame
        Indexed by gene: n_datasets, rank, log2_fold (weighted mean), agreement (share of the weight whose
        fold has the sign of the mean), q (of the combined t), share_correlation, share_q (Benjamini–Hochberg,
        normal approximation).
    """
    rows: dict[str, list[tuple[float, ...]]] = {}
    for data, share in zip(sets, shares):
        n1, n0 = data.cells[rich].sum(), data.cells[~rich].sum()
        if min(n1, n0) < MIN_CELLS or not data.genes:
            continue
        t, fold = _welch(data, rich)
        rank = (rankdata(t) - 0.5) / len(t)
        correlation = data.ranks.T @ share / len(share)
        weight = float(np.sqrt(n1 * n0 / (n1 + n0)))
        for i, gene in enumerate(data.genes):
            values = (weight, rank[i], t[i], fold[i], correlation[i], float(len(share)))
            rows.setdefault(gene, []).append(values)
    table = []
    for gene in sorted(rows):
        w, rank, t, fold, r, n = np.array(rows[gene]).T
        mean = float(np.average(fold, weights=w))
        table.append(
            {
                "gene": gene,
                "n_datasets": len(w),
                "rank": float(np.average(rank, weights=w)),
                "log2_fold": mean,
                "agreement": float(np.average(np.sign(fold) == np.sign(mean), weights=w)),
                "z": float((w * t).sum() / np.sqrt((w**2).sum())),
                "share_correlation": float(np.average(r, weights=w)),
                "share_z": float((w * r * np.sqrt(n)).sum() / np.sqrt((w**2).sum())),
            }
        )
    columns = ["n_datasets", "rank", "log2_fold", "agreement", "z", "share_correlation", "share_z"]
    frame = pd.DataFrame(table, columns=["gene", *columns]).set_index("gene")
    for name in ("z", "share_z"):
        frame[name.replace("z", "q")] = _adjusted(2 * norm.sf(np.abs(frame.pop(name).to_numpy(float))))
    return frame


def consistent(table: pd.DataFrame, *, q: float, agreement: float) -> NDArray[np.int8]:
    """Return 1 for genes that are up in all data sets that measured them, -1 for down, 0 for neither."""
    sign = np.sign(table["log2_fold"].to_numpy(float))
    good = (table["q"] < q) & (table["share_q"] < q) & (table["agreement"] >= agreement - _TINY)
    good &= np.sign(table["share_correlation"]) == sign
    return np.where(good, sign, 0).astype(np.int8)


def _welch(data: FocalSet, rich: NDArray[np.bool_]) -> tuple[Doubles, Doubles]:
    """Welch's t and log2 fold change of each gene; 0 for a gene that does not vary."""
    means, errors, linear = [], [], []
    for side in (rich, ~rich):
        n = data.cells[side].sum()
        mean = data.sums[side].sum(0) / n
        means.append(mean)
        errors.append(np.maximum(data.squares[side].sum(0) / n - mean**2, 0) / (n - 1))
        linear.append(data.linear[side].sum(0) / n)
    scale = np.sqrt(errors[0] + errors[1])
    t = np.divide(means[0] - means[1], scale, out=np.zeros_like(scale), where=scale > 0)
    return t, np.log2((linear[0] + _TINY) / (linear[1] + _TINY))


def _adjusted(p: Doubles) -> Doubles:
    """Adjust p-values by Benjamini–Hochberg."""
    if not len(p):
        return p
    order = np.argsort(p, kind="stable")
    scaled = p[order] * len(p) / np.arange(1, len(p) + 1)
    out = np.empty_like(p)
    out[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1)
    return out
