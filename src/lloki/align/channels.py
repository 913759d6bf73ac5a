"""What of an embedding is compared: its directions with the most structure in space."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

Doubles = NDArray[np.float64]

_LEAST_VARIANCE = 1e-6  # of the largest: directions below hold rounding, and whitening would blow it up
_MOST = 3.0  # standard deviations


@dataclass(frozen=True, eq=False)
class Cells:
    """Cells of one slice that take part in the comparison.

    Attributes
    ----------
    rows
        (n,) where they are in the slice as given.
    xy
        (n, 2) positions.
    channels
        (n, K) coordinates in the compared directions: uncorrelated over both slices, unit variance.
    spacing
        Typical distance of neighboring cells, in the unit of ``xy``.
    """

    rows: NDArray[np.int64]
    xy: Doubles
    channels: Doubles
    spacing: float

    def take(self, keep: NDArray[np.bool_]) -> Cells:
        """Return some of the cells."""
        return Cells(self.rows[keep], self.xy[keep], self.channels[keep], self.spacing)

    def scaled(self, factor: float) -> Cells:
        """Return the same cells in another unit."""
        return Cells(self.rows, self.xy * factor, self.channels, self.spacing * factor)


def spatial_channels(
    embeddings: tuple[Doubles, Doubles],
    positions: tuple[Doubles, Doubles],
    *,
    channels: int,
    n_neighbors: int,
) -> tuple[Doubles, Doubles]:
    r"""Project both slices on the directions of the embedding in which neighbors in space are most alike.

    With both embeddings centered and whitened by their mean covariance, directions are the leading
    eigenvectors of :math:`\tfrac12(Y^\top \bar Y + \bar Y^\top Y)/n`, :math:`\bar Y` being the means over
    each cell's spatial neighbors: the eigenvalues are Moran's I. A cell is not among its own neighbors, so
    noise that is every cell's own does not count as structure. Values are cut off at 3 standard deviations:
    a direction that is a rare cell type's alone would else let a few cells decide.

    Parameters
    ----------
    embeddings
        (n, d) and (m, d). Each is centered by itself: an offset between slices does not matter.
    positions
        (n, 2) and (m, 2).
    channels
        At most so many directions.
    n_neighbors
        Spatial neighbors of a cell.

    Returns
    -------
    (n, K) and (m, K) with 0 < K <= channels, or with no columns where nothing varies, or nothing that does
    has structure in space.

    Notes
    -----
    Time grows with (n + m)·d·(d + n_neighbors).
    """
    centered = [e - e.mean(0) for e in embeddings]
    values, vectors = np.linalg.eigh(sum(e.T @ e / len(e) for e in centered) / 2)
    # compared with the embedding's own size: a constant column leaves rounding, not zero
    size = max(float((np.asarray(e) ** 2).sum(1).mean()) for e in embeddings)
    keep = values > max(_LEAST_VARIANCE * values[-1], 1e-10 * size)
    if not keep.any():
        return centered[0][:, :0], centered[1][:, :0]
    white = [e @ (vectors[:, keep] / np.sqrt(values[keep])) for e in centered]
    alike = np.zeros((white[0].shape[1],) * 2)
    for y, xy in zip(white, positions):
        near = cKDTree(xy).query(xy, min(n_neighbors + 1, len(xy)))[1][:, 1:]
        means = np.zeros_like(y)
        for k in range(near.shape[1]):  # one neighbor at a time: memory stays that of the embedding
            means += y[near[:, k]]
        means /= max(near.shape[1], 1)
        alike += (y.T @ means + means.T @ y) / (4 * len(y))
    moran, directions = np.linalg.eigh(alike)
    chosen = np.argsort(-moran)[:channels]
    chosen = chosen[moran[chosen] > 0]
    first, second = (np.clip(y @ directions[:, chosen], -_MOST, _MOST) for y in white)
    return first, second
