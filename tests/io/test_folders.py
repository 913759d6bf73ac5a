"""Instruments' folders: every variant is read as what it is, and what cannot be read is refused by name."""

from __future__ import annotations

import gzip
import shutil
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import anndata
import made_folders as made
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from lloki import io, keys
from lloki.cli import app
from lloki.errors import ConfigError, InputError, LlokiError, LlokiWarning, MissingExtraError
from lloki.io.vendors._dense import read_dense

PANEL = {"panel_name": "Mouse Brain", "region_name": "Region_1", "panel_num_targets_custom": 3}

VARIANTS: dict[str, tuple[str, Callable[..., made.Truth], dict[str, Any]]] = {
    "xenium": ("Xenium", made.xenium, {}),
    "xenium with prefix": ("Xenium", made.xenium, {"prefix": "GSM1_S1_", "cells": "cells.csv"}),
    "xenium of version 1": (
        "Xenium",
        made.xenium,
        {"integers": True, "fractions": True, "row_numbers": True},
    ),
    "xenium mex": ("Xenium", made.xenium, {"counts": "cell_feature_matrix"}),
    "xenium zarr": (
        "Xenium",
        made.xenium,
        {"counts": "cell_feature_matrix.zarr.zip", "cells": "cells.zarr.zip"},
    ),
    "xenium old zarr": (
        "Xenium",
        made.xenium,
        {"counts": "cell_feature_matrix.zarr.zip", "cells": "cells.zarr.zip", "integers": True},
    ),
    "xenium with experiment": ("Xenium", made.xenium, {"panel": PANEL}),
    "merscope": ("MERSCOPE", made.merscope, {}),
    "merscope unnamed ids": ("MERSCOPE", made.merscope, {"counts_id": "", "cells_id": ""}),
    "merscope saved by R": ("MERSCOPE", made.merscope, {"row_numbers": True, "cells_id": "X"}),
    "merscope prefix and gz": ("MERSCOPE", made.merscope, {"prefix": "Liver1Slice1_", "gz": ".gz"}),
    "cosmx": ("CosMx", made.cosmx, {}),
    "cosmx gz without prefix": ("CosMx", made.cosmx, {"gz": ".gz", "prefix": ""}),
    "cosmx own names": ("CosMx", made.cosmx, {"own": True}),
    "cosmx fields in px": (
        "CosMx",
        made.cosmx,
        {"positions": "local", "fields": "fov,x_global_px,y_global_px"},
    ),
    "cosmx fields in mm": ("CosMx", made.cosmx, {"positions": "local", "fields": "FOV,X_mm,Y_mm"}),
    "cosmx fields in global mm": (
        "CosMx",
        made.cosmx,
        {"positions": "local", "fields": "fov,x_global_mm,y_global_mm", "gz": ".gz"},
    ),
    "cosmx on the slide": ("CosMx", made.cosmx, {"positions": "slide"}),
    "starmap": ("STARmap PLUS", made.starmap, {}),
    "seqfish": ("seqFISH", made.seqfish, {}),
    "molecular cartography": ("Molecular Cartography", made.molecular_cartography, {}),
    "stereo-seq": ("Stereo-seq", made.stereoseq, {}),
    "stereo-seq adjusted": ("Stereo-seq", made.stereoseq, {"name": "SS2.cellbin_1.0.adjusted.gef"}),
    "visium hd": ("Visium HD", made.visium_hd, {}),
}
if find_spec("pyarrow") is not None:
    for kind in ({}, {"bytes_ids": True}, {"integers": True}):
        VARIANTS[f"xenium parquet {kind}"] = ("Xenium", made.xenium, {"cells": "cells.parquet", **kind})


def read(path: Path, **how: Any) -> anndata.AnnData:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LlokiWarning)
        return io.read_folder(path, **how)


