"""SpatialData stores: the one table that annotates cells, with a centroid for each."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData

from lloki import keys
from lloki.errors import InputError, MissingExtraError
from lloki.io._overlap import on_one_another
from lloki.io.units import unit_of

OWN_FRAMES = "lloki_own_frames"  # in uns: the column of regions, each in coordinates of its own
_FEW = 20  # cells from which a correlation says anything
_LOOKED_AT = 2_000
_SAME = 0.98  # correlation of an axis with itself in another frame
_ELEMENTS = frozenset({"tables", "shapes", "labels", "points", "images"})


def is_spatial_data(attrs: Mapping[str, Any], present: set[str]) -> bool:
    """Whether a store is SpatialData rather than AnnData, by its root's attributes or its groups."""
    return "spatialdata_attrs" in attrs or ("obs" not in present and bool(present & _ELEMENTS))


def read_spatial_data(path: Path) -> AnnData:
    """Table of a SpatialData store, with centroids in ``obsm['spatial']``.

    Parameters
    ----------
    path
        The ``.zarr`` folder. It must hold one table, or one named ``"table"``.

    Returns
    -------
    AnnData
        The table. Coordinates it has already are kept; otherwise they are the centroids of the shapes, labels
        or points that each of its rows annotates, in the coordinate system ``"global"`` where the element has
        it.

    Raises
    ------
    MissingExtraError
        If the package ``spatialdata`` is absent.
    InputError
        If there is no table, more than one to choose from, or rows without a centroid.
    """
    try:
        import spatialdata
    except ImportError as error:
        raise MissingExtraError("spatialdata", "spatialdata", f"Reading SpatialData ({path})") from error

    data = spatialdata.read_zarr(path)
    names = list(data.tables)
    if len(names) != 1 and "table" not in names:
        what = f"holds several tables ({', '.join(names)})" if names else "holds no table of counts"
        hint = (
            "Write the table of cells alone: sdata.tables[NAME].write_h5ad(...)."
            if names
            else "Aggregate first."
        )
        raise InputError(what, where=str(path), slot="tables", hint=hint)
    table: AnnData = data.tables[names[0] if len(names) == 1 else "table"]
    own = table.obsm.get(keys.SPATIAL)
    if own is None or not _finite(own):
        try:
            table.obsm[keys.SPATIAL] = _centroids(data, table, str(path))
        except InputError:
            if own is None:
                raise  # else the table's own positions are reported with their cells
    _mark_own_frames(data, table)
    _describe(data, table, own is not None and table.obsm[keys.SPATIAL] is own)
    return table


def _describe(data: Any, table: AnnData, own: bool) -> None:
    """Note technology and unit in ``uns``, and positions whose axes are swapped against outlines."""
    columns, notes = {str(name) for name in table.obs.columns}, []
    if keys.TECHNOLOGY not in table.uns and keys.TECHNOLOGY not in columns:
        found = _technology(dict(getattr(data, "attrs", {})), table)
        if found:
            table.uns[keys.TECHNOLOGY] = found
            notes.append(f"the technology is {found}, by the store's own columns")
    # readers of these two instruments put micrometers into the table, and pixels into the images' frame
    if own and not unit_of(table) and table.uns.get(keys.TECHNOLOGY) in ("Xenium", "MERSCOPE"):
        table.uns[keys.UNIT] = "micrometre"
    swapped = _swapped(data, table)
    if swapped:
        notes.append(
            f"x and y of obsm['{keys.SPATIAL}'] seem to be swapped: exchanged, they fit {swapped}; as it is, "
            "the slice is mirrored"
        )
    if notes:
        table.uns[keys.NOTES] = [*table.uns.get(keys.NOTES, ()), *notes]


# Columns that an instrument's table of cells has, as readers of spatialdata-io keep them.
_SIGNS: dict[str, tuple[frozenset[str], ...]] = {
    "Xenium": (
        frozenset({"transcript_counts", "control_probe_counts"}),
        frozenset({"nucleus_area", "cell_area"}),
    ),
    "MERSCOPE": (frozenset({"fov", "volume"}), frozenset({"EntityID", "volume"})),
    "CosMx": (
        frozenset({"fov", "cell_ID"}),
        frozenset({"fov", "CenterX_global_px"}),
        frozenset({"fov", "Mean.DAPI"}),
    ),
    "Stereo-seq": (frozenset({"dnbCount"}),),
}


