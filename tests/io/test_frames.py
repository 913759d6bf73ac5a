"""Positions that are local to a field of view or a sample are found by the data and refused, or cut."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from lloki import io
from lloki.errors import LlokiWarning

Make = Callable[..., AnnData]


def in_fields(good: Make, column: str = "fov", n: int = 800) -> tuple[AnnData, np.ndarray]:
    """Cells of 16 fields, positions within them, and their true positions."""
    adata = good(n)
    true = np.asarray(adata.obsm["spatial"])
    at = np.minimum((true / 125).astype(int), 3)
    adata.obs[column] = pd.Categorical([f"f{i}" for i in at[:, 0] * 4 + at[:, 1]])
    adata.obsm["spatial"] = true - at * 125.0
    return adata, true


def check(adata: AnnData, **options: str) -> io.SliceCheck:
    (found, *_) = io.check_slices([adata], samples=["s"], **options)
    return found


@pytest.mark.parametrize("slot", ["global", "spatial_fov", "obs"])
@pytest.mark.parametrize("column", ["fov", "tile_no", "anything"])
def test_local_positions_are_refused_naming_column_and_true_positions(
    good: Make, column: str, slot: str
) -> None:
    adata, true = in_fields(good, column)
    if slot == "obs":
        adata.obs["CenterX_global_px"], adata.obs["CenterY_global_px"] = 8.3 * true[:, 0], -8.3 * true[:, 1]
    else:
        adata.obsm[slot] = true / 0.12
    (error,) = check(adata).errors
    assert f"obs['{column}']" in error
    assert (
        "obs['CenterX_global_px'] and obs['CenterY_global_px']" if slot == "obs" else f"obsm['{slot}']"
    ) in error
    adata.obsm["spatial"] = true
    assert check(adata).ok


def test_fields_of_view_without_true_positions(good: Make) -> None:
    adata, true = in_fields(good)
    (error,) = check(adata).errors
    assert "obs['fov']" in error
    adata.obsm["spatial"] = true
    assert check(adata).ok


def test_fields_of_two_sections_side_by_side_are_no_local_positions(good: Make) -> None:
    adata, true = in_fields(good)
    adata.obs["section"] = np.repeat(["a", "b"], 400)
    adata.obsm["spatial"] = true + np.where(adata.obs["section"] == "a", 0, 3000.0)[:, None]
    assert check(adata).ok
    assert check(adata, slice_key="section").ok


def test_cell_types_lie_on_one_another_and_are_no_fields(good: Make) -> None:
    adata = good(800)
    centers = {"Exc": (0.0, 0.0), "Inh": (9.0, 0.0), "Oligo": (0.0, 9.0)}
    near = np.array([centers[t] for t in adata.obs["cell_type"]])
    adata.obsm["X_umap"] = near + np.random.default_rng(0).normal(0, 1, near.shape)
    found = check(adata)
    assert found.ok
    assert not found.warnings


@pytest.mark.parametrize("name", ["batch", "donor", "core", "ROI", "slide", "orig.ident"])
def test_sections_on_one_another_are_reported(good: Make, name: str) -> None:
    adata = good(400)
    adata.obs[name] = np.repeat(["a", "b"], 200)
    assert any(f"slice_key={name!r}" in message for message in check(adata).warnings)
    adata.obsm["spatial"][200:] += 5000
    assert not check(adata).warnings


@pytest.mark.parametrize("system", ["own", "global"])
def test_two_samples_in_one_table_of_spatialdata(good: Make, tmp_path, system: str) -> None:
    geopandas = pytest.importorskip("geopandas")
    spatialdata = pytest.importorskip("spatialdata")
    from spatialdata.models import ShapesModel, TableModel
    from spatialdata.transformations import Identity

    adata = good(160)
    xy = np.asarray(adata.obsm.pop("spatial"))
    adata.obs["region"] = pd.Categorical(np.repeat(["one", "two"], 80))
    adata.obs["instance_id"] = np.tile(np.arange(80), 2)
    shapes = {
        name: ShapesModel.parse(
            geopandas.GeoDataFrame({"radius": np.full(80, 5.0)}, geometry=geopandas.points_from_xy(*part.T)),
            transformations={name if system == "own" else "global": Identity()},
        )
        for name, part in (("one", xy[:80]), ("two", xy[80:]))
    }
    options = {"region": ["one", "two"], "region_key": "region", "instance_key": "instance_id"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table = TableModel.parse(adata.copy(), **options)
        spatialdata.SpatialData(shapes=shapes, tables={"table": table}).write(tmp_path / "two.zarr")
        nowhere = adata.copy()
        nowhere.obsm["spatial"] = np.full((160, 2), np.nan)
        table = TableModel.parse(nowhere, **options)
        spatialdata.SpatialData(shapes=shapes, tables={"table": table}).write(tmp_path / "nan.zarr")
    for file in ("two.zarr", "nan.zarr"):
        (found,) = io.check_slices([tmp_path / file])
        assert "2 samples, each in its own coordinates: one, two" in found.errors[0]
        assert "--slice-key region" in found.errors[0]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", LlokiWarning)
            slices = io.read_slices([tmp_path / file], slice_key="region")
        np.testing.assert_allclose(np.concatenate([s.obsm["spatial"] for s in slices]), xy)


def test_a_tilted_section_with_true_positions_and_layers_is_not_local(good: Make) -> None:
    adata = good(400)
    rng = np.random.default_rng(0)
    truth = rng.uniform(0, 1, (400, 2)) * [3000, 300]
    angle = np.deg2rad(30)  # bands of layers then have boxes that lie on one another
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    adata.obs["layer"] = pd.Categorical(np.digitize(truth[:, 1], [100, 200]).astype(str))
    adata.obsm["spatial_true"], adata.obsm["spatial"] = truth, truth @ turn + 50
    (found,) = io.check_slices([adata])
    assert found.errors == []