def equal(adata: anndata.AnnData, truth: made.Truth) -> None:
    """Every cell has its own counts and position, by its id."""
    assert adata.n_obs == len(truth.ids)
    assert adata.obs["cell_id"].is_unique
    order = pd.Index(truth.ids).get_indexer(adata.obs["cell_id"])
    assert (order >= 0).all()
    genes = [name.upper() for name in made.GENES]
    columns = [genes.index(name.upper()) for name in adata.var_names]
    assert sorted(columns) == list(range(len(genes)))
    np.testing.assert_array_equal(adata.X.toarray(), truth.counts[order][:, columns])
    np.testing.assert_allclose(adata.obsm["spatial"][:, :2], truth.xy[order], rtol=0, atol=1e-6)
    if not np.isnan(adata.obs["control_counts"]).all():
        np.testing.assert_array_equal(adata.obs["control_counts"], truth.controls[order].sum(axis=1))


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_is_read(name: str, tmp_path: Path) -> None:
    technology, make, how = VARIANTS[name]
    truth = make(tmp_path / "data", **how)
    adata = read(tmp_path / "data")
    equal(adata, truth)
    assert adata.uns["technology"] == technology
    assert adata.uns.get("spatial_unit") == (None if technology == "STARmap PLUS" else "micrometre")
    (check,) = io.check_slices([tmp_path / "data"])
    assert (check.name, check.technology, check.cells, check.genes) == ("data", technology, 60, 20)
    assert check.errors == []
    assert check.unit == adata.uns.get("spatial_unit", "")
    assert 10 < check.spacing < 25
    assert technology == "STARmap PLUS" or check.species == "mouse"  # few genes in capitals say nothing


def test_what_was_left_out_and_what_needs_attention_is_reported(tmp_path: Path) -> None:
    truth = made.xenium(tmp_path / "x", panel=PANEL)
    with pytest.warns(LlokiWarning) as caught:
        adata = io.read_folder(tmp_path / "x")
    said = "\n".join(str(w.message) for w in caught)
    rate = truth.controls.sum() / (truth.controls.sum() + truth.counts.sum())
    assert f"2 control features (NegControlProbe_00042, BLANK_0070) left out; controls are {rate:.2%}" in said
    assert "1 cell (1.7%) of more than 5 times the median obs['cell_area'] may be several cells; kept" in said
    assert adata.n_obs == 60
    assert adata.uns["panel"] == "Mouse Brain + 3 custom"
    assert adata.uns["region"] == "Region_1"
    (check,) = io.check_slices([tmp_path / "x"])
    assert check.control_rate == pytest.approx(rate)
    assert check.panel == "Mouse Brain + 3 custom"
    assert any("controls are" in text for text in check.warnings)


def test_probes_of_several_genes_and_what_lies_outside_cells(tmp_path: Path) -> None:
    made.cosmx(tmp_path / "c")
    with pytest.warns(LlokiWarning) as caught:
        adata = io.read_folder(tmp_path / "c")
    said = "\n".join(str(w.message) for w in caught)
    assert "1 probe for several genes each (Plp1/2)" in said
    assert "2 rows of Run5642_S3_exprMat_file.csv with cell_ID 0" in said
    assert adata.var.loc["Plp1", "probe"] == "Plp1/2"
    np.testing.assert_allclose(adata.obs["Area"], 10_000 * made.PIXEL**2)


def test_pixels_of_another_size(tmp_path: Path) -> None:
    truth = made.cosmx(tmp_path / "c")
    np.testing.assert_allclose(
        np.sort(read(tmp_path / "c", pixel_size=0.18).obsm["spatial"][:, 0]),
        np.sort(truth.xy[:, 0] * 0.18 / made.PIXEL),
    )
    path = tmp_path / "c" / "Run5642_S3_metadata_file.csv"
    table = pd.read_csv(path)
    for axis in "XY":
        table[f"{axis.lower()}_slide_mm"] = table[f"Center{axis}_global_px"] * 0.18 / 1000 + 3
    table.to_csv(path, index=False)
    with pytest.warns(LlokiWarning, match="a pixel is 0.1800 micrometers, by x_slide_mm"):
        found = io.read_folder(tmp_path / "c")
    np.testing.assert_allclose(
        np.sort(found.obsm["spatial"][:, 0]), np.sort(truth.xy[:, 0] * 0.18 / made.PIXEL)
    )


def test_local_positions_alone_are_refused(tmp_path: Path) -> None:
    made.cosmx(tmp_path / "c", positions="local")
    with pytest.raises(InputError, match=r"inside fields of view only.*Run5642_S3_fov_positions_file.csv"):
        read(tmp_path / "c")
    made.cosmx(tmp_path / "d", positions="local", fields="fov,x_global_px,y_global_px")
    path = tmp_path / "d" / "Run5642_S3_fov_positions_file.csv"
    pd.read_csv(path).iloc[:2].to_csv(path, index=False)
    with pytest.raises(InputError, match=r"lacks 1 field of view that have cells \(3\)"):
        read(tmp_path / "d")


