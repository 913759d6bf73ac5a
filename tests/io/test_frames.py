"""Positions that are local to a field of view or a sample are found by the data and refused, or cut."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

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


def tissue(n: int = 1600, seed: int = 0) -> np.ndarray:
    """Positions of cells as they lie in tissue: none much nearer to another than the next ones."""
    rng, side = np.random.default_rng(seed), int(np.sqrt(n))
    grid = np.stack(np.divmod(np.arange(n), side), axis=1) + rng.uniform(-0.3, 0.3, (n, 2))
    turn = np.exp(1j * rng.uniform(0.2, 0.6)) * 12.0 * (grid[:, 0] + 1j * grid[:, 1])
    return np.stack([turn.real, turn.imag], axis=1)


def of_tissue(good: Make) -> AnnData:
    adata = good(1600)
    adata.obsm["spatial"] = tissue()
    adata.obs["cell_type"] = pd.Categorical(np.random.default_rng(1).choice(list("abcdefgh"), 1600))
    return adata


@pytest.mark.parametrize("column", ["fov", "Tile", "AOI", "batch", "scan_block", "Image_Position"])
@pytest.mark.parametrize("fields", [4, 16])
def test_stacked_cells_are_refused_whatever_the_column_is_called(
    good: Make, column: str, fields: int
) -> None:
    adata = of_tissue(good)
    side, xy = int(np.sqrt(fields)), adata.obsm["spatial"]
    width = np.ptp(xy, axis=0) / side * 1.001
    at = ((xy - xy.min(axis=0)) // width).astype(int)
    adata.obs[column] = at[:, 0] * side + at[:, 1]
    assert check(adata).errors == []
    adata.obsm["spatial"] = adata.obsm["spatial"] - width * at
    (error,) = check(adata).errors
    assert f"is local to each group of obs['{column}']" in error
    assert f"--slice-key {column}" in error
    sections = io.check_slices([adata], samples=["s"], slice_key=column, n_neighbors=5)
    assert [c.errors for c in sections] == [[]] * len(sections)


@pytest.mark.parametrize("fields", [4, 16, 60])
def test_a_field_of_view_that_is_no_place_is_reported_and_not_used(good: Make, fields: int) -> None:
    adata = of_tissue(good)
    adata.obs["fov"] = np.random.default_rng(2).integers(0, fields, 1600)
    found = check(adata)
    assert found.errors == []
    assert any("obs['fov'] is called a field of view" in text for text in found.warnings)
    plain = of_tissue(good)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LlokiWarning)
        (read,), (want,) = io.read_slices([adata], samples=["s"]), io.read_slices([plain], samples=["s"])
    np.testing.assert_array_equal(read.obsm["spatial"], want.obsm["spatial"])


def test_a_field_of_view_without_evidence_is_refused_with_the_way_out(good: Make) -> None:
    """Positions without any spacing may be local as well as not."""
    adata = good(1600)
    adata.obs["fov"] = np.random.default_rng(2).integers(0, 16, 1600)
    (error,) = check(adata).errors
    assert "If they are no places, remove the column: del adata.obs['fov']" in error
    del adata.obs["fov"]
    assert check(adata).ok


def test_types_clusters_and_planes_are_not_stacked(good: Make) -> None:
    adata = of_tissue(good)
    adata.obs["cluster"] = np.random.default_rng(2).integers(0, 30, 1600)
    assert check(adata).errors == []
    # planes of a thick section: cells of one lie on those of another, and keep apart within
    adata.obs["z_plane"] = np.repeat([0, 1, 2, 3], 400)
    adata.obsm["spatial"] = np.concatenate([tissue(400, seed) for seed in range(4)])
    assert check(adata).errors == []


@pytest.mark.parametrize(
    ("unit", "scale", "doubted"),
    [("micrometre", 1.0, False), ("um", 0.001, True), ("µm", 1000.0, True), ("pixel", 0.001, False)],
)
def test_a_unit_that_the_spacing_contradicts_is_reported(
    good: Make, unit: str, scale: float, doubted: bool
) -> None:
    adata = of_tissue(good)
    adata.obsm["spatial"] = adata.obsm["spatial"] * scale
    adata.uns["spatial_unit"] = unit
    found = check(adata)
    assert 6 * scale < found.spacing < 12 * scale
    assert found.unit == ("pixel" if unit == "pixel" else "micrometre")
    assert any("check the unit" in text for text in found.warnings) == doubted


def test_the_id_of_a_cell_stays_whatever_it_is_called(good: Make) -> None:
    adata = good(80)
    adata.obs_names = ["twice", "twice", *(f"c{i}" for i in range(78))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LlokiWarning)
        (found,) = io.read_slices([adata], samples=["s"])
        (again,) = io.read_slices([found])
    assert list(found.obs["cell_id"][:3]) == ["twice", "twice", "c0"]
    assert list(again.obs["cell_id"]) == list(found.obs["cell_id"])
    adata.obs["cell_id"] = np.arange(80)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LlokiWarning)
        (found,) = io.read_slices([adata], samples=["s"])
    assert list(found.obs["cell_id"]) == list(range(80))


def spatial_store(adata: AnnData, path: Path, centers: np.ndarray) -> None:
    """A store whose one table annotates outlines around these centers."""
    import geopandas
    import spatialdata
    from spatialdata.models import ShapesModel, TableModel
    from spatialdata.transformations import Identity

    n = adata.n_obs
    adata = adata.copy()
    adata.obs["region"], adata.obs["cell"] = pd.Categorical(["cells"] * n), np.arange(n)
    outlines = ShapesModel.parse(
        geopandas.GeoDataFrame({"radius": np.full(n, 5.0)}, geometry=geopandas.points_from_xy(*centers.T)),
        transformations={"global": Identity()},
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table = TableModel.parse(adata, region="cells", region_key="region", instance_key="cell")
        spatialdata.SpatialData(shapes={"cells": outlines}, tables={"table": table}).write(path)


def test_swapped_axes_and_the_instrument_of_a_spatialdata_store(good: Make, tmp_path: Path) -> None:
    pytest.importorskip("spatialdata")
    adata = good(400)
    del adata.uns["technology"]
    adata.obsm["spatial"] = xy = tissue(400) * [1.0, 2.0]
    adata.obs["transcript_counts"], adata.obs["control_probe_counts"] = 9, 0
    spatial_store(adata, tmp_path / "good.zarr", xy / 0.2125)
    spatial_store(adata, tmp_path / "swapped.zarr", xy[:, ::-1] / 0.2125)
    right, wrong = io.check_slices([tmp_path / "good.zarr", tmp_path / "swapped.zarr"])
    assert (right.technology, right.unit, right.errors) == ("Xenium", "micrometre", [])
    assert not any("seem to be swapped" in text for text in right.warnings)
    assert any("x and y of obsm['spatial'] seem to be swapped" in text for text in wrong.warnings)


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
