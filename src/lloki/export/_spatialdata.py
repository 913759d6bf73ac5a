"""SpatialData: a store of its own, or a table added to the stores that the slices were read from."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lloki import keys
from lloki.errors import InputError, MissingExtraError
from lloki.export._cells import Cells
from lloki.export._tables import file_names
from lloki.io import atomic

TABLE = "lloki"  # of results, in a store
ALIGNED_SYSTEM = "lloki_aligned"  # coordinate system of the common frame
_RIGID = 0.02  # largest error of an affine transformation, of the extent, that still stands for an alignment


def write(cells: Cells, out: Path, *, in_place: bool = False) -> list[Path]:
    """Write ``lloki.zarr``, or add results to the stores of the slices.

    Raises
    ------
    MissingExtraError
        If the package ``spatialdata`` is absent.
    InputError
        There are no positions; in place: a slice was not read from a store that is still there, or its cells
        are not found in it.
    """
    try:
        import spatialdata
    except ImportError as error:
        raise MissingExtraError("spatialdata", "spatialdata", "Export to SpatialData") from error
    if in_place:
        return _into_stores(cells, spatialdata)
    if keys.SPATIAL not in cells.adata.obsm:
        raise InputError("is absent", slot=f"obsm[{keys.SPATIAL!r}]", hint="Add the positions of the cells.")
    path = out / "lloki.zarr"
    with atomic(path) as temporary:
        _new_store(cells).write(temporary)
    return [path]


def _new_store(cells: Cells) -> Any:
    """Make a store with circles and a table for every slice, of the genes that it measured."""
    import geopandas
    from shapely import points
    from spatialdata import SpatialData
    from spatialdata.models import ShapesModel, TableModel
    from spatialdata.transformations import Identity

    shapes, tables, xy, at = {}, {}, cells.positions(), 0
    regions = file_names(cells.rows, taken=[ALIGNED_SYSTEM])
    for name, rows in cells.rows.items():
        own, region = xy[at : at + len(rows)], regions[name]
        transformations = {region: Identity()}
        aligned = transformation(cells.adata, rows, own)
        if aligned is not None:
            transformations[ALIGNED_SYSTEM] = aligned
        radius = _radius(own)
        frame = geopandas.GeoDataFrame({"radius": radius}, geometry=points(own), index=np.arange(len(rows)))
        shapes[region] = ShapesModel.parse(frame, transformations=transformations)
        counts, genes = cells.counts(name)
        obs = cells.obs.iloc[at : at + len(rows)].copy()
        obs["lloki_region"], obs["lloki_instance"] = (
            pd.Categorical([region] * len(rows)),
            np.arange(len(rows)),
        )
        table = ad.AnnData(counts, obs=_writable(obs), var=pd.DataFrame(index=pd.Index(genes, dtype=object)))
        for key in (keys.UMAP, keys.JOINT, keys.METAGENES):
            if key in cells.adata.obsm:
                table.obsm[key] = np.asarray(cells.adata.obsm[key])[rows]
        table.obsm[keys.SPATIAL] = own
        _color(table, cells)
        tables[f"table_{region}" if len(cells.rows) > 1 else "table"] = TableModel.parse(
            table, region=region, region_key="lloki_region", instance_key="lloki_instance"
        )
        at += len(rows)
    return SpatialData(shapes=shapes, tables=tables)


def transformation(adata: ad.AnnData, rows: NDArray, xy: NDArray) -> Any:
    """Find the affine transformation from a slice's positions to those in the common frame.

    None where the slice is not aligned, or was deformed by more than 2 % of its extent.
    """
    if keys.ALIGNED not in adata.obsm:
        return None
    from spatialdata.transformations import Affine

    to = np.asarray(adata.obsm[keys.ALIGNED], float)[rows][:, :2]
    known = np.isfinite(to).all(axis=1)
    if known.sum() < 3:
        return None
    ones = np.column_stack([xy[known], np.ones(known.sum())])
    fitted, *_ = np.linalg.lstsq(ones, to[known], rcond=None)
    error = float(np.abs(ones @ fitted - to[known]).max())
    if error > _RIGID * float(np.ptp(to[known], axis=0).max()):
        return None
    matrix = np.eye(3)
    matrix[:2, :2], matrix[:2, 2] = fitted[:2].T, fitted[2]
    return Affine(matrix, input_axes=("x", "y"), output_axes=("x", "y"))


def _radius(xy: NDArray) -> float:
    """Half of the typical distance between neighboring cells."""
    area = float(np.prod(np.ptp(xy, axis=0))) if len(xy) > 1 else 1.0
    return max(0.5 * (area / max(len(xy), 1)) ** 0.5, 1e-6)


def _into_stores(cells: Cells, spatialdata: Any) -> list[Path]:
    """Add the table of results to each store; all are checked before the first is written."""
    plans = [_plan(cells, name, spatialdata) for name in cells.rows]
    for path in dict.fromkeys(path for path, _ in plans):
        parts = [table for other, table in plans if other == path]
        data = spatialdata.read_zarr(path)
        attrs = parts[0].uns["spatialdata_attrs"]
        table = ad.concat(parts, merge="same")
        regions = sorted(set(table.obs[attrs["region_key"]].astype(str)))
        table.obs[attrs["region_key"]] = pd.Categorical(table.obs[attrs["region_key"]].astype(str))
        for column in table.obs:
            if table.obs[column].dtype == object:
                table.obs[column] = pd.Categorical(table.obs[column].astype(str))
        from spatialdata.models import TableModel

        parsed = TableModel.parse(
            table,
            region=regions if len(regions) > 1 else regions[0],
            region_key=attrs["region_key"],
            instance_key=attrs["instance_key"],
        )
        if TABLE in data.tables:
            data.delete_element_from_disk(TABLE)
            del data.tables[TABLE]
        place = path / "tables" / TABLE
        shutil.rmtree(place, ignore_errors=True)  # what a call that was killed left, which cannot be read
        data.tables[TABLE] = parsed
        try:
            data.write_element(TABLE)
        except BaseException:
            shutil.rmtree(place, ignore_errors=True)
            raise
        _align_elements(data, parts, regions)
    return list(dict.fromkeys(path for path, _ in plans))


def _align_elements(data: Any, parts: list[ad.AnnData], regions: list[str]) -> None:
    """Give the elements of aligned slices the common frame as a coordinate system."""
    from spatialdata.transformations import get_transformation, set_transformation

    for part in parts:
        aligned = part.uns.get("aligned")
        if aligned is None or part.obs[part.uns["spatialdata_attrs"]["region_key"]].nunique() != 1:
            continue
        region = str(part.obs[part.uns["spatialdata_attrs"]["region_key"]].iloc[0])
        if region not in data:
            continue
        if part.uns["frame"] == "global" and "global" in get_transformation(data[region], get_all=True):
            from spatialdata.transformations import Sequence

            aligned = Sequence([get_transformation(data[region], "global"), aligned])
        set_transformation(data[region], aligned, to_coordinate_system=ALIGNED_SYSTEM, write_to_sdata=data)


def _plan(cells: Cells, name: str, spatialdata: Any) -> tuple[Path, ad.AnnData]:
    """Find the store of a slice, and make the table of its results, row for row of the store's own."""
    about = cells.adata.uns.get(keys.UNS, {})
    sources = dict(zip(map(str, about.get("slices", [])), map(str, about.get("sources", []))))
    path = Path(sources.get(name, ""))
    if not sources.get(name) or not path.is_dir():
        raise InputError(
            "was not read from a SpatialData store that is still there",
            where=name,
            hint="Leave --in-place (in_place) out, which writes a store of its own.",
        )
    data = spatialdata.read_zarr(path)
    names = [n for n in data.tables if n != TABLE]
    table = data.tables["table" if "table" in names else names[0]] if names else None
    link = table.uns.get("spatialdata_attrs") if table is not None else None
    if not link:
        raise InputError("holds no table that annotates an element", where=str(path), slot="tables")
    assert table is not None
    at = np.flatnonzero(np.isin(cells.all_rows, cells.rows[name]))
    ids = cells.obs[keys.CELL_ID].iloc[at].astype(str)
    keyed = [table.obs_names.astype(str)]
    if keys.CELL_ID in table.obs:
        keyed.insert(0, pd.Index(table.obs[keys.CELL_ID].astype(str)))
    found = next((index for index in keyed if index.is_unique and ids.isin(index).all()), None)
    if found is None:
        raise InputError(
            f"{name}: its cells are not found in the table by their ids",
            where=str(path),
            slot="tables",
            hint="Leave --in-place (in_place) out, which writes a store of its own.",
        )
    rows = found.get_indexer(pd.Index(ids))
    # without a name: the table of a MERSCOPE is indexed by "EntityID", and has a column of that name
    obs = pd.DataFrame(index=table.obs_names[rows].rename(None))
    for key in (link["region_key"], link["instance_key"]):
        obs[key] = table.obs[key].to_numpy()[rows]
    results = [cells.slice_key, *cells.groups, keys.LABEL_CONFIDENCE, keys.DOMAIN_CONFIDENCE]
    for column in results:
        if column in cells.obs:
            values = cells.obs[column].iloc[at]
            obs[column] = values.astype(str).to_numpy() if column == cells.slice_key else values.to_numpy()
    made = ad.AnnData(np.zeros((len(obs), 0), np.float32), obs=_writable(obs))
    for key in (keys.JOINT, keys.UMAP, keys.METAGENES):
        if key in cells.adata.obsm:
            made.obsm[key] = np.asarray(cells.adata.obsm[key])[cells.rows[name]]
    made.uns["spatialdata_attrs"] = dict(link)
    xy = cells.positions()[at]
    aligned = transformation(cells.adata, cells.rows[name], xy)
    if aligned is not None:
        made.uns["aligned"] = aligned
    # where the reader took positions from: the table, or centroids in the coordinate system "global"
    made.uns["frame"] = "own" if keys.SPATIAL in table.obsm else "global"
    return path, made


def _writable(obs: pd.DataFrame) -> pd.DataFrame:
    """Text as categories, which every version writes."""
    obs = obs.copy()
    for column in obs:
        if obs[column].dtype == object:
            obs[column] = pd.Categorical(obs[column].astype(str).where(obs[column].notna()))
    return obs


def _color(table: ad.AnnData, cells: Cells) -> None:
    for column in [*cells.groups, cells.slice_key]:
        if column in table.obs and isinstance(table.obs[column].dtype, pd.CategoricalDtype):
            color = cells.colors(column)
            table.uns[f"{column}_colors"] = [color[c] for c in table.obs[column].cat.categories.astype(str)]
