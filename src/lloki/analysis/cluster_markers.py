"""Marker genes of clusters, compared within the slices that measured a gene."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

LEAST_CELLS = 10  # of a cluster, and of all others, in a slice that is compared
_FLOOR = 0.1  # added to a standard deviation, so that a gene in a handful of cells does not win


def top_markers(
    values: Sequence[sparse.spmatrix],
    genes: Sequence[Sequence[str]],
    clusters: Sequence[NDArray[np.int64]],
    *,
    n_clusters: int,
    n_top: int = 5,
) -> pd.DataFrame:
    """Find the genes that distinguish each cluster from all other cells of the same slices.

    Parameters
    ----------
    values
        Of each slice, (n_s, g_s) log-normalized expression of the genes it measured.
    genes
        Of each slice, the names of its genes.
    clusters
        Of each slice, (n_s,) cluster of each cell, from 0; negative for none.
    n_clusters
        Number of clusters.
    n_top
        Genes per cluster at most.

    Returns
    -------
    pandas.DataFrame
        ``cluster``, ``gene``, ``effect``, ``detected`` and ``detected_elsewhere`` (shares of cells), and
        ``n_slices``, the slices that were compared; the strongest of a cluster first.

    Notes
    -----
    In each slice with at least 10 cells of the cluster and 10 others, the effect of a gene is the difference
    of its means over 0.1 plus its standard deviation in the slice, so platforms with other depths and panels
    are never compared with one another. Over slices it is the mean, weighted by the cells of the cluster. It
    ranks genes and is no test. Time grows with the stored values, memory with clusters times genes.
    """
    known = {gene: i for i, gene in enumerate(dict.fromkeys(g for names in genes for g in names))}
    shape = (n_clusters, len(known))
    effect, weight, inside, outside = (np.zeros(shape) for _ in range(4))
    slices = np.zeros(shape, dtype=int)
    for matrix, names, codes in zip(values, genes, clusters):
        x, rows = sparse.csr_matrix(matrix), np.flatnonzero(codes >= 0)
        if not len(rows) or not x.shape[1]:
            continue
        member = sparse.csr_matrix((np.ones(len(rows)), (codes[rows], rows)), shape=(n_clusters, x.shape[0]))
        within = np.bincount(codes[rows], minlength=n_clusters)
        others = len(rows) - within
        able = (within >= LEAST_CELLS) & (others >= LEAST_CELLS)
        total = np.asarray((member @ x).todense())
        detected = np.asarray((member @ (x > 0).astype(float)).todense())
        squares = np.asarray(member.sum(axis=0) @ x.multiply(x)).ravel()
        sd = np.sqrt(np.maximum(squares / len(rows) - (total.sum(axis=0) / len(rows)) ** 2, 0))
        n_in, n_out = np.maximum(within, 1)[:, None], np.maximum(others, 1)[:, None]
        difference = total / n_in - (total.sum(axis=0) - total) / n_out
        at = np.array([known[g] for g in names])
        block, w = np.ix_(able, at), within[able][:, None]
        effect[block] += w * (difference / (_FLOOR + sd))[able]
        inside[block] += w * (detected / n_in)[able]
        outside[block] += w * ((detected.sum(axis=0) - detected) / n_out)[able]
        weight[block] += w
        slices[block] += 1
    with np.errstate(invalid="ignore", divide="ignore"):
        effect, inside, outside = effect / weight, inside / weight, outside / weight
    names, found = list(known), []
    for k in range(n_clusters):
        order = np.argsort(-np.nan_to_num(effect[k], nan=-np.inf), kind="stable")[:n_top]
        found += [
            {
                "cluster": k,
                "gene": names[i],
                "effect": effect[k, i],
                "detected": inside[k, i],
                "detected_elsewhere": outside[k, i],
                "n_slices": slices[k, i],
            }
            for i in order
            if effect[k, i] > 0
        ]
    columns = ["cluster", "gene", "effect", "detected", "detected_elsewhere", "n_slices"]
    return pd.DataFrame(found, columns=columns)
