"""``lloki transfer-labels``: what it writes and prints."""

from __future__ import annotations

import anndata as ad
import pandas as pd

from lloki import keys
from planted import planted


def test_the_command_writes_labels_and_their_reliability(lloki, tmp_path):
    adata = planted()
    adata.write_h5ad(tmp_path / "in.h5ad")
    out = tmp_path / "out"
    args = ("--label-key", "cell_type", "--source", "a", "--source", "b", "--out", out)
    result = lloki("transfer-labels", tmp_path / "in.h5ad", *args)
    assert result.exit_code == 0, result.output
    assert "unknown" in result.stdout
    written = ad.read_h5ad(out / "labeled.h5ad").obs
    assert (written[keys.LABEL].astype(str) == adata.obs["cell_type"]).mean() > 0.95
    assert {p.name for p in out.iterdir()} == {
        "labeled.h5ad",
        "cells.csv",
        "heads.csv",
        "types.csv",
        "labels.html",
        "figures",
    }
    cells = pd.read_csv(out / "cells.csv", index_col="cell")
    assert list(cells) == ["slice", "label", "best", "confidence", "novelty", "given"]
    assert (cells["label"] == written[keys.LABEL].astype(str)).all()
    assert (cells["given"] == cells["slice"].isin(["a", "b"])).all()
    drawn = {p.stem for p in (out / "figures").iterdir()}
    assert drawn == {"reliability", "types-a", "types-b", "types-c"}


def test_labels_are_transferred_from_single_cells_and_the_page_names_them(lloki, tmp_path):
    adata, single = planted("ab"), planted("r", seed=5)
    truth = adata.obs.pop("cell_type")
    adata.write_h5ad(tmp_path / "in.h5ad")
    single.write_h5ad(tmp_path / "reference.h5ad")
    call = ("transfer-labels", tmp_path / "in.h5ad", "--label-key", "cell_type", "--out", tmp_path / "out")
    result = lloki(*call, "--reference", tmp_path / "reference.h5ad")
    assert result.exit_code == 0, result.output
    assert f"{adata.n_obs} cells labeled" in result.stdout
    written = ad.read_h5ad(tmp_path / "out" / "labeled.h5ad").obs
    assert (written[keys.LABEL].astype(str) == truth).mean() > 0.95
    page = (tmp_path / "out" / "labels.html").read_text()
    assert "by the average of neighbors and regressions: 150 single cells of the reference." in page
    adata.obs["cell_type"] = truth.where(adata.obs["slice"] == "a")
    adata.write_h5ad(tmp_path / "in.h5ad")
    both = lloki(*call, "--reference", tmp_path / "reference.h5ad")
    assert "by leaving out slices" in both.stdout
    page = (tmp_path / "out" / "labels.html").read_text()
    assert ": 150 cells of slices and 150 single cells of the reference." in page
    assert "The reference counts as a slice" in page


def test_two_vocabularies_need_a_map_which_is_suggested_in_a_file(lloki, tmp_path):
    adata = planted()
    truth, own = adata.obs["cell_type"].astype(object), adata.obs["slice"] == "b"
    named = truth.where(~own, "my " + truth.str.upper())
    adata.obs["cell_type"] = named.where(adata.obs["slice"] != "c")
    adata.write_h5ad(tmp_path / "in.h5ad")
    call = ("transfer-labels", tmp_path / "in.h5ad", "--label-key", "cell_type", "--out", tmp_path / "out")
    result = lloki(*call)
    assert result.exit_code == 1
    assert "label_map.csv: edit its column common_name" in " ".join(result.stderr.split())
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["label_map.csv"]
    mapped = lloki(*call, "--label-map", tmp_path / "out" / "label_map.csv")
    assert mapped.exit_code == 0, mapped.output
    written = ad.read_h5ad(tmp_path / "out" / "labeled.h5ad").obs
    assert (written[keys.LABEL].astype(str) == truth).mean() > 0.95


def test_groups_and_the_method_are_options(lloki, tmp_path):
    adata = planted(spread=1.6)
    adata.write_h5ad(tmp_path / "in.h5ad")
    (tmp_path / "groups.csv").write_text("type,group\nAstro,Glia\nOligo,Glia\n")
    call = (
        "transfer-labels",
        tmp_path / "in.h5ad",
        "--label-key",
        "cell_type",
        "--source",
        "a",
        "--source",
        "b",
    )
    options = ("--parents", tmp_path / "groups.csv", "--method", "joint", "--threshold", 0.9)
    result = lloki(*call, *options, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "Method: joint." in result.stdout
    assert (ad.read_h5ad(tmp_path / "out" / "labeled.h5ad").obs[keys.LABEL] == "Glia").any()


def test_the_command_names_what_is_wrong(lloki, tmp_path):
    rest = ("--label-key", "none", "--out", tmp_path / "out")
    missing = lloki("transfer-labels", tmp_path / "none.h5ad", *rest)
    assert missing.exit_code == 1
    assert "does not exist" in missing.stderr
    planted(cells=20).write_h5ad(tmp_path / "in.h5ad")
    unknown = lloki("transfer-labels", tmp_path / "in.h5ad", *rest)
    assert unknown.exit_code == 1
    assert "no slice has the column" in unknown.stderr
    assert not (tmp_path / "out").exists()