def _technology(attrs: Mapping[str, Any], table: AnnData) -> str:
    """Name of the instrument by the store's attributes or by the columns of its table; ``""`` if unknown."""
    stated = " ".join(str(value) for value in attrs.values()).lower()
    columns = {str(name) for name in table.obs.columns}
    for name, signs in _SIGNS.items():
        if name.lower() in stated or any(sign <= columns for sign in signs):
            return name
    return ""


def _swapped(data: Any, table: AnnData) -> str:
    """Outlines that positions fit with x and y exchanged only."""
    xy = table.obsm.get(keys.SPATIAL)
    if xy is None or not _finite(xy) or table.n_obs < _FEW:
        return ""
    xy = np.asarray(xy, float)[:, :2]
    link = table.uns.get("spatialdata_attrs") or {}
    regions = (
        table.obs[link["region_key"]].astype(str).unique() if link.get("region_key") in table.obs else []
    )
    for region in regions:
        outlines = data.get(region)
        if not hasattr(outlines, "geometry"):
            continue
        rows = np.flatnonzero((table.obs[link["region_key"]].astype(str) == region).to_numpy())
        rows = rows[:: max(1, len(rows) // _LOOKED_AT)]
        known = outlines.reindex(table.obs[link["instance_key"]].iloc[rows])
        centers = known.geometry.centroid
        there = np.stack([centers.x, centers.y], axis=1)
        if np.isfinite(there).all() and len(rows) >= _FEW:
            r = np.corrcoef(xy[rows].T, there.T)[:2, 2:]
            return f"the outlines {region!r}" if _crossed(r) else ""
    return ""


def _crossed(r: np.ndarray) -> bool:
    """Whether each axis of one follows the other axis of the other."""
    return bool(min(r[0, 1], r[1, 0]) > _SAME and max(abs(r[0, 0]), abs(r[1, 1])) < _SAME)


def _finite(positions: Any) -> bool:
    try:
        return bool(np.isfinite(np.asarray(positions, float)).all())
    except (TypeError, ValueError):
        return False


def _mark_own_frames(data: Any, table: AnnData) -> None:
    """Note in ``uns`` the column of regions without a common coordinate system, or on one another."""
    link = table.uns.get("spatialdata_attrs")
    if not link or link["region_key"] not in table.obs:
        return
    codes, regions = pd.factorize(table.obs[link["region_key"]].astype(str))
    if len(regions) < 2:
        return
    apart = not _common([data[region] for region in regions if region in data])
    xy = table.obsm.get(keys.SPATIAL)
    if apart or (xy is not None and _finite(xy) and on_one_another(np.asarray(xy, float), codes)):
        table.uns[OWN_FRAMES] = link["region_key"]


def _centroids(data: Any, table: AnnData, where: str) -> np.ndarray:
    """(n, 2|3) centroids of the elements that the rows annotate; NaN is never returned."""
    from spatialdata import get_centroids

    link = table.uns.get("spatialdata_attrs")
    if not link:
        raise InputError(
            "has no coordinates and does not name the element that its rows annotate",
            where=where,
            slot="tables",
            hint="Put centroids into the table's obsm['spatial'].",
        )
    regions = table.obs[link["region_key"]].astype(str).to_numpy()
    instances = table.obs[link["instance_key"]]
    out: np.ndarray | None = None
    names = np.unique(regions)
    common = _common([data[region] for region in names])
    for region in names:
        system = common or _system(data[region])
        points = get_centroids(data[region], coordinate_system=system).compute()
        rows = np.flatnonzero(regions == region)
        found = points.reindex(instances.iloc[rows]).to_numpy(dtype=float)
        if np.isnan(found).any():
            raise InputError(
                f"{int(np.isnan(found).any(axis=1).sum()):,} rows have no element in {region!r}",
                where=where,
                slot=f"tables.obs['{link['instance_key']}']",
                hint="Match table and elements first: spatialdata.match_table_to_element.",
            )
        out = np.full((table.n_obs, found.shape[1]), np.nan) if out is None else out
        out[rows] = found
    if out is None:
        raise InputError("has no rows", where=where, slot="tables", hint="Give a table of cells.")
    return out


def _common(elements: list[Any]) -> str:
    """Coordinate system that all elements have, ``"global"`` if it is one; ``""`` if there is none."""
    from spatialdata.transformations import get_transformation

    systems = [set(map(str, get_transformation(element, get_all=True))) for element in elements]
    shared = sorted(set.intersection(*systems)) if systems else []
    return "global" if "global" in shared else next(iter(shared), "")


def _system(element: Any) -> str:
    from spatialdata.transformations import get_transformation

    systems = list(get_transformation(element, get_all=True))
    return "global" if "global" in systems or not systems else str(systems[0])
