"""Rows scaled to length one, as the neighbor search reads them: sparse, or dense without a copy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from lloki._parallel import blocks
from lloki.errors import InputError
from lloki.graph.knn import _kernels

Keys = NDArray[np.int64]
ANY, POSITIVE = -(1 << 41), 1  # least cosine of a neighbor, in multiples of 2^-40
BLOCK = 4096  # rows of a dense array whose lengths are found at a time


@dataclass(frozen=True)
class Found:
    """Neighbors as the ranking writes them.

    Attributes
    ----------
    index
        (n, k), -1 where there are fewer.
    cosine
        (n, k) cosines in multiples of 2^-40; (0, k) where they are not wanted.
    least
        `ANY`, or `POSITIVE` where cells that share no gene are no neighbors.
    """

    index: NDArray[np.int32]
    cosine: NDArray[np.int64]
    least: int


def rows_of(x: sparse.spmatrix | sparse.sparray | NDArray[np.floating]) -> SparseRows | DenseRows:
    """Take cells (n, g) as they come; `InputError` if they are not two-dimensional or not finite."""
    if getattr(x, "ndim", 0) != 2:
        raise InputError(
            "neighbors need a two-dimensional array",
            hint="Pass cells in rows, genes or dimensions in columns.",
        )
    return SparseRows(x) if sparse.issparse(x) else DenseRows(np.asarray(x))


def whole(g: int) -> float:
    """Scale to whole numbers, with |round(S u)| <= S + sqrt(g)/2 <= 4096.

    By Cauchy-Schwarz no partial sum of a product of two rows then exceeds 2^24.
    """
    return float(4096.0 - np.ceil(np.sqrt(g) / 2))


class SparseRows:
    """Rows of a sparse matrix, in a copy: float64, canonical CSR; zero rows stay zero."""

    def __init__(self, x: sparse.spmatrix | sparse.sparray) -> None:
        unit = sparse.csr_matrix(x, dtype=np.float64, copy=True)
        unit.sum_duplicates()
        if not np.isfinite(unit.data).all():
            raise InputError(
                "the rows hold NaN or infinite values", hint="Remove or replace these values first."
            )
        unit.eliminate_zeros()
        row = np.repeat(np.arange(unit.shape[0]), np.diff(unit.indptr))
        # Dividing by the largest value first keeps the squares of very large or very small rows in range.
        top = np.zeros(unit.shape[0])
        np.maximum.at(top, row, np.abs(unit.data))
        unit.data /= top[row]
        unit.data /= np.sqrt(np.bincount(row, unit.data**2, minlength=unit.shape[0]))[row]
        self.unit, self.n = unit, unit.shape[0]
        self._indptr, self._genes = unit.indptr.astype(np.uint64), unit.indices.view(np.uint32)
        self._rounded = np.rint(unit.data * whole(unit.shape[1])).astype(np.float32)

    def block(self, rows: slice | NDArray[np.intp]) -> NDArray[np.float32]:
        """Return rows rounded to whole numbers, dense: only ever a block of them."""
        listed = np.arange(rows.start, rows.stop) if isinstance(rows, slice) else rows
        out = np.zeros((len(listed), self.unit.shape[1]), np.float32)
        _kernels.fill(listed.astype(np.uint64), self._indptr, self._genes, self._rounded, out)
        return out

    def rank(self, others: SparseRows, keys: Keys, found: Found, rows: slice) -> None:
        """Order the candidates of some rows, which are ``others``, by exact cosine into ``found``."""
        _kernels.rank(
            self._indptr,
            self._genes,
            self.unit.data,
            self.unit.shape[1],
            others._indptr,
            others._genes,
            others.unit.data,
            keys,
            found.index,
            found.cosine,
            found.least,
            rows.start,
            rows.stop,
        )

    def full(self) -> NDArray[np.intp]:
        """Rows that are not empty."""
        return np.flatnonzero(np.diff(self.unit.indptr))


class DenseRows:
    """Rows of a dense array, which is not copied: 16 bytes a row beside it."""

    def __init__(self, x: NDArray[np.floating]) -> None:
        self.x = np.ascontiguousarray(x if x.dtype in (np.float32, np.float64) else x.astype(np.float64))
        self.n, g = self.x.shape
        self._top, self._length = np.ones(self.n), np.ones(self.n)
        for rows in blocks(self.n, BLOCK):
            part = self.x[rows]
            if not np.isfinite(part).all():
                raise InputError(
                    "the rows hold NaN or infinite values", hint="Remove or replace these values first."
                )
            top = np.abs(part).max(axis=1, initial=0).astype(np.float64)  # see above
            self._top[rows] = np.where(top > 0, top, 1)
            length = np.sqrt(np.square(part / self._top[rows, None]).sum(axis=1))
            self._length[rows] = np.where(top > 0, length, 1)
        self._scale = whole(g)

    def block(self, rows: slice | NDArray[np.intp]) -> NDArray[np.float32]:
        """Return rows rounded to whole numbers."""
        return np.rint(self._unit(rows) * self._scale).astype(np.float32)

    def rank(self, others: DenseRows, keys: Keys, found: Found, rows: slice) -> None:
        """Order the candidates of some rows, which are ``others``, by exact cosine into ``found``."""
        _kernels.rank_dense(
            self.x,
            self._top,
            self._length,
            others.x,
            others._top,
            others._length,
            keys,
            found.index,
            found.cosine,
            found.least,
            rows.start,
            rows.stop,
        )

    def full(self) -> NDArray[np.intp]:
        """Rows that are not empty."""
        return np.flatnonzero(self.x.any(axis=1))

    def _unit(self, rows: slice | NDArray[np.intp]) -> NDArray[np.float64]:
        return self.x[rows] / self._top[rows, None] / self._length[rows, None]
