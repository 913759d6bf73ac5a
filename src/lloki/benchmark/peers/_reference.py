"""Cells of different panels in the principal components of a reference: by neighbors and by regression."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lloki._parallel import blocks, single_threaded
from lloki.benchmark.measured import Measured
from lloki.benchmark.peers._mosaic import Mosaic, Rows
from lloki.benchmark.peers._standardized import BLOCK, Doubles, Standardized, principal_axes
from lloki.errors import InputError
from lloki.graph import nearest

COMPONENTS = 30  # columns, as many as the PCA baselines have
NEIGHBORS = 15
LEAST_SHARED = 3
PENALTIES = np.logspace(-4, 1, 11)  # per cell; of standardized genes


def reference_knn(
    slices: Sequence[Measured],
    reference: Measured,
    *,
    neighbors: int = NEIGHBORS,
    components: int = COMPONENTS,
) -> list[Rows]:
    """Give each cell the mean principal components of its nearest reference cells.

    Parameters
    ----------
    slices
        Counts of each slice, over its own genes.
    reference
        Counts of the scRNA-seq reference.
    neighbors
        Reference cells, by the cosine of standardized expression of the genes that slice and reference share.
    components
        Principal components of the reference, over the genes that some slice has.

    Returns
    -------
    Of each slice, (n, d) float32.

    Raises
    ------
    InputError
        If a slice shares fewer than 3 genes with the reference.

    Notes
    -----
    Expression is log-normalized over the shared genes and standardized per data set and gene. The search is
    exact: time grows with cells x reference cells x genes, memory with reference cells x genes, the stored
    counts and the result. There is no random number in it.
    """
    mosaic = Mosaic.of(slices, reference)
    with single_threaded():
        scores = _scores(mosaic.reference, components)
        return mosaic.as_given([_knn(s, mosaic.reference, scores, neighbors) for s in mosaic.slices])


def reference_ridge(
    slices: Sequence[Measured], reference: Measured, *, components: int = COMPONENTS
) -> list[Rows]:
    """Give each cell the principal components of the reference that a ridge regression predicts.

    Parameters
    ----------
    slices
        Counts of each slice, over its own genes.
    reference
        Counts of the scRNA-seq reference.
    components
        Principal components of the reference, over the genes that some slice has.

    Returns
    -------
    Of each slice, (n, d) float32.

    Raises
    ------
    InputError
        If a slice shares fewer than 3 genes with the reference.

    Notes
    -----
    For each slice a regression is fitted on the reference's cells, from the genes that they share to all
    components at once, and applied to the slice. Both are log-normalized over the shared genes and
    standardized per data set and gene. The penalty is chosen by generalized cross-validation (Golub, Heath
    and Wahba 1979) on the reference. Time grows with (reference cells)·g² + g³ and cells x g for g shared
    genes, memory with g², the stored counts and the result. There is no random number in it.
    """
    mosaic = Mosaic.of(slices, reference)
    with single_threaded():
        scores = _scores(mosaic.reference, components)
        return mosaic.as_given([_ridge(s, mosaic.reference, scores) for s in mosaic.slices])


def ridge_weights(x: Standardized, y: Doubles, penalties: Sequence[float] | Doubles = PENALTIES) -> Doubles:
    """Regress the centered columns ``y`` (n, d) on ``x`` (n, g), with one ridge penalty for all: (g, d)."""
    values, axes = np.linalg.eigh(x.covariance())
    values = np.maximum(values, 0)
    cross = axes.T @ x.covariance(y)  # (g, d)
    total, strength, n = float((y**2).mean(axis=0).sum()), (cross**2).sum(axis=1), len(y)

    def criterion(penalty: float) -> float:
        shrunk = 1 / (values + penalty)
        error = total - float((strength * (2 * shrunk - values * shrunk**2)).sum())
        return error / max(1 - float((values * shrunk).sum()) / n, 1e-12) ** 2

    best = min(map(float, penalties), key=criterion)
    out: Doubles = axes @ (cross / (values + best)[:, None])
    return out


def _scores(reference: Measured, components: int) -> Doubles:
    x = Standardized.of(reference)
    return x.dot(principal_axes(x.covariance(), x.x.shape[0], components))


def _knn(data: Measured, reference: Measured, scores: Doubles, neighbors: int) -> Doubles:
    own, other = _over_shared(data, reference)
    targets = other.dense(slice(None)).astype(np.float32)
    found = [nearest(own.dense(rows), targets, neighbors).index for rows in blocks(own.x.shape[0], BLOCK)]
    out: Doubles = scores[np.concatenate(found)].mean(axis=1)
    return out


def _ridge(data: Measured, reference: Measured, scores: Doubles) -> Doubles:
    own, other = _over_shared(data, reference)
    return own.dot(ridge_weights(other, scores))


def _over_shared(data: Measured, reference: Measured) -> tuple[Standardized, Standardized]:
    known = set(reference.genes)
    shared = [gene for gene in data.genes if gene in known]
    if len(shared) < LEAST_SHARED:
        raise InputError(f"a slice shares {len(shared)} genes with the scRNA-seq reference, which is too few")
    return Standardized.of(data, shared), Standardized.of(reference, shared)