@pytest.mark.parametrize(
    ("make", "lost", "named"),
    [
        (made.xenium, "cells.csv.gz", "not cells.csv or cells.parquet or cells.zarr.zip"),
        (made.xenium, "cell_feature_matrix.h5", "not cell_feature_matrix.h5 or cell_feature_matrix"),
        (made.merscope, "cell_metadata.csv", "not cell_metadata.csv"),
        (made.merscope, "cell_by_gene.csv", "not cell_by_gene.csv"),
        (made.cosmx, "Run5642_S3_metadata_file.csv", "not Run5642_S3_metadata_file.csv"),
        (made.starmap, "well05_spatial.csv", "spatial.csv"),
        (made.seqfish, "Roi1_CellCoordinates.csv", "not Roi1_CellCoordinates.csv"),
        (made.visium_hd, "segmented_outputs/cell_segmentations.geojson", "not cell_segmentations.geojson"),
    ],
)
def test_a_missing_file_is_named(
    make: Callable[[Path], made.Truth], lost: str, named: str, tmp_path: Path
) -> None:
    make(tmp_path / "x")
    (tmp_path / "x" / lost).unlink()
    (tmp_path / "x" / "detected_transcripts.csv").touch()  # is there as well, and not what is missing
    with pytest.raises(InputError, match=named):
        read(tmp_path / "x")


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["detected_transcripts.csv"], "transcripts only"),
        (["vizgen_transcripts.gz", "cell_boundaries/z0_polygons.gz"], "transcripts only"),
        (["out/transcripts.parquet"], "transcripts only"),
        (["S0_tx_file.csv"], "transcripts only"),
        (["A1-1_results.txt", "A1-1_DAPI.tiff"], "transcripts only"),
        (["filtered_feature_bc_matrix.h5", "spatial/tissue_positions.csv"], "is Visium"),
        (["binned_outputs/square_008um/filtered_feature_bc_matrix.h5"], "is Visium"),
        (["square_016um/spatial/tissue_positions.parquet"], "is Visium"),
        (["SS200.tissue.gef"], "square bins"),
        (["notes.docx"], "neither a zarr store nor an instrument's output folder: notes.docx"),
        ([], "neither a zarr store nor an instrument's output folder: none"),
    ],
)
def test_folders_without_cells_are_refused_in_words(names: list[str], said: str, tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    for name in names:
        (tmp_path / "x" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "x" / name).touch()
    with pytest.raises(InputError, match=said):
        read(tmp_path / "x")
    (check,) = io.check_slices([tmp_path / "x"])
    assert said in check.errors[0]


def test_segmented_cells_beside_bins_are_read(tmp_path: Path) -> None:
    truth = made.visium_hd(tmp_path / "outs")
    (tmp_path / "outs" / "binned_outputs" / "square_008um").mkdir(parents=True)
    equal(read(tmp_path / "outs"), truth)


def test_several_samples_in_a_folder_are_several_slices(tmp_path: Path) -> None:
    truths = {
        "run_region_0": made.merscope(tmp_path / "run" / "region_0"),
        "run_region_1": made.merscope(tmp_path / "run" / "region_1", seed=1),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        slices = io.read_slices([tmp_path / "run"])
    assert [s.obs[keys.SLICE].iloc[0] for s in slices] == list(truths)
    for adata, truth in zip(slices, truths.values()):
        equal(adata, truth)
    with pytest.raises(
        InputError, match=r"holds 2 samples: .*region_0, .*region_1\. Give one of these paths"
    ):
        read(tmp_path / "run")
    checks = io.check_slices([tmp_path / "run"], technology={"run": "MERFISH"})
    assert [c.technology for c in checks] == ["MERFISH", "MERFISH"]
    checks = io.check_slices([tmp_path / "run"], samples=["liver"])
    assert [c.name for c in checks] == ["liver_region_0", "liver_region_1"]


def test_slides_in_one_folder_and_xenium_regions(tmp_path: Path) -> None:
    made.cosmx(tmp_path / "flatFiles", prefix="S1_")
    truth = made.cosmx(tmp_path / "flatFiles", prefix="S2_", seed=1)
    assert [c.name for c in io.check_slices([tmp_path / "flatFiles"])] == ["flatFiles_S1", "flatFiles_S2"]
    with pytest.raises(InputError, match=r"S1_exprMat_file\.csv"):
        read(tmp_path / "flatFiles")
    equal(
        read(tmp_path / "flatFiles" / "S2_exprMat_file.csv"), truth
    )  # a file of counts stands for its slide
    for region in ("A", "B"):
        made.xenium(tmp_path / "runs" / f"output-XETG00001__0012345__{region}__20240101__000000")
    assert [c.name for c in io.check_slices([tmp_path / "runs"])] == ["runs_0012345_A", "runs_0012345_B"]


def test_another_segmentation_in_a_subfolder_is_reported(tmp_path: Path) -> None:
    truth = made.merscope(tmp_path / "region_0")
    other = made.merscope(tmp_path / "region_0" / "Cellpose_PolyT", n=50)
    with pytest.warns(LlokiWarning, match="Cellpose_PolyT in this folder is another segmentation"):
        equal(io.read_folder(tmp_path / "region_0"), truth)
    equal(read(tmp_path / "region_0" / "Cellpose_PolyT"), other)


def test_rows_that_only_one_file_has(tmp_path: Path) -> None:
    truth = made.merscope(tmp_path / "m")
    path = tmp_path / "m" / "cell_metadata.csv"
    pd.read_csv(path, dtype=str).iloc[4:].to_csv(path, index=False)
    with pytest.warns(LlokiWarning, match="4 cells of cell_by_gene.csv not in cell_metadata.csv, left out"):
        adata = io.read_folder(tmp_path / "m")
    assert sorted(adata.obs["cell_id"]) == sorted(truth.ids[4:])


def test_rounded_and_repeated_ids_are_refused(tmp_path: Path) -> None:
    made.merscope(tmp_path / "m")
    path = tmp_path / "m" / "cell_metadata.csv"
    table = pd.read_csv(path, dtype={"EntityID": float})
    table["EntityID"] += np.arange(len(table)) * 1e30
    table.to_csv(path, index=False)
    with pytest.raises(InputError, match="Ids were rounded"):
        read(tmp_path / "m")
    made.cosmx(tmp_path / "c")
    path = tmp_path / "c" / "Run5642_S3_metadata_file.csv"
    pd.concat([pd.read_csv(path)] * 2).to_csv(path, index=False)
    with pytest.raises(InputError, match="names 60 cells twice"):
        read(tmp_path / "c")


def cut(path: Path, share: float = 0.5) -> None:
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])


