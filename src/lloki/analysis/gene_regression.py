"""Genes of one slice by ridge regression on the genes that it shares with a slice that measured them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lloki._parallel import blocks, single_threaded
from lloki.embed.factor import stabilize

if TYPE_CHECKING:
    from lloki.analysis.imputation import Source

FEWEST_SHARED = 3  # genes, below which a source is passed over
PENALTY = 0.05  # per cell: the weight of one in twenty cells that say nothing; 0.01 to 0.2 differ little
FITTED = 20_000  # cells of a source that the coefficients are fitted to, evenly spaced
_BLOCK = 4096


def regress(target: Source, sources: Sequence[Source], genes: Sequence[str]) -> NDArray[np.float32]:
    r"""Predict genes from the genes that target and source share, and average over sources.

    :math:`\hat X = Z (A^\top A + \lambda n I)^{-1} A^\top (X - \bar X) + \bar X` with A (n, s) and Z the
    square roots of the shares that each of the s shared genes has of the counts of all of them, centered and
    scaled in the source and in the target by themselves, which removes what the platforms detect more or
    less of; X is the source's expression of the genes that are asked for.

    Parameters
    ----------
    target
        Cells to predict. Its embedding is not used, nor are those of its genes that are among ``genes``.
    sources
        Cells that measured the genes; those that share fewer than 3 other genes are passed over.
    genes
        (G,) names.

    Returns
    -------
    (n, G) float32 in the sources' unit, at least 0; NaN for a gene without such a source.

    Notes
    -----
    Time grows with s²·(20,000 + s) per source and n·s·G; memory beyond the result with s².
    """
    asked, known = set(genes), set(target.genes)
    n = target.expression.shape[0]
    total, count = np.zeros((n, len(genes)), np.float32), np.zeros(len(genes))
    for source in sources:
        shared = [g for g in source.genes if g in known and g not in asked]
        at = {g: i for i, g in enumerate(source.genes)}
        there = np.array([i for i, g in enumerate(genes) if g in at], np.int64)
        if len(shared) < FEWEST_SHARED or not len(there):
            continue
        fitted = _evenly(source.expression.shape[0], FITTED)
        a = stabilize(source.expression[fitted][:, [at[g] for g in shared]])
        y = source.expression[fitted][:, [at[genes[i]] for i in there]].toarray().astype(np.float64)
        own = {g: i for i, g in enumerate(target.genes)}
        x = target.expression[:, [own[g] for g in shared]]
        mean, scale = _moments(stabilize(x[_evenly(n, FITTED)]))
        center, width = _moments(a)
        a, level = (a - center) / width, y.mean(0)
        with single_threaded():
            gram = a.T @ a + PENALTY * len(a) * np.eye(len(shared))
            weights = np.linalg.solve(gram, a.T @ (y - level))
            for rows in blocks(n, _BLOCK):
                found = (stabilize(x[rows]) - mean) / scale @ weights + level
                total[rows, there] += np.maximum(found, 0)
        count[there] += 1
    with np.errstate(invalid="ignore"):
        return np.where(count > 0, total / count, np.nan).astype(np.float32)


def shared_space(
    target: Source, source: Source, leave_out: Sequence[str]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Shared genes of target (n, s) and source (m, s) as `regress` scales them; s may be 0."""
    out, known = set(leave_out), set(target.genes)
    shared = [g for g in source.genes if g in known and g not in out]
    made = []
    for one in (target, source):
        at = {g: i for i, g in enumerate(one.genes)}
        x = stabilize(one.expression[:, [at[g] for g in shared]])
        mean, scale = _moments(x)
        made.append((x - mean) / scale)
    return made[0], made[1]


def _moments(x: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation of the columns; infinite where one is constant, so that it counts as 0."""
    scale = x.std(0)
    return x.mean(0), np.where(scale > 1e-8, scale, np.inf)


def _evenly(n: int, most: int) -> NDArray[np.int64]:
    return np.unique(np.linspace(0, n - 1, min(n, most)).astype(np.int64)) if n else np.zeros(0, np.int64)
