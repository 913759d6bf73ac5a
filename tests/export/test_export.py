"""Exports: what other programs read is what the run found, cell by cell."""

from __future__ import annotations

import csv
import gzip
import json
import warnings

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import io as mtx
from scipy import sparse

import lloki
from lloki import keys
from lloki.errors import ConfigError, InputError, LlokiWarning
from lloki.fp import log_normalize

RIGID = np.array([[0.0, -1.0], [1.0, 0.0]])  # a quarter turn


def made() -> ad.AnnData:
    """Slices x and m, in mixed rows; names that both have, so the run prefixed them; m did not measure A."""
    rng, n = np.random.default_rng(0), 40
    where = np.tile(["x", "m"], n)
    ids = [f"{i // 2:019d}" for i in range(2 * n)]
    obs = pd.DataFrame(index=[f"{w}:{i}" for w, i in zip(where, ids)])
    obs["slice"], obs["sample"] = pd.Categorical(where), pd.Categorical(where)
    obs["technology"] = pd.Categorical(np.where(where == "x", "Xenium", "MERFISH"))
    obs[keys.CLUSTER] = pd.Categorical(rng.choice(["0", "1"], 2 * n))
    obs[keys.LABEL] = pd.Categorical(rng.choice(["T cell", "unknown"], 2 * n))
    obs[keys.LABEL_CONFIDENCE] = rng.random(2 * n)
    counts = rng.poisson(1.0, (2 * n, 3)).astype(np.float32)
    counts[where == "m", 0] = 0
    adata = ad.AnnData(sparse.csr_matrix(counts), obs=obs, var=pd.DataFrame(index=["A", "B", "C"]))
    xy = 100 * rng.random((2 * n, 2))
    adata.obsm = {"X_umap": rng.normal(size=(2 * n, 2)), "spatial": xy, keys.JOINT: rng.random((2 * n, 4))}
    adata.obsm[keys.ALIGNED] = xy @ RIGID.T + (5, 7)
    states = rng.random((2 * n, 2))
    states[:3] = 0
    adata.obsm[keys.METAGENES] = states
    adata.varm[keys.MEASURED] = np.array([[True, False], [True, True], [True, True]])
    adata.uns[keys.UNS] = {"slices": ["x", "m"], "sources": ["", ""]}
    return adata


def test_csv_has_every_cell_with_its_own_id_as_text(tmp_path):
    adata = made()
    (path,) = lloki.io.export(adata, to="csv", out=tmp_path)
    table = pd.read_csv(path, index_col="cell", dtype={"cell_id": str})
    assert set(table.index) == set(adata.obs_names)
    assert (table.index == table["slice"] + ":" + table["cell_id"]).all()
    same = adata[table.index]
    np.testing.assert_allclose(table[["x", "y"]], same.obsm["spatial"])
    np.testing.assert_allclose(table[["x_aligned", "y_aligned"]], same.obsm[keys.ALIGNED])
    np.testing.assert_allclose(table[["umap1", "umap2"]], same.obsm["X_umap"])
    assert list(table[keys.CLUSTER].astype(str)) == list(same.obs[keys.CLUSTER])
    np.testing.assert_allclose(table["metagene2"], same.obsm[keys.METAGENES][:, 1])


