"""Log-normalized expression, standardized gene by gene, without a dense copy of all cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, sparse

from lloki._parallel import blocks
from lloki.benchmark.measured import Measured
from lloki.evaluate import normalized

Doubles = NDArray[np.float64]
BLOCK = 4096  # cells that are dense at a time


@dataclass(frozen=True, eq=False)
class Standardized:
    """Expression of one data set as (x - mean) / sd of each gene within it.

    Attributes
    ----------
    x
        (n, g) log-normalized expression.
    mean, inverse
        (g,) mean of each gene and 1 / standard deviation; 0 for a gene that is the same in all cells.
    genes
        (g,) names.
    """

    x: sparse.csr_matrix
    mean: Doubles
    inverse: Doubles
    genes: tuple[str, ...]

    @classmethod
    def of(cls, data: Measured, genes: Sequence[str] | None = None) -> Standardized:
        """Normalize over some of the genes (default all), and find their moments over the cells."""
        data = data if genes is None else data.only(genes)
        x = normalized(data.counts)
        n = max(x.shape[0], 1)
        mean = np.asarray(x.sum(axis=0, dtype=np.float64)).ravel() / n
        squares = np.asarray(x.multiply(x).sum(axis=0, dtype=np.float64)).ravel() / n
        sd = np.sqrt(np.maximum(squares - mean**2, 0))
        inverse = np.divide(1, sd, out=np.zeros_like(sd), where=sd > 1e-6)
        return cls(x, mean, inverse, data.genes)

    def columns(self, genes: Sequence[str]) -> NDArray[np.int64]:
        """Where genes are among the columns."""
        at = {gene: i for i, gene in enumerate(self.genes)}
        return np.array([at[gene] for gene in genes], np.int64)

    def dense(self, rows: slice | NDArray[np.integer]) -> Doubles:
        """Standardized expression of some cells: (m, g)."""
        x: Doubles = (self.x[rows].toarray() - self.mean) * self.inverse
        return x

    def dot(self, weights: Doubles) -> Doubles:
        """Multiply all cells by (g, d) weights: (n, d)."""
        scaled = weights * self.inverse[:, None]
        out: Doubles = np.asarray(self.x @ scaled) - self.mean @ scaled
        return out

    def covariance(self, other: Doubles | None = None) -> Doubles:
        """Covariance of the genes with the (n, d) columns of ``other``, or among themselves: (g, d or g)."""
        n, g = self.x.shape
        total = np.zeros((g, g if other is None else other.shape[1]))
        for rows in blocks(n, BLOCK):
            x = self.dense(rows)
            total += x.T @ (x if other is None else other[rows])
        return total / max(n, 1)


def principal_axes(covariance: Doubles, n_cells: int, number: int) -> Doubles:
    """Find the loadings of the first principal components by the covariance of genes: (g, d).

    Parameters
    ----------
    covariance
        (g, g).
    n_cells
        From how many cells it is: there are fewer components than cells.
    number
        Components; fewer if there are not as many genes or cells.

    Returns
    -------
    (g, d), the largest component first; of each, the loading that is largest in size is positive.
    """
    g = len(covariance)
    d = max(min(number, g, n_cells - 1), 1)
    _, axes = linalg.eigh(covariance, subset_by_index=[g - d, g - 1])
    axes = axes[:, ::-1]
    largest = axes[np.abs(axes).argmax(axis=0), np.arange(d)]
    out: Doubles = axes * np.where(largest < 0, -1, 1)
    return out
