"""Positions in three coordinates that lie in a plane."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def in_plane(positions: NDArray[np.floating]) -> NDArray[np.float64] | None:
    """Coordinates in the plane of a section, and the distance along its normal.

    Parameters
    ----------
    positions
        (n, 3), of one section. Whichever axis is flat, and whether the section is tilted, does not matter.

    Returns
    -------
    (n, 3): the first two in the plane, near to the two axes that it is most along, the third across it.
    A plane across an axis has its coordinates as they are. ``None`` where the cells fill a volume: where they
    spread along the normal by more than the typical distance between cells in the plane.
    """
    xyz = np.asarray(positions, np.float64)
    if xyz.ndim != 2 or xyz.shape[1] != 3 or len(xyz) < 3 or not np.isfinite(xyz).all():
        return None
    flat = np.flatnonzero(np.ptp(xyz, axis=0) == 0)
    if len(flat):
        return xyz[:, [*(axis for axis in range(3) if axis != flat[-1]), flat[-1]]]
    centered = xyz - xyz.mean(0)
    variance, axes = np.linalg.eigh(centered.T @ centered / len(xyz))
    thick, short, long = np.sqrt(12.0 * np.maximum(variance, 0.0))  # sides of a box of this spread
    if thick > np.sqrt(short * long / len(xyz)) or not short > 1e-6 * long:
        return None
    across = int(np.abs(axes[:, 0]).argmax())
    normal = axes[:, 0] * np.sign(axes[across, 0])
    if normal[across] > 1 - 1e-12:
        normal = np.eye(3)[across]
    first, second = (axis for axis in range(3) if axis != across)
    u = np.eye(3)[first] - normal[first] * normal
    u /= np.linalg.norm(u)
    v = np.eye(3)[second] - normal[second] * normal - u[second] * u
    v /= np.linalg.norm(v)
    return xyz @ np.stack([u, v, normal], axis=1)