def test_xenium_explorer_reads_the_instruments_ids_of_xenium_slices(tmp_path):
    adata = made()
    written = lloki.io.export(adata, to="xenium-explorer", out=tmp_path)
    assert {p.relative_to(tmp_path).as_posix() for p in written} == {
        "x/cluster.csv",
        "x/label.csv",
        "x/program.csv",
    }
    with (tmp_path / "x" / "cluster.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["cell_id", "group"]
    expected = {n.removeprefix("x:"): c for n, c in adata.obs[keys.CLUSTER].items() if n.startswith("x:")}
    assert {r["cell_id"]: r["group"] for r in rows} == expected
    programs = pd.read_csv(tmp_path / "x" / "program.csv", dtype=str)
    assert len(programs) == 40 - 2  # cells that use no program have no group
    adata.obs["technology"] = "MERFISH"
    with pytest.raises(InputError, match="--slice"):
        lloki.io.export(adata, to="xenium-explorer", out=tmp_path / "b")
    assert len(lloki.io.export(adata, to="xenium-explorer", out=tmp_path / "b", slices="m")) == 3


def test_the_id_that_a_reader_kept_wins(tmp_path):
    adata = made()
    adata.obs[keys.CELL_ID] = pd.Categorical([f"aaaa{i}-1" if i % 3 else None for i in range(adata.n_obs)])
    (path,) = lloki.io.export(adata, to="csv", out=tmp_path)
    table = pd.read_csv(path, index_col="cell", dtype={"cell_id": str}).loc[adata.obs_names]
    assert table["cell_id"].iloc[1] == "aaaa1-1"
    assert table["cell_id"].iloc[0] == adata.obs_names[0].removeprefix("x:")
    adata.obs[keys.CELL_ID] = np.where(np.arange(adata.n_obs) % 3, 7.0, np.nan)  # as after a merge of tables
    (path,) = lloki.io.export(adata, to="csv", out=tmp_path)
    table = pd.read_csv(path, index_col="cell", dtype={"cell_id": str}).loc[adata.obs_names]
    assert table["cell_id"].iloc[1] == "7"


def test_the_ids_for_xenium_explorer_are_those_in_the_instruments_table(shared_data, tmp_path):
    folder = shared_data / "vendor" / "sfe_xenium"
    with gzip.open(folder / "cells.csv.gz", "rt") as file:
        own = [row["cell_id"] for row in csv.DictReader(file)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LlokiWarning)
        (cells,) = lloki.io.read_slices(folder)
    cells.obs[keys.CLUSTER] = pd.Categorical(["0"] * cells.n_obs)
    cells.obs_names = "sfe_xenium:" + cells.obs_names  # as in a run with a slice of the same names
    (path,) = lloki.io.export(cells, to="xenium-explorer", out=tmp_path)
    with path.open() as file:
        assert sorted(row["cell_id"] for row in csv.DictReader(file)) == sorted(own)


@pytest.mark.parametrize("to", ["xenium-explorer", "vitessce", "seurat"])
def test_slices_whose_names_are_one_file_name_do_not_replace_one_another(tmp_path, to):
    adata = made()
    names = {"x": "cells", "m": "Cells"}
    adata.obs["slice"] = adata.obs["slice"].cat.rename_categories(names)
    adata.uns[keys.UNS]["slices"] = ["cells", "Cells"]
    lloki.io.export(adata, to=to, out=tmp_path / "out" / "here", slices=["cells", "Cells"])
    files = [p.relative_to(tmp_path / "out").as_posix().lower() for p in (tmp_path / "out").rglob("*")]
    assert len(set(files)) == len(files)
    adata.obs["slice"] = adata.obs["slice"].cat.rename_categories({"cells": "..", "Cells": "."})
    adata.uns[keys.UNS]["slices"] = ["..", "."]
    lloki.io.export(adata, to=to, out=tmp_path / "out" / "again", slices=["..", "."])
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"here", "again"}


