"""What a search among other cells finds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Doubles = NDArray[np.float64]

_NARROWEST = 1e-6  # least width of a kernel, where all neighbors are copies of the cell


@dataclass(frozen=True, eq=False)
class Near:
    """The k nearest of m cells for each of n others, nearest first.

    Attributes
    ----------
    index
        (n, k) int64.
    distance
        (n, k) 1 - cosine, from 0 to 2, ascending in rows.
    size
        m.
    """

    index: NDArray[np.int64]
    distance: Doubles
    size: int

    def weights(self, width: Doubles | None = None) -> sparse.csr_matrix:
        r"""Weight of each neighbor, (n, m) CSR float64.

        :math:`w_{ij} = \exp(-\tfrac12 (d_{ij} / h_i)^2)`, with the width :math:`h_i` (n,) by default the
        distance of the k-th neighbor: the nearest counts at most :math:`\sqrt e` times as much as the
        farthest, wherever cells lie densely or not.
        """
        h = self.width if width is None else width
        w = np.exp(-0.5 * (self.distance / np.maximum(h, _NARROWEST)[:, None]) ** 2)
        n, k = self.index.shape
        pointers = np.arange(0, n * k + 1, k)
        return sparse.csr_matrix((w.ravel(), self.index.ravel(), pointers), shape=(n, self.size))

    @property
    def width(self) -> Doubles:
        """(n,) distance of the last neighbor."""
        return np.asarray(self.distance[:, -1])
