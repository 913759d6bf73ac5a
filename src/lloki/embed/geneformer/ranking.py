"""A cell as a sentence: its genes in the order of how unusual their expression is."""

from __future__ import annotations

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from scipy import sparse

from lloki.embed._transformer import uniform
from lloki.embed.geneformer.files import CLS, EOS, PAD, Vocabulary

_LARGEST_LOG = 25.0  # e^25 is more than any cell's counts


def linear_scale(expression: sparse.csr_matrix) -> sparse.csr_matrix:
    """Values proportional to counts, from counts or from their logarithm.

    Parameters
    ----------
    expression
        (n, g) counts, or log(1 + x) of normalized counts as LLOKI-FP gives it, at least 0.

    Returns
    -------
    sparse.csr_matrix
        (n, g) float64. A cell's values stay as they are if at least half of its non-zero ones are whole
        numbers, or one is above 25, which no logarithm of a count reaches; of other cells exp(x) - 1 is
        taken. Each cell is judged alone, so that a row does not depend on the others. Cells of counts that
        are mostly fractions below 25 would be taken for logarithms.
    """
    x = sparse.csr_matrix(expression, dtype=np.float64, copy=True)
    x.eliminate_zeros()
    n = x.shape[0]
    cell = np.repeat(np.arange(n), np.diff(x.indptr))
    whole = np.bincount(cell, weights=x.data == np.rint(x.data), minlength=n)
    large = np.bincount(cell, weights=x.data > _LARGEST_LOG, minlength=n) > 0
    logged = ~((2 * whole >= np.diff(x.indptr)) | large)[cell]
    x.data[logged] = np.expm1(x.data[logged])
    return x


def rank_values(
    expression: sparse.csr_matrix, columns: NDArray[np.int64], medians: NDArray[np.float64]
) -> sparse.csr_matrix:
    """Expression of each token over the token's median: what Geneformer ranks by.

    Geneformer takes ``count / cell's total x 10,000 / median``. The total and the 10,000 are the same for all
    genes of a cell and do not change their order: they are left out, and normalized counts do as well.

    Parameters
    ----------
    expression
        (n, g) as for :func:`linear_scale`.
    columns
        (g,) token of each gene, -1 for a gene to be left out. Genes of the same token are added up.
    medians
        (tokens,) non-zero median of each token.

    Returns
    -------
    sparse.csr_matrix
        (n, tokens) float64.
    """
    used = np.flatnonzero(columns >= 0)
    to_token = sparse.csr_matrix(
        (np.ones(len(used)), (used, columns[used])), shape=(len(columns), len(medians)), dtype=np.float64
    )
    x = sparse.csr_matrix(linear_scale(expression) @ to_token)
    x.data /= medians[x.indices]
    return x


class Sentences:
    """The sentences of cells, made batch by batch.

    Parameters
    ----------
    ranked
        (n, tokens) of :func:`rank_values`.
    keys
        (n,) of the cells, for the order of equal values; see :func:`~lloki.embed._transformer.cell_keys`.
    vocabulary
        The model's; says whether sentences are framed by special tokens.
    positions
        Most tokens of a sentence, special ones among them. Of a cell with more the highest values are kept.

    Attributes
    ----------
    cells
        (m,) cells that have a gene of the vocabulary: batches are of these, by their place here.
    lengths
        (m,) tokens of each, special ones among them.
    """

    def __init__(
        self, ranked: sparse.csr_matrix, keys: NDArray[np.uint64], vocabulary: Vocabulary, *, positions: int
    ) -> None:
        self._frame = int(vocabulary.special)
        genes = np.minimum(np.diff(ranked.indptr), positions - 2 * self._frame)
        self.cells = np.flatnonzero(genes)
        self.lengths: NDArray[np.int64] = genes[self.cells].astype(np.int64) + 2 * self._frame
        self._ranked, self._keys, self._tokens = ranked, keys, vocabulary.tokens

    def batch(self, rows: NDArray[np.int64]) -> tuple[torch.Tensor, torch.Tensor]:
        """Make the tokens (b, t) of some cells, and their lengths (b,)."""
        x, keys, lengths = self._ranked[self.cells[rows]], self._keys[self.cells[rows]], self.lengths[rows]
        cell = np.repeat(np.arange(len(rows)), np.diff(x.indptr))
        tokens = x.indices.astype(np.int64)
        # A tie's draw belongs to cell and token, so neither other cells nor the order of genes matter.
        order = np.lexsort((_draws(keys[cell], tokens), -x.data, cell))
        place = np.arange(len(order)) - x.indptr[cell] + self._frame
        fits = place < lengths[cell] - self._frame
        out = np.full((len(rows), lengths.max()), self._tokens[PAD])
        out[cell[fits], place[fits]] = tokens[order][fits]
        if self._frame:
            out[:, 0] = self._tokens[CLS]
            out[np.arange(len(rows)), lengths - 1] = self._tokens[EOS]
        return torch.from_numpy(out), torch.from_numpy(lengths)


@njit(nogil=True, cache=True)
def _draws(keys: NDArray[np.uint64], tokens: NDArray[np.int64]) -> NDArray[np.float64]:
    out = np.empty(len(tokens))
    for i in range(len(tokens)):
        out[i] = uniform(keys[i], tokens[i])
    return out
