"""Figures of one integration that need no other method beside it, most of them no labels either."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from lloki.evaluate.transfer import transfer_accuracy
from lloki.graph import cosine_neighbours

Floats = NDArray[np.floating]


def mixing(embedding: Floats, batch: NDArray, *, k: int = 15) -> float:
    """Share of a cell's k nearest neighbours that are of another batch, over what chance would give.

    Parameters
    ----------
    embedding
        (n, d).
    batch
        (n,) batch of each cell.
    k
        Neighbours (cosine), as label transfer uses.

    Returns
    -------
    float
        Mean over batches, so that a large one does not decide: 0 if they lie apart, 1 if they are shuffled.
        NaN for a single batch.
    """
    codes, counts = np.unique(batch, return_inverse=True, return_counts=True)[1:]
    if len(counts) < 2:
        return float("nan")
    near = cosine_neighbours(embedding, k)
    other = _mean_where(codes[near] != codes[:, None], near >= 0)
    chance = 1 - counts / counts.sum()
    ratio = other / chance[codes]
    return float(np.mean([np.nanmean(ratio[codes == b]) for b in range(len(counts))]))


def preservation(before: Floats, after: Floats, slices: NDArray, *, k: int = 30) -> float:
    """Share of a cell's k nearest neighbours inside its slice that are still among its k nearest afterwards.

    Parameters
    ----------
    before, after
        (n, d) and (n, e) embeddings of the same cells.
    slices
        (n,) slice of each cell.
    k
        Neighbours (cosine).

    Returns
    -------
    float
        Mean over slices; about k/n for unrelated embeddings, 1 where nothing moved.
    """
    shares = []
    for name in np.unique(slices):
        rows = np.flatnonzero(slices == name)
        if len(rows) <= 2:
            continue
        sets = [_membership(cosine_neighbours(x[rows], min(k, len(rows) - 1))) for x in (before, after)]
        common, total = sets[0].multiply(sets[1]).sum(), sets[0].sum()
        shares.append(common / max(total, 1))
    return float(np.mean(shares)) if shares else float("nan")


def quality(
    fp: Floats,
    joint: Floats,
    *,
    slices: NDArray,
    tokens: NDArray,
    labels: NDArray | None = None,
    cells: int = 10_000,
    seed: int = 0,
) -> pd.DataFrame:
    """Table of the figures above for the embedding before and after batch alignment.

    Parameters
    ----------
    fp, joint
        (n, d) and (n, e).
    slices, tokens
        (n,) slice and batch of each cell.
    labels
        (n,) cell types, ``""`` where unknown.
    cells, seed
        Above this number of cells, an equal share of each slice is drawn: time grows with its square (a few
        seconds at 10,000). Neighbours then lie a little farther apart than among all cells.

    Returns
    -------
    pandas.DataFrame
        One row an embedding: mixing, preservation, transfer_accuracy, transfer_macro_f1, cells.
    """
    rows = _sample(slices, cells, seed)
    out = []
    for name, x in (("X_lloki_fp", fp), ("X_lloki", joint)):
        figures = {
            "embedding": name,
            "mixing": mixing(x[rows], tokens[rows]),
            "preservation": preservation(fp[rows], x[rows], slices[rows]),
        }
        if labels is not None:
            accuracy, f1 = transfer_accuracy(x[rows], labels[rows], slices[rows])
            figures |= {"transfer_accuracy": accuracy, "transfer_macro_f1": f1}
        out.append(figures | {"cells": len(rows)})
    return pd.DataFrame(out)


def _sample(slices: NDArray, cells: int, seed: int) -> NDArray[np.int64]:
    """About ``cells`` rows, as many of each slice, of small ones all; the order of slices is no matter."""
    if len(slices) <= cells:
        return np.arange(len(slices))
    rng = np.random.default_rng(seed)
    names = np.unique(slices)
    share = max(cells // len(names), 1)
    return np.sort(np.concatenate([rng.permutation(np.flatnonzero(slices == s))[:share] for s in names]))


def _membership(near: NDArray) -> sparse.csr_matrix:
    n, k = near.shape
    keep = near >= 0
    rows = np.repeat(np.arange(n), k)[keep.ravel()]
    return sparse.csr_matrix((np.ones(len(rows), np.int8), (rows, near[keep])), shape=(n, n))


def _mean_where(values: NDArray, keep: NDArray) -> NDArray[np.float64]:
    """Row means over the entries to keep; NaN for a row without any."""
    total = keep.sum(axis=1)
    return np.where(total > 0, (values & keep).sum(axis=1) / np.maximum(total, 1), np.nan)
