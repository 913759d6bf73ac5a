"""Cells as tokens: which genes, and in which bin the value of each lies.

Quantiles are computed as numpy does, to the last bit: a value on an edge is the rule, not the exception, and
which side of the edge it falls on decides its bin.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import torch
from numba import njit
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from lloki.embed._transformer import uniform
from lloki.errors import ConfigError, InputError

Floats = NDArray[np.floating[Any]]
Doubles = NDArray[np.float64]
Longs = NDArray[np.int64]
Whole = NDArray[np.integer[Any]]


class Uniform(Protocol):
    """A source of draws from [0, 1), such as `numpy.random.Generator`."""

    def random(self, size: int, /) -> Doubles: ...


def bin_values(values: ArrayLike, n_bins: int, rng: Uniform) -> Longs:
    """Bin the values of one cell by its own quantiles, as scGPT does.

    The edges are the quantiles of the non-zero values at ``linspace(0, 1, n_bins - 1)``. A value that lies on
    several edges at once, as counts do, gets one of the bins between them at random.

    Parameters
    ----------
    values
        (g,) values of a cell, none negative. float32 and float64 may differ where a value is next to an edge.
    n_bins
        Number of bins, that for zero included; 3 or more.
    rng
        Draws one number for each non-zero value, whether it needs it or not.

    Returns
    -------
    bins
        (g,) from 1 to ``n_bins - 1``; 0 where the value is 0.

    Raises
    ------
    InputError
        If a value is negative or not finite.
    """
    values = np.asarray(values)
    if values.dtype not in (np.float32, np.float64):
        values = values.astype(np.float64)
    if n_bins < 3:
        raise ConfigError(f"n_bins must be 3 or more, got {n_bins}")
    bad = ~(np.isfinite(values) & (values >= 0))
    if bad.any():
        raise InputError(f"{bad.sum()} of {values.size} values are negative or not finite")
    bins = np.zeros(values.shape, dtype=np.int64)
    (at,) = np.nonzero(values)
    if len(at):
        bins[at] = _bin(values[at], _quantiles(n_bins), np.asarray(rng.random(len(at))))
    return bins


class Tokens:
    """The tokens of cells, made batch by batch.

    Parameters
    ----------
    counts
        (n, g) canonical; stored zeros are no tokens.
    ids
        (g,) id of each gene in the vocabulary, -1 if it is not there.
    keys
        (n,) of the cells, for their draws.
    n_bins
        Number of bins.
    max_tokens
        Most tokens of a cell, ``<cls>`` among them. Of a cell with more the highest bins are kept; which of
        the genes in the last bin that fits is drawn from the cell's key.

    Attributes
    ----------
    lengths
        (n,) tokens of each cell, ``<cls>`` among them: 1 for a cell that has no gene of the vocabulary.
    ids
        (m,) ids of those of the panel's genes that are in the vocabulary. Batches number genes by this list,
        from 1; number 0 is ``<cls>``.
    """

    def __init__(
        self, counts: sparse.csr_matrix, ids: Longs, keys: NDArray[np.uint64], *, n_bins: int, max_tokens: int
    ) -> None:
        self._counts, self._all_ids, self._keys = counts, ids, keys
        self._quantiles, self._n_bins = _quantiles(n_bins), n_bins
        self.ids = ids[ids >= 0]
        self._number = np.where(ids >= 0, np.cumsum(ids >= 0), 0).astype(np.int32)
        found = _count(counts.indptr, counts.indices, counts.data, self._number)
        self.lengths: Longs = np.minimum(found + 1, max_tokens)

    def batch(self, rows: Longs) -> tuple[torch.Tensor, ...]:
        """Make the tokens of some cells: numbers of genes, bins, and which are no padding, each (b, t).

        The bin of ``<cls>`` and of padding is ``n_bins``, one past the last. The third is left out where
        there is no padding.
        """
        lengths = self.lengths[rows]
        shape = len(rows), int(lengths.max())
        genes, bins = np.zeros(shape, np.int32), np.full(shape, self._n_bins, np.int32)
        x, panel = self._counts, (self._number, self._all_ids)
        _fill(rows, x.indptr, x.indices, x.data, *panel, self._keys, self._quantiles, genes, bins)
        made = torch.from_numpy(genes), torch.from_numpy(bins)
        if lengths.min() == lengths.max():
            return made
        return *made, torch.from_numpy(np.arange(shape[1]) < lengths[:, None])


def _quantiles(n_bins: int) -> Doubles:
    return np.linspace(0, 1, n_bins - 1)


@njit(nogil=True, cache=True)
def _bin(values: Floats, quantiles: Doubles, draws: Doubles) -> Longs:
    """Bin non-zero values; arithmetic and types are those of ``numpy.quantile`` and ``digitize``."""
    n, ordered = len(values), np.sort(values)
    edges = np.empty(len(quantiles))
    for i in range(len(quantiles)):
        place = (n - 1) * quantiles[i]
        low = min(int(np.floor(place)), n - 1)
        a, b = ordered[low], ordered[min(low + 1, n - 1)]
        step, t = b - a, place - low
        edges[i] = b - step * (1 - t) if t >= 0.5 else a + step * t
    bins = np.empty(n, np.int64)
    for j in range(n):
        reached = np.searchsorted(edges, values[j], side="right")  # edges at or below the value
        passed = np.searchsorted(edges, values[j], side="left")  # edges below it
        bins[j] = int(np.ceil(draws[j] * (passed - reached) + reached))
    return bins


@njit(nogil=True, cache=True)
def _count(indptr: Whole, indices: Whole, data: Floats, number: Whole) -> Longs:
    """Count each row's values that are not zero and in a gene that has a number."""
    found = np.zeros(len(indptr) - 1, np.int64)
    for i in range(len(found)):
        for p in range(indptr[i], indptr[i + 1]):
            found[i] += data[p] != 0 and number[indices[p]] > 0
    return found


@njit(nogil=True, cache=True)
def _fill(
    rows: Longs,
    indptr: Whole,
    indices: Whole,
    data: Floats,
    number: Whole,
    ids: Longs,
    keys: NDArray[np.uint64],
    quantiles: Doubles,
    genes: Whole,
    bins: Whole,
) -> None:
    """Write numbers and bins of each row's genes, from the second column on."""
    most = genes.shape[1] - 1
    for i in range(len(rows)):
        start, stop = indptr[rows[i]], indptr[rows[i] + 1]
        key = keys[rows[i]]
        at = np.empty(stop - start, np.int64)
        values = np.empty(stop - start, data.dtype)
        draws = np.empty(stop - start)
        n = 0
        for p in range(start, stop):
            j = indices[p]
            if data[p] != 0 and number[j] > 0:
                at[n], values[n] = j, data[p]
                draws[n] = uniform(key, np.uint64(2 * ids[j]))
                n += 1
        if n == 0:
            continue
        binned = _bin(values[:n], quantiles, draws[:n])
        least = 0.0
        if n > most:
            for m in range(n):  # bins first, then a draw: what is kept are the `most` largest
                draws[m] = binned[m] + uniform(key, np.uint64(2 * ids[at[m]] + 1))
            least = np.sort(draws[:n])[n - most]
        filled = 0
        for m in range(n):
            if filled < most and (n <= most or draws[m] >= least):
                filled += 1
                genes[i, filled], bins[i, filled] = number[at[m]], binned[m]