def words(path: Path) -> None:
    path.write_text(path.read_text().replace("\n", "\nabc,", 1))


@pytest.mark.parametrize(
    ("make", "name", "spoil"),
    [
        (made.xenium, "cell_feature_matrix.h5", cut),
        (made.xenium, "cells.csv.gz", cut),
        (made.merscope, "cell_by_gene.csv", words),
        (made.merscope, "cell_by_gene.csv", lambda path: path.write_text("")),
        (made.merscope, "cell_metadata.csv", lambda path: path.write_text("EntityID,fov\n1,2\n")),
        (made.cosmx, "Run5642_S3_exprMat_file.csv", lambda path: path.write_text("fov,cell_ID,Gad1\n")),
        (made.stereoseq, "SS2.cellbin.gef", cut),
        (made.visium_hd, "segmented_outputs/cell_segmentations.geojson", cut),
        (made.visium_hd, "segmented_outputs/spatial/scalefactors_json.json", Path.unlink),
    ],
)
def test_a_damaged_file_is_named(
    make: Callable[[Path], made.Truth], name: str, spoil: Callable[[Path], None], tmp_path: Path
) -> None:
    make(tmp_path / "x")
    spoil(tmp_path / "x" / name)
    with pytest.raises(InputError, match=Path(name).name):
        read(tmp_path / "x")


def test_limits_on_cells(tmp_path: Path) -> None:
    truth = made.merscope(tmp_path / "m")
    total, controls = truth.counts.sum(axis=1), truth.controls.sum(axis=1)
    limit = int(np.median(total))
    keep = total >= limit
    for adata in (read(tmp_path / "m", min_counts=limit), *quiet(tmp_path / "m", min_counts=limit)):
        assert set(adata.obs["cell_id"]) == set(np.array(truth.ids)[keep])
    low = controls / (total + controls) <= 0.01
    for adata in (read(tmp_path / "m", max_control_rate=0.01), *quiet(tmp_path / "m", max_control_rate=0.01)):
        assert set(adata.obs["cell_id"]) == set(np.array(truth.ids)[low])
    (check,) = io.check_slices([tmp_path / "m"], min_counts=limit)
    assert any(
        f"{(~keep).sum()} cells of 60 with fewer than {limit} counts left out" in w for w in check.warnings
    )
    (check,) = io.check_slices([tmp_path / "m"], min_counts=10**6)
    assert "no cell left" in check.errors[0]
    for bad in ({"min_counts": -1}, {"max_control_rate": 1.5}, {"pixel_size": 0.0}):
        with pytest.raises(ConfigError, match=next(iter(bad))):
            read(tmp_path / "m", **bad)


def quiet(path: Path, **how: Any) -> list[anndata.AnnData]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LlokiWarning)
        return io.read_slices([path], **how)


