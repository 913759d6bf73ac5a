"""What comes out of the reader: the checked slice, its names, its sections; and what stays untouched."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse

from lloki import io, keys
from lloki.errors import ConfigError, InputError, LlokiWarning, MissingExtraError

Good = Callable[..., AnnData]


def write(adata: AnnData, path: Path) -> Path:
    path.parent.mkdir(exist_ok=True, parents=True)
    if path.suffix == ".zarr":
        adata.write_zarr(path)
    else:
        adata.write_h5ad(path)
    return path


def assert_same(first: AnnData, second: AnnData) -> None:
    assert io.content_hash(first) == io.content_hash(second)
    pd.testing.assert_frame_equal(first.obs, second.obs)
    pd.testing.assert_frame_equal(first.var, second.var)
    assert first.uns["lloki"] == second.uns["lloki"]


def test_a_checked_slice(good: Good, tmp_path: Path) -> None:
    given = good()
    (adata,) = io.read_slices([write(given, tmp_path / "brain_1.5.h5ad")])
    assert isinstance(adata.X, sparse.csr_matrix)
    assert adata.X.dtype == np.float32
    assert adata.X.has_canonical_format
    assert (adata.X != given.X).nnz == 0
    assert adata.obsm["spatial"].dtype == np.float64
    assert list(adata.obs_names) == list(given.obs_names)
    row = adata.obs.iloc[0]
    assert row[keys.SLICE] == row[keys.SAMPLE] == "brain_1.5"
    assert row[keys.TECHNOLOGY] == "MERFISH"
    assert row[keys.PANEL].startswith("panel_24g_")
    assert row[keys.TOKEN] == f"MERFISH|{row[keys.PANEL]}"
    assert set(adata.obs[keys.FLAG]) == {""}
    assert list(adata.obs["cell_type"]) == list(given.obs["cell_type"])
    assert adata.uns["lloki"] == {
        "source": str(tmp_path / "brain_1.5.h5ad"),
        "scale": "counts",
        "gene_ids": "symbol",
        "species": "mouse",
        "messages": [],
    }


@pytest.mark.parametrize("options", [{}, {"slice_key": "cell_type"}, {"technology": {"s": "Xenium"}}])
def test_reading_again_changes_nothing(good: Good, tmp_path: Path, options: dict[str, Any]) -> None:
    given = good()
    given.X[4] = 0
    write(given, tmp_path / "s.h5ad")
    with pytest.warns(LlokiWarning):
        once = io.read_slices([tmp_path / "s.h5ad"], n_neighbors=5, **options)
    twice = io.read_slices(once, n_neighbors=5)
    assert len(once) == len(twice)
    for first, second in zip(once, twice):
        assert_same(first, second)


@pytest.mark.parametrize("backed", [False, True])
def test_inputs_are_not_changed(good: Good, tmp_path: Path, backed: bool) -> None:
    given = good()
    given.obs["slice"] = "mine"
    given.obs["cell_type"] = given.obs["cell_type"].cat.add_categories("none")
    given.X = sparse.csr_matrix(given.X.toarray()[:, ::-1])
    given.X.data[:3] = 0  # stored zeros, which the reader drops from its copy
    path = write(given, tmp_path / "s.h5ad")
    stamp, before = path.read_bytes(), given.copy()
    source: Any = path if backed else given
    with pytest.warns(LlokiWarning):
        (adata,) = io.read_slices([source], label_key="cell_type")
    adata.X.data[:] = 7
    adata.obsm["spatial"][:] = 7
    adata.obs["new"] = 1
    assert path.read_bytes() == stamp
    np.testing.assert_array_equal(given.X.data, before.X.data)
    np.testing.assert_array_equal(given.obsm["spatial"], before.obsm["spatial"])
    pd.testing.assert_frame_equal(given.obs, before.obs)
    pd.testing.assert_frame_equal(given.var, before.var)
    assert list(given.uns) == list(before.uns)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_formats_give_the_same_slice(good: Good, tmp_path: Path) -> None:
    import anndata

    paths = [write(good(), tmp_path / "a" / "s.h5ad"), write(good(), tmp_path / "b" / "s.zarr")]
    backed = anndata.read_h5ad(paths[0], backed="r")
    hashes = {io.content_hash(io.read_slices([source])[0]) for source in (*paths, good(), backed)}
    assert len(hashes) == 1


def test_sections_of_one_file(good: Good, tmp_path: Path) -> None:
    given = good(120)
    given.obs["bregma"] = np.repeat([0.26, -0.09, 1.0], 40)
    given.obs["slice"] = np.tile(["x", "y"], 60)
    one, other = write(given, tmp_path / "mouse.h5ad"), write(good(), tmp_path / "other.h5ad")
    with pytest.warns(LlokiWarning, match="no column 'bregma'; slice_key is not used here"):
        slices = io.read_slices([one, other], slice_key="bregma", n_neighbors=5)
    assert [s.obs[keys.SLICE].iloc[0] for s in slices] == ["mouse:-0.09", "mouse:0.26", "mouse:1.0", "other"]
    assert [s.n_obs for s in slices] == [40, 40, 40, 80]
    assert list(slices[1].obs_names) == list(given.obs_names[:40])
    np.testing.assert_array_equal(slices[1].obsm["spatial"], given.obsm["spatial"][:40])
    assert {s.obs[keys.SAMPLE].iloc[0] for s in slices[:3]} == {"mouse"}
    assert len({s.obs[keys.PANEL].iloc[0] for s in slices}) == 1


def test_section_key_may_be_a_name_of_ours(good: Good) -> None:
    given = good()
    given.obs["slice"] = np.repeat(["left", "right"], 40)
    slices = io.read_slices([given], slice_key="slice", samples=["brain"], n_neighbors=5)
    assert [s.obs[keys.SLICE].iloc[0] for s in slices] == ["brain:left", "brain:right"]
    assert set(slices[0].obs["slice_input"]) == {"left"}
    assert slices[0].uns["lloki"]["messages"] == []


def test_names_do_not_depend_on_order(good: Good, tmp_path: Path) -> None:
    paths = [write(good(), tmp_path / folder / "s.h5ad") for folder in ("a", "b")]
    for order in (paths, paths[::-1]):
        names = [s.obs[keys.SLICE].iloc[0] for s in io.read_slices(order)]
        assert names == [f"{path.parent.name}_s" for path in order]


def test_technology_and_panel_from_every_place(good: Good, tmp_path: Path) -> None:
    given = good()
    given.obs["technology"], given.obs["panel"] = "from obs", "brain panel"
    assert io.read_slices([given])[0].obs[keys.TOKEN].iloc[0] == "MERFISH|brain panel"
    del given.uns["technology"]
    assert io.read_slices([given])[0].obs[keys.TOKEN].iloc[0] == "from obs|brain panel"
    chosen = io.read_slices([given], samples=["s"], technology={"s": "Xenium"}, panels=["custom"])[0]
    assert chosen.obs[keys.TOKEN].iloc[0] == "Xenium|custom"


def test_panel_follows_the_genes(good: Good) -> None:
    (whole,) = io.read_slices([good()])
    (fewer,) = io.read_slices([whole[:, :10].copy()])
    (same,) = io.read_slices([good()[:, ::-1].copy()])
    assert fewer.obs[keys.PANEL].iloc[0].startswith("panel_10g_")
    assert same.obs[keys.PANEL].iloc[0] == whole.obs[keys.PANEL].iloc[0]


def test_counts_from_a_layer_of_each_input(good: Good) -> None:
    layered, raw = good(), good()
    layered.layers["counts"] = layered.X.copy()
    raw.raw = raw.copy()
    for adata in (layered, raw):
        adata.X = np.log1p(adata.X.toarray())
    slices = io.read_slices([good(), layered, raw], layers=[None, "counts", "raw"])
    assert len({io.content_hash(slice_) for slice_ in slices}) == 1


def test_other_columns_and_embeddings_are_kept(good: Good) -> None:
    given = good()
    given.obsm["X_mine"] = np.arange(160.0).reshape(80, 2)
    given.obsm["frame"] = pd.DataFrame({"a": range(80)}, index=given.obs_names)
    given.obs["half"] = np.repeat(["a", "b"], 40)
    second = io.read_slices([given], slice_key="half", n_neighbors=5)[1]
    np.testing.assert_array_equal(second.obsm["X_mine"], given.obsm["X_mine"][40:])
    assert list(second.obsm["frame"]["a"]) == list(range(40, 80))


def test_sections_of_one_name_are_refused(good: Good) -> None:
    slices = io.read_slices([good()], samples=["s"])
    with pytest.raises(InputError, match="two sections are called 's'"):
        io.read_slices([slices[0], slices[0].copy()])
    assert len(io.read_slices([slices[0], slices[0].copy()], samples=["a", "b"])) == 2


def test_check_warns_of_two_species(good: Good) -> None:
    human = good()
    human.var_names = [name.upper() for name in human.var_names]
    checks = io.check_slices([good(), human], samples=["m", "h"])
    assert all("m (mouse) and h (human)" in check.warnings[-1] for check in checks)
    assert all(check.ok for check in checks)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"paths": []}, "No slices"),
        ({"samples": ["a"]}, "1 entries for 2"),
        ({"samples": ["a", "a"]}, "Two inputs are called 'a'"),
        ({"technology": {"nobody": "Xenium"}}, "none of the samples. They are: a, b"),
        ({"paths": ["a.h5ad", "./a.h5ad"]}, "given twice"),
    ],
)
def test_contradicting_parameters(options: dict[str, Any], match: str) -> None:
    paths = options.pop("paths", ["a.h5ad", "b.h5ad"])
    for function in (io.read_slices, io.check_slices):
        with pytest.raises(ConfigError, match=match):
            function(paths, **options)


def test_matrix_formats_make_no_difference(good: Good) -> None:
    adata = good()
    dense = adata.X.toarray()
    twice = sparse.coo_matrix(np.vstack([dense, dense]))  # every value twice, as halves
    halves = sparse.csr_matrix((twice.data / 2, (twice.row % 80, twice.col)), shape=dense.shape)
    whole = sparse.csr_matrix(dense.astype(np.int64))
    small = [dense.astype(kind) for kind in (np.float16, np.uint8, np.float64)]
    for given in (sparse.csc_matrix(dense), dense, *small, halves, whole):
        adata.X = given
        x = io.read_slices([adata])[0].X
        assert isinstance(x, sparse.csr_matrix)
        assert x.dtype == np.float32
        assert x.has_canonical_format
        assert (x.data != 0).all()
        np.testing.assert_array_equal(x.toarray(), dense)


def test_content_hash_sees_content_only(good: Good, tmp_path: Path) -> None:
    (adata,) = io.read_slices([good()])
    base = io.content_hash(adata)
    same = adata.copy()
    same.obs["new_label"] = "x"
    same.uns["note"] = "y"
    same.write_h5ad(tmp_path / "zipped.h5ad", compression="gzip")
    assert io.content_hash(same) == base
    path = str(tmp_path / "zipped.h5ad")
    code = f"from lloki import io; print(io.content_hash(io.read_slices([{path!r}])[0]))"
    elsewhere = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert elsewhere.stdout.strip() == base

    others = [adata.copy() for _ in range(4)]
    others[0].X.data[0] += 1
    others[1].obsm["spatial"][0, 0] += 1e-9
    others[2].obs_names = ["first", *others[2].obs_names[1:]]
    others[3] = others[3][:, ::-1].copy()
    assert len({base, *(io.content_hash(other) for other in others)}) == 5


def test_spatialdata_needs_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import zarr

    zarr.open_group(str(tmp_path / "s.zarr"), mode="w").attrs["spatialdata_attrs"] = {"version": "0.2"}
    monkeypatch.setitem(sys.modules, "spatialdata", None)
    with pytest.raises(MissingExtraError, match=r"s\.zarr.*pip install 'lloki\[spatialdata\]'"):
        io.read_slices([tmp_path / "s.zarr"])
    (check,) = io.check_slices([tmp_path / "s.zarr"])
    assert "lloki[spatialdata]" in check.errors[0]


@pytest.mark.filterwarnings("ignore")
def test_spatialdata_table_with_centroids_of_its_shapes(good: Good, tmp_path: Path) -> None:
    spatialdata = pytest.importorskip("spatialdata")
    from spatialdata.models import ShapesModel, TableModel

    given = good()
    xy = given.obsm.pop("spatial")
    order = np.random.default_rng(0).permutation(len(xy))  # elements need not lie in the order of the table
    shapes = ShapesModel.parse(xy[order], geometry=0, radius=3.0, index=pd.Index(order))
    given.obs["region"], given.obs["cell_id"] = pd.Categorical(["cells"] * 80), np.arange(80)
    table = TableModel.parse(given, region="cells", region_key="region", instance_key="cell_id")
    spatialdata.SpatialData(shapes={"cells": shapes}, tables={"table": table}).write(tmp_path / "s.zarr")
    (adata,) = io.read_slices([tmp_path / "s.zarr"])
    np.testing.assert_allclose(adata.obsm["spatial"], xy)
    assert (adata.X != good().X).nnz == 0
    assert adata.obs[keys.SLICE].iloc[0] == "s"
