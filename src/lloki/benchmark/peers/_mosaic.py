"""Data sets of different panels, brought into an order of their own before anything is drawn or summed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from lloki.benchmark.measured import Measured
from lloki.errors import ConfigError, InputError

Rows = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Mosaic:
    """Slices and a reference, in an order that does not depend on how they were given.

    A gene without a count in a data set is not among its genes: a file may store a gene that was not measured
    as zeros. Of the reference, only genes that some slice has are kept.

    Attributes
    ----------
    slices
        Sorted by content; genes sorted by name, cells by content.
    reference
        Sorted in the same way.
    cells
        Of each sorted slice, the rows of its cells as they were given.
    position
        Of each sorted slice, its place among those given.
    """

    slices: tuple[Measured, ...]
    reference: Measured
    cells: tuple[NDArray[np.int64], ...]
    position: tuple[int, ...]

    @classmethod
    def of(cls, slices: Sequence[Measured], reference: Measured) -> Mosaic:
        """Sort data sets; time and memory grow with the stored counts.

        Raises
        ------
        ConfigError
            If there is no slice.
        InputError
            If a data set has no counts, or the reference has none of the slices' genes.
        """
        if not slices:
            raise ConfigError("there is no slice")
        found = [_sorted(data, where=f"slice {i}") for i, data in enumerate(slices)]
        panels = {gene for data, _, _ in found for gene in data.genes}
        own = [i for i, gene in enumerate(reference.genes) if gene in panels]
        cut = Measured(sparse.csr_matrix(reference.counts[:, own]), tuple(reference.genes[i] for i in own))
        if not own or not cut.counts.nnz:
            raise InputError("no gene of the slices has counts", where="the scRNA-seq reference")
        position = sorted(range(len(found)), key=lambda i: found[i][2])
        return cls(
            tuple(found[i][0] for i in position),
            _sorted(cut, where="the scRNA-seq reference")[0],
            tuple(found[i][1] for i in position),
            tuple(position),
        )

    @property
    def data(self) -> tuple[Measured, ...]:
        """All data sets, the reference last."""
        return (*self.slices, self.reference)

    @property
    def genes(self) -> tuple[str, ...]:
        """Union of the genes of all data sets, sorted."""
        return tuple(sorted({gene for data in self.data for gene in data.genes}))

    def as_given(self, rows: Sequence[NDArray[np.floating]]) -> list[Rows]:
        """Bring the (n, d) rows of the sorted slices into the order of what was given."""
        out: list[Rows] = [np.zeros((0, 0), np.float32)] * len(rows)
        for x, cells, position in zip(rows, self.cells, self.position):
            own = np.empty(x.shape, np.float32)
            own[cells] = x
            out[position] = own
        return out


def _sorted(data: Measured, *, where: str) -> tuple[Measured, NDArray[np.int64], int]:
    """Genes by name and cells by content, the rows that they had, and a number that the content gives."""
    counts = sparse.csr_matrix(data.counts, dtype=np.float32, copy=True)
    counts.eliminate_zeros()
    if not counts.nnz:
        raise InputError("there are no counts", where=where)
    seen = set(np.unique(counts.indices).tolist())
    columns = [i for i in sorted(range(len(data.genes)), key=data.genes.__getitem__) if i in seen]
    counts = sparse.csr_matrix(counts[:, columns])
    counts.sort_indices()
    keys = _content(counts)
    cells = np.argsort(keys, kind="stable").astype(np.int64)
    genes = tuple(data.genes[i] for i in columns)
    return Measured(sparse.csr_matrix(counts[cells]), genes), cells, int(keys.sum(dtype=np.uint64))


def _content(counts: sparse.csr_matrix) -> NDArray[np.uint64]:
    """Give each cell a number by its counts alone, in the exact arithmetic of 64-bit words."""
    factors = np.random.default_rng(0).integers(2**64, size=counts.shape[1], dtype=np.uint64)
    words = counts.data.view(np.uint32).astype(np.uint64) * factors[counts.indices]
    total = np.concatenate([np.zeros(1, np.uint64), np.cumsum(words, dtype=np.uint64)])
    keys: NDArray[np.uint64] = total[counts.indptr[1:]] - total[counts.indptr[:-1]]
    return keys
