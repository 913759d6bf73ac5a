"""Unit of positions, where a file states it, and the distance between cells that makes it plausible."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from anndata import AnnData
from scipy.spatial import cKDTree

from lloki import keys

MICROMETERS = frozenset({"micrometre", "micrometer", "micron", "microns", "um", "µm", "μm"})
_ALSO = ("xy_unit", "unit", "spatial_units", "coordinate_unit")
_SAMPLE = 20_000  # cells whose nearest neighbor is looked up


def unit_of(adata: AnnData) -> str:
    """Look up the unit of ``obsm["spatial"]`` in ``uns``, micrometers under one name; ``""`` if unknown."""
    for name in (keys.UNIT, *_ALSO):
        value = adata.uns.get(name)
        if isinstance(value, str) and value.strip():
            return known_unit(value)
    inner = adata.uns.get("spatial")
    if isinstance(inner, Mapping) and isinstance(inner.get("unit"), str):
        return known_unit(inner["unit"])
    return ""


def known_unit(name: str) -> str:
    """One name for micrometers; other names as they are."""
    first = name.strip().split(" ")[0].lower()
    return "micrometre" if first in MICROMETERS else name.strip()


def symbol(unit: str) -> str:
    """Write a unit as it stands behind a number: ``"µm"``, or its name."""
    return "µm" if unit in MICROMETERS else unit.split(" (")[0]


def widest(positions: np.ndarray) -> np.ndarray:
    """(n, 2 or 3) → (n, 2): the two axes along which positions extend most, in their order.

    A section in three coordinates may be flat along any of them.
    """
    if positions.shape[1] == 2 or not len(positions):
        return positions[:, :2]
    return positions[:, np.sort(np.argsort(np.ptp(positions, axis=0), kind="stable")[-2:])]


def median_spacing(positions: np.ndarray) -> float:
    """Median distance from a cell to the nearest other, in the plane; NaN for fewer than two cells.

    Parameters
    ----------
    positions
        (n, 2 or 3); cells at one place count once. Of more than 20,000 cells, 20,000 spread over the file.
    """
    plane = np.unique(widest(positions), axis=0)
    if len(plane) < 2:
        return float("nan")
    some = plane[:: max(1, len(plane) // _SAMPLE)]
    return float(np.median(cKDTree(plane).query(some, k=2)[0][:, 1]))