def test_chunks_do_not_change_the_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    values = rng.poisson(1.0, (57, 9)).astype(float)
    values[40:, 3] += 0.25  # fractions begin in a later chunk
    frame = pd.DataFrame(values.astype(object), columns=["Gad1", "Gad1", *"abcdefg"])
    frame.iloc[:40] = frame.iloc[:40].astype(int)
    frame.insert(0, "cell", [f"{10**20 + i}" for i in range(57)])
    frame.to_csv(tmp_path / "x.csv", index=False)
    for rows in (1, 7, 56, 57, 1000):
        monkeypatch.setattr("lloki.io.vendors._dense._ROWS", rows)
        dense = read_dense(tmp_path / "x.csv", ["cell"])
        np.testing.assert_array_equal(dense.counts.toarray(), values)
        assert list(dense.ids["cell"]) == list(frame["cell"])
        assert dense.columns[:2] == ["Gad1", "Gad1"]


def test_parquet_without_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pyarrow")
    made.xenium(tmp_path / "x", cells="cells.parquet")
    monkeypatch.setattr("lloki.io.vendors.xenium.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'lloki\[parquet\]'"):
        read(tmp_path / "x")
    truth = made.xenium(tmp_path / "x2", cells="cells.zarr.zip")
    shutil.copy(tmp_path / "x" / "cells.parquet", tmp_path / "x2")
    equal(read(tmp_path / "x2"), truth)


def test_read_writes_what_integrate_reads(tmp_path: Path) -> None:
    truth = made.cosmx(tmp_path / "c", own=True)
    run = CliRunner().invoke(app, ["read", str(tmp_path / "c"), "--out", str(tmp_path / "slice.h5ad")])
    assert run.exit_code == 0, run.output
    assert " × " in run.output
    assert "µm" in run.output
    equal(anndata.read_h5ad(tmp_path / "slice.h5ad"), truth)
    (direct,), (again,) = quiet(tmp_path / "c"), quiet(tmp_path / "slice.h5ad")
    assert io.content_hash(direct) == io.content_hash(again)
    assert direct.obs[keys.TOKEN].iloc[0] == again.obs[keys.TOKEN].iloc[0]
    assert list(direct.obs["cell_id"]) == list(again.obs["cell_id"])
    assert again.uns["spatial_unit"] == "micrometre"


def test_read_writes_a_file_a_sample(tmp_path: Path) -> None:
    made.merscope(tmp_path / "run" / "region_0")
    made.merscope(tmp_path / "run" / "region_1")
    run = CliRunner().invoke(app, ["read", str(tmp_path / "run"), "--out", str(tmp_path / "one.h5ad")])
    assert run.exit_code != 0
    assert "holds 2 samples (region_0, region_1)" in run.output
    run = CliRunner().invoke(app, ["read", str(tmp_path / "run"), "--out", str(tmp_path / "slices")])
    assert run.exit_code == 0, run.output
    assert sorted(p.name for p in (tmp_path / "slices").iterdir()) == ["region_0.h5ad", "region_1.h5ad"]


def test_check_prints_spacing_and_controls(tmp_path: Path) -> None:
    made.xenium(tmp_path / "x")
    made.starmap(tmp_path / "s")
    run = CliRunner().invoke(app, ["check", str(tmp_path / "x"), str(tmp_path / "s")])
    assert run.exit_code == 0, run.output
    assert " µm " in run.output
    assert "(unit?)" in run.output
    assert "%" in run.output


def test_a_samplesheet_may_name_folders(tmp_path: Path) -> None:
    made.merscope(tmp_path / "run" / "region_0")
    made.merscope(tmp_path / "run" / "region_1")
    made.xenium(tmp_path / "x")
    sheet = tmp_path / "sheet.csv"
    sheet.write_text("path,sample,technology\nrun,liver,MERFISH\nx,brain,\n")
    run = CliRunner().invoke(app, ["check", "--samplesheet", str(sheet)])
    assert run.exit_code == 0, run.output
    assert run.output.count("MERFISH") >= 2
    assert "liver_region_1" in run.output
    run = CliRunner().invoke(
        app, ["check", str(tmp_path / "run"), "--technology", f"MERFISH={tmp_path / 'run'}"]
    )
    assert run.exit_code == 0, run.output


def test_compressed_files_and_counts_as_an_input(tmp_path: Path) -> None:
    truth = made.merscope(tmp_path / "m")
    path = tmp_path / "m" / "cell_metadata.csv"
    with gzip.open(f"{path}.gz", "wb") as file:
        file.write(path.read_bytes())
    path.unlink()
    equal(read(tmp_path / "m" / "cell_by_gene.csv"), truth)


def test_a_folder_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(LlokiError, match="does not exist"):
        io.read_folder(tmp_path / "nothing")
