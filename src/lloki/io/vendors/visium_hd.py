"""Visium HD (10x Genomics), segmented cells: ``segmented_outputs`` of Space Ranger 4 and later.

Its bins, and Visium's spots, are not cells.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lloki.errors import InputError
from lloki.io.vendors._export import Cells, Export, Vendor
from lloki.io.vendors._join import joined
from lloki.io.vendors._tenx import read_matrix


def read(export: Export) -> Cells:
    """Read counts, and the cells' outlines, whose centroids are in pixels of the image."""
    matrix = read_matrix(export.counts)
    names, centers, areas = _outlines(export)
    scale = export.folder / "spatial" / "scalefactors_json.json"
    pixel = export.pixel_size or _micrometers_per_pixel(scale)
    table = pd.DataFrame(
        {"x": centers[:, 0] * pixel, "y": centers[:, 1] * pixel, "cell_area": areas * pixel**2},
        index=pd.Index(names, dtype=object),
    )
    rows, obs, notes = joined(matrix.cells, table, counts=export.counts, cells=export.cells)
    return Cells(
        counts=matrix.counts[rows],
        features=matrix.features,
        obs=obs.drop(columns=["x", "y"]),
        positions=obs[["x", "y"]].to_numpy(float),
        size="cell_area",
        notes=notes,
    )


def _outlines(export: Export) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Names, (m, 2) centroids and (m,) areas of the polygons; cell 7 is called ``cellid_000000007-1``."""
    found = _json(export.cells)
    try:
        names = [f"cellid_{int(f['properties']['cell_id']):09d}-1" for f in found["features"]]
        shapes = [_polygon(np.asarray(_ring(f["geometry"]), float)) for f in found["features"]]
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise export.damaged(export.cells, f"holds no outlines with a cell_id ({error})") from error
    if not names:
        raise export.damaged(export.cells, "holds no cells")
    return names, np.array([center for center, _ in shapes]), np.array([area for _, area in shapes])


def _ring(geometry: Any) -> Any:
    """Outer ring of a polygon, or of the longest of several."""
    rings = geometry["coordinates"]
    return max((part[0] for part in rings), key=len) if geometry["type"] == "MultiPolygon" else rings[0]


def _polygon(ring: np.ndarray) -> tuple[np.ndarray, float]:
    """Centroid and area of a closed ring, by the shoelace formula."""
    origin = ring[0]
    x, y = (ring - origin).T
    cross = x[:-1] * y[1:] - x[1:] * y[:-1]
    area = cross.sum() / 2
    if abs(area) < 1e-9:
        return ring.mean(axis=0), 0.0
    center = np.array([((x[:-1] + x[1:]) * cross).sum(), ((y[:-1] + y[1:]) * cross).sum()]) / (6 * area)
    return origin + center, abs(float(area))


def _micrometers_per_pixel(path: Path) -> float:
    if not path.exists():
        raise InputError(
            "is missing: without it the unit of positions is not known",
            where=str(path),
            hint="Copy it from segmented_outputs/spatial, or give the size of a pixel (--pixel-size).",
        )
    value = _json(path).get("microns_per_pixel")
    if not isinstance(value, (int, float)) or not value > 0:
        raise InputError("has no microns_per_pixel", where=str(path), hint="Give --pixel-size.")
    return float(value)


def _json(path: Path) -> Any:
    try:
        with gzip.open(path, "rt") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
            return json.load(file)
    except (ValueError, EOFError, gzip.BadGzipFile) as error:
        raise InputError(
            f"is not valid JSON ({error})", where=str(path), hint="Export or copy the file again."
        ) from error


VISIUM_HD = Vendor(
    technology="Visium HD",
    counts=("filtered_feature_cell_matrix.h5", "filtered_feature_cell_matrix"),
    cells=("cell_segmentations.geojson",),
    read=read,
    example="segmented_outputs/filtered_feature_cell_matrix.h5 and cell_segmentations.geojson",
)
