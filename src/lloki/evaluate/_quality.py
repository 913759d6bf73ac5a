"""Figures of one integration that need no other method beside it, most of them no labels either."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from lloki._parallel import single_threaded
from lloki.evaluate.sampling import stratified
from lloki.evaluate.transfer import transfer_accuracy
from lloki.graph import cosine_neighbors

Floats = NDArray[np.floating]


def mixing(embedding: Floats, batch: NDArray, *, n_neighbors: int = 15) -> float:
    """Share of a cell's k nearest neighbors that are from another batch, relative to chance.

    Parameters
    ----------
    embedding
        (n, d).
    batch
        (n,) batch of each cell.
    n_neighbors
        Number of neighbors (cosine), as in label transfer.

    Returns
    -------
    float
        Mean over batches, so that large ones do not dominate: 0 if separate, 1 if shuffled.
        NaN for a single batch.
    """
    codes, counts = np.unique(batch, return_inverse=True, return_counts=True)[1:]
    if len(counts) < 2:
        return float("nan")
    near = cosine_neighbors(embedding, n_neighbors)
    other = _mean_where(codes[near] != codes[:, None], near >= 0)
    chance = 1 - counts / counts.sum()
    ratio = other / chance[codes]
    return float(np.mean([np.nanmean(ratio[codes == b]) for b in range(len(counts))]))


def preservation(before: Floats, after: Floats, slices: NDArray, *, n_neighbors: int = 30) -> float:
    """Share of a cell's k nearest neighbors within its slice that remain among its k nearest.

    Parameters
    ----------
    before, after
        (n, d) and (n, e) embeddings of the same cells.
    slices
        (n,) slice of each cell.
    n_neighbors
        Neighbors (cosine).

    Returns
    -------
    float
        Mean over slices; about k/n for unrelated embeddings, 1 if unchanged.
    """
    shares = []
    for name in np.unique(slices):
        rows = np.flatnonzero(slices == name)
        if len(rows) <= 2:
            continue
        sets = [
            _membership(cosine_neighbors(x[rows], min(n_neighbors, len(rows) - 1))) for x in (before, after)
        ]
        common, total = sets[0].multiply(sets[1]).sum(), sets[0].sum()
        shares.append(common / max(total, 1))
    return float(np.mean(shares)) if shares else float("nan")


def purity(
    embedding: Floats, labels: NDArray, slices: NDArray, *, n_neighbors: int = 15
) -> tuple[float, float]:
    """Share of neighbors that have the cell's own type, among those in its slice and those in others.

    Parameters
    ----------
    embedding
        (n, d).
    labels
        (n,) strings, ``""`` where unknown: such cells are left out.
    slices
        (n,) slice of each cell.
    n_neighbors
        Neighbors (cosine): of its own slice for the first figure, of all cells for the second.

    Returns
    -------
    within, across
        Means over cells, and over all pairs of neighbors from different slices, both of types that both
        slices name: other names say nothing. NaN where there are none.
    """
    known = np.flatnonzero(labels != "")
    x, slices = embedding[known], slices[known]
    _, types = np.unique(labels[known], return_inverse=True)
    if not len(known):
        return float("nan"), float("nan")
    within = np.full(len(x), np.nan)
    for name in np.unique(slices):
        rows = np.flatnonzero(slices == name)
        near = cosine_neighbors(x[rows], n_neighbors)
        within[rows] = _mean_where(types[rows][near] == types[rows, None], near >= 0)
    near = cosine_neighbors(x, n_neighbors)
    places = np.unique(slices, return_inverse=True)[1]
    names = np.zeros((places.max() + 1, types.max() + 1), bool)
    names[places, types] = True
    common = names[places[near], types[:, None]] & names[places[:, None], types[near]]
    other = (places[near] != places[:, None]) & (near >= 0) & common
    across = (types[near] == types[:, None])[other]
    return _mean(within[np.isfinite(within)]), _mean(across)


def effective_dimensions(embedding: Floats) -> float:
    """Effective number of dimensions: (Σλ)² / Σλ² over the variances λ of the principal axes.

    d if all d directions vary alike, 1 if all cells lie on a line, 0 if all are one point.
    """
    x = np.asarray(embedding, np.float64)
    centered = x - x.mean(axis=0)
    with single_threaded():
        variance = np.linalg.eigvalsh(centered.T @ centered)
    total = float(variance.sum())
    return total**2 / float((variance**2).sum()) if total > 1e-12 else 0.0


def quality(
    fp: Floats,
    joint: Floats,
    *,
    slices: NDArray,
    tokens: NDArray,
    labels: NDArray | None = None,
    n_cells: int = 10_000,
    seed: int = 0,
) -> pd.DataFrame:
    """Compute the metrics above for the embedding before and after batch alignment.

    Parameters
    ----------
    fp, joint
        (n, d) and (n, e).
    slices, tokens
        (n,) slice and batch of each cell. Of a single batch, mixing is that of its slices.
    labels
        (n,) cell types, ``""`` where unknown.
    n_cells, seed
        Above this number of cells, an equal share of each slice is drawn: time grows with its square (a few
        seconds at 10,000). Neighbors then lie a little farther apart than among all cells.

    Returns
    -------
    pandas.DataFrame
        One row an embedding: mixing, preservation, dimensions (:func:`effective_dimensions`), cells; with
        labels also transfer_accuracy, transfer_macro_f1, types_kept (:func:`purity` within slices, over that
        of ``fp``) and like_with_like (purity across slices, over that within them).
    """
    rows = _sample(slices, n_cells, seed)
    batches = tokens if len(np.unique(tokens)) > 1 else slices
    out: list[dict[str, Any]] = []
    pure = float("nan")
    for name, x in (("X_lloki_fp", fp), ("X_lloki", joint)):
        figures = {
            "embedding": name,
            "mixing": mixing(x[rows], batches[rows]),
            "preservation": preservation(fp[rows], x[rows], slices[rows]),
            "dimensions": effective_dimensions(x[rows]),
        }
        if labels is not None:
            within, across = purity(x[rows], labels[rows], slices[rows])
            pure = pure if out else within
            accuracy, f1 = transfer_accuracy(x[rows], labels[rows], slices[rows])
            figures |= {"types_kept": _ratio(within, pure), "like_with_like": _ratio(across, within)}
            figures |= {"transfer_accuracy": accuracy, "transfer_macro_f1": f1}
        out.append(figures | {"cells": len(rows)})
    return pd.DataFrame(out)


def _sample(slices: NDArray, n_cells: int, seed: int) -> NDArray[np.int64]:
    """Draw about ``n_cells`` rows, as many of each slice; of small slices, all."""
    if len(slices) <= n_cells:
        return np.arange(len(slices))
    return np.sort(stratified(slices, n_cells, seed=seed))


def _mean(values: NDArray) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _ratio(a: float, b: float) -> float:
    return a / b if b else float("nan")


def _membership(near: NDArray) -> sparse.csr_matrix:
    n, k = near.shape
    keep = near >= 0
    rows = np.repeat(np.arange(n), k)[keep.ravel()]
    return sparse.csr_matrix((np.ones(len(rows), np.int8), (rows, near[keep])), shape=(n, n))


def _mean_where(values: NDArray, keep: NDArray) -> NDArray[np.float64]:
    """Row means over the entries to keep; NaN for a row without any."""
    total = keep.sum(axis=1)
    return np.where(total > 0, (values & keep).sum(axis=1) / np.maximum(total, 1), np.nan)