def test_cellxgene_has_layouts_colors_and_no_zero_for_a_gene_that_was_not_measured(tmp_path):
    adata = made()
    (path,) = lloki.io.export(adata, to="cellxgene", out=tmp_path)
    found = ad.read_h5ad(path)
    same = adata[found.obs_names]
    assert set(found.obsm) == {"X_umap", "X_tissue", "X_aligned"}
    assert isinstance(found.X, sparse.csc_matrix)
    lacks = (found.obs["slice"] == "m").to_numpy()
    assert np.isnan(found[lacks, "A"].X.toarray()).all()
    for name in ("x", "m"):
        rows = (found.obs["slice"] == name).to_numpy()
        genes = ["A", "B", "C"] if name == "x" else ["B", "C"]
        expected = log_normalize(same[rows, genes].X).toarray()
        np.testing.assert_allclose(found[rows, genes].X.toarray(), expected, rtol=1e-6)
        shift = found.obsm["X_tissue"][rows] * (1, -1) - same.obsm["spatial"][rows]
        np.testing.assert_allclose(shift, np.broadcast_to(shift[0], shift.shape), atol=1e-3)
    spans = [found.obsm["X_tissue"][(found.obs["slice"] == s).to_numpy(), 0] for s in ("x", "m")]
    assert spans[0].max() < spans[1].min()  # beside one another
    assert list(found.uns[f"{keys.CLUSTER}_colors"]) == ["#0072b2", "#e69f00"]
    for column in ("slice", "technology", keys.LABEL, "lloki_program"):
        assert len(found.uns[f"{column}_colors"]) == len(found.obs[column].cat.categories)


def test_vitessce_points_at_what_is_in_its_stores(tmp_path):
    adata = made()
    written = lloki.io.export(adata, to="vitessce", out=tmp_path)
    assert [p.name for p in written] == ["vitessce.json", "vitessce-x.json", "vitessce-m.json"]
    for path, genes in zip(written, (["B", "C"], ["A", "B", "C"], ["B", "C"])):
        config = json.loads(path.read_text())
        (file,) = config["datasets"][0]["files"]
        store = tmp_path / file["url"].rsplit("/", 1)[1]
        found = ad.read_zarr(store)
        assert list(found.var_names) == genes
        assert np.isfinite(found.X).all()
        for entry in file["options"]["obsEmbedding"]:
            assert entry["path"].removeprefix("obsm/") in found.obsm
        for entry in file["options"]["obsSets"]:
            assert entry["path"].removeprefix("obs/") in found.obs
        used = {(k, v) for part in config["layout"] for k, v in part["coordinationScopes"].items()}
        assert all(v in config["coordinationSpace"][k] for k, v in used)
        width = {(p["x"], p["y"]): (p["w"], p["h"]) for p in config["layout"]}
        assert all(x + w <= 12 and y + h <= 12 for (x, y), (w, h) in width.items())


def test_seurat_gets_counts_of_the_measured_genes_and_all_tables_in_one_order(tmp_path):
    adata = made()
    (script,) = lloki.io.export(adata, to="seurat", out=tmp_path / "seurat")
    folder = script.parent
    for name, genes in (("x", ["A", "B", "C"]), ("m", ["B", "C"])):
        with gzip.open(folder / name / "features.tsv.gz", "rt") as file:
            assert file.read().split() == genes
        with gzip.open(folder / name / "barcodes.tsv.gz", "rt") as file:
            cells = file.read().split()
        with gzip.open(folder / name / "matrix.mtx.gz") as file:
            counts = mtx.mmread(file).toarray().T
        np.testing.assert_array_equal(counts, adata[cells, genes].X.toarray())
    metadata = pd.read_csv(folder / "metadata.csv", index_col=0, dtype={"cell_id": str})
    for other in ("umap.csv", "lloki.csv", "positions.csv"):
        assert list(pd.read_csv(folder / other, index_col=0).index) == list(metadata.index)
    for file in ("slices.csv", "metadata.csv", "positions.csv"):
        assert file in script.read_text()


