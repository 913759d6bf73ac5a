"""Nearest cells of one set among those of another, in a joint embedding."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from lloki._parallel import blocks, map_ordered
from lloki._progress import Advance
from lloki._vectors import unit_rows
from lloki.errors import ConfigError

Doubles = NDArray[np.float64]

_CELLS = 2**24  # similarities held at a time by a thread: 64 MB of float32
_SPARE = 8  # candidates beyond k, so that rounding of the first pass does not push out true neighbors
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


def nearest(
    queries: NDArray[np.floating],
    targets: NDArray[np.floating],
    k: int,
    *,
    exclude: NDArray[np.integer] | None = None,
    threads: int | None = None,
    advance: Advance | None = None,
) -> Near:
    """Find each query's k most similar targets by cosine, exactly.

    Parameters
    ----------
    queries, targets
        (n, d) and (m, d), finite; lengths do not matter.
    k
        Neighbors, at least 1; all m where there are fewer.
    exclude
        (n,) the target that must not be its own neighbor, where queries are targets too.
    threads
        Threads; the result does not depend on it.
    advance
        Called with numbers of queries done, which sum to n.

    Raises
    ------
    ConfigError
        If k is below 1, or there is no target.

    Notes
    -----
    A first pass in float32 picks k + 8 candidates, ranked again in float64; equal ones by lower index. Time
    grows with n·m·d, memory with 20·n·k bytes and 64 MB a thread.
    """
    own = 0 if exclude is None else 1
    k = min(k, len(targets) - own)
    if k < 1:
        raise ConfigError(f"neighbors need k of at least 1 and a cell to find, got {len(targets)} cells")
    left, right = (unit_rows(np.asarray(x, np.float32)) for x in (queries, targets))
    n, m = len(left), len(right)
    index, distance = np.empty((n, k), np.int64), np.empty((n, k))

    def search(rows: slice) -> int:
        similar = left[rows] @ right.T
        if exclude is not None:
            similar[np.arange(len(similar)), exclude[rows]] = -np.inf
        c = min(k + _SPARE, m - own)
        found = (
            np.argpartition(-similar, c - 1, axis=1)[:, :c]
            if c < m
            else np.tile(np.arange(m), (len(similar), 1))
        )
        found = np.sort(found, axis=1)
        exact = np.einsum("nd,nkd->nk", left[rows].astype(np.float64), right[found].astype(np.float64))
        order = np.argsort(-exact, axis=1, kind="stable")[:, :k]
        index[rows] = np.take_along_axis(found, order, 1)
        distance[rows] = np.maximum(1 - np.take_along_axis(exact, order, 1), 0)
        return len(similar)

    size = int(np.clip(_CELLS // max(m, 1), 16, 1024))
    for done in map_ordered(search, blocks(n, size), threads=threads):
        if advance is not None:
            advance(done)
    return Near(index, distance, m)