def test_what_cannot_be_exported_is_an_error_before_anything_is_written(tmp_path):
    with pytest.raises(ConfigError, match="Did you mean 'cellxgene'"):
        lloki.io.export(made(), to="cellxgen", out=tmp_path / "a")
    with pytest.raises(ConfigError, match="in_place"):
        lloki.io.export(made(), to="csv", out=tmp_path / "a", in_place=True)
    with pytest.raises(InputError, match="no cell of slice 'y'"):
        lloki.io.export(made(), to="csv", out=tmp_path / "a", slices="y")
    with pytest.raises(InputError, match="does not exist"):
        lloki.io.export(tmp_path / "run", to="csv", out=tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_a_new_spatialdata_store_has_shapes_tables_and_the_common_frame(tmp_path):
    spatialdata = pytest.importorskip("spatialdata", reason="the package spatialdata is not installed")
    adata = made()
    (path,) = lloki.io.export(adata, to="spatialdata", out=tmp_path)
    data = spatialdata.read_zarr(path)
    assert set(data.tables) == {"table_x", "table_m"}
    table = data.tables["table_m"]
    same = adata[table.obs_names]
    assert list(table.var_names) == ["B", "C"]
    assert list(table.obs[keys.LABEL].astype(str)) == list(same.obs[keys.LABEL].astype(str))
    centers = spatialdata.get_centroids(data["m"], coordinate_system="m").compute()
    at = centers.loc[table.obs["lloki_instance"]].to_numpy()
    np.testing.assert_allclose(at, same.obsm["spatial"])
    aligned = spatialdata.get_centroids(data["m"], coordinate_system="lloki_aligned").compute()
    np.testing.assert_allclose(aligned.loc[table.obs["lloki_instance"]], same.obsm[keys.ALIGNED], atol=1e-6)


def test_results_go_back_into_the_store_by_original_id(tmp_path):
    spatialdata = pytest.importorskip("spatialdata", reason="the package spatialdata is not installed")
    geopandas = pytest.importorskip("geopandas")
    from shapely import points
    from spatialdata.models import ShapesModel, TableModel

    adata = made()
    adata = adata[(adata.obs["slice"] == "x").to_numpy()].copy()
    adata.varm[keys.MEASURED] = np.ones((3, 1), bool)
    ids = np.array([n.removeprefix("x:") for n in adata.obs_names])
    order = np.random.default_rng(1).permutation(len(ids))  # the store has its own order, and a cell more
    names = [*ids[order], "extra"]
    frame = geopandas.GeoDataFrame({"radius": 1.0}, geometry=points(np.zeros((len(names), 2))), index=names)
    own = ad.AnnData(
        np.ones((len(names), 2), np.float32), obs=pd.DataFrame(index=pd.Index(names, name="instance"))
    )
    own.obs["region"], own.obs["instance"] = pd.Categorical(["cells"] * len(names)), names
    own.obsm["spatial"] = np.vstack([adata.obsm["spatial"][order], [0, 0]])
    store = tmp_path / "in.zarr"
    spatialdata.SpatialData(
        shapes={"cells": ShapesModel.parse(frame)},
        tables={"table": TableModel.parse(own, region="cells", region_key="region", instance_key="instance")},
    ).write(store)
    adata.uns[keys.UNS] = {"slices": ["x"], "sources": [str(store)]}
    (store / "tables" / "lloki").mkdir()  # as a call that was killed may leave it
    for _ in range(2):  # a second time replaces the table
        assert lloki.io.export(adata, to="spatialdata", out=tmp_path / "o", in_place=True) == [store]
    data = spatialdata.read_zarr(store)
    assert set(data.tables) == {"table", "lloki"}
    table = data.tables["lloki"]
    expected = adata[[f"x:{n}" for n in table.obs_names]]
    assert list(table.obs[keys.CLUSTER].astype(str)) == list(expected.obs[keys.CLUSTER])
    np.testing.assert_allclose(table.obsm[keys.JOINT], expected.obsm[keys.JOINT])
    assert list(table.obs["instance"]) == list(table.obs_names)
    assert "lloki_aligned" in data.coordinate_systems
    adata.uns[keys.UNS]["sources"] = [str(tmp_path / "gone.zarr")]
    with pytest.raises(InputError, match="in-place"):
        lloki.io.export(adata, to="spatialdata", out=tmp_path / "o", in_place=True)
