"""What a run leaves: a table that other tools open, with everything that went in, and its record."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import lloki
from lloki.errors import ConfigError, InputError
from lloki.run._assemble import _column

STRANGE = "<script>alert('β')</script> 脳|1"


def test_the_table_opens_in_other_tools(base, tmp_path):
    import matplotlib as mpl
    import scanpy as sc

    mpl.use("Agg")
    adata = sc.read_h5ad(base.folder / "integrated.h5ad")
    # what cellxgene asks of a file
    assert sparse.isspmatrix_csr(adata.X)
    assert adata.X.dtype == np.float32
    assert adata.obs_names.is_unique
    assert adata.var_names.is_unique
    for key in ("X_lloki", "X_lloki_fp", "X_umap"):
        assert adata.obsm[key].dtype == np.float32
        assert adata.obsm[key].shape[0] == adata.n_obs
        assert np.isfinite(adata.obsm[key]).all()
    for column in adata.obs:
        assert (
            isinstance(adata.obs[column].dtype, pd.CategoricalDtype) or adata.obs[column].dtype.kind in "biuf"
        )
    sc.pp.neighbors(adata, use_rep="X_lloki", n_neighbors=5)
    sc.pl.umap(adata, color=["slice", "cell_type", "lloki_cluster"], show=False)
    mpl.pyplot.savefig(tmp_path / "umap.png")
    assert (tmp_path / "umap.png").stat().st_size > 10_000
    adata.write_h5ad(tmp_path / "again.h5ad")


def test_counts_and_columns_of_every_slice(base, files):
    joint = base.adata
    for path, name in zip(files.slices, ["alphafish_1", "betaseq_1", "alphafish_2"]):
        slice_ = ad.read_h5ad(path)
        mine = joint[joint.obs["slice"] == name]
        assert list(mine.obs_names) == list(slice_.obs_names)
        assert (mine[:, slice_.var_names].X != slice_.X).nnz == 0
        assert mine.X.sum() == slice_.X.sum()
        np.testing.assert_array_equal(mine.obsm["spatial"], slice_.obsm["spatial"])
        for column in ("cell_type", "layer"):
            assert (mine.obs[column].astype(str) == slice_.obs[column].astype(str)).all()
        at = list(joint.uns["lloki"]["slices"]).index(name)
        assert set(joint.var_names[joint.varm["lloki_measured"][:, at]]) == set(slice_.var_names)
    assert (joint.var["n_slices"] == joint.varm["lloki_measured"].sum(1)).all()
    assert (joint.obsm["X_lloki"] >= 0).all()


def test_quality_control(base, files):
    qc = base.qc.set_index("slice")
    assert list(qc.index) == ["alphafish_1", "betaseq_1", "alphafish_2"]
    for path in files.slices:
        row, slice_ = qc.loc[path.stem], ad.read_h5ad(path)
        assert (row["cells"], row["genes"]) == slice_.shape
        assert row["genes_used"] + row["genes_dropped"] == row["genes"]
        assert row["sparsity_before"] == pytest.approx(1 - slice_.X.nnz / np.prod(slice_.shape))
        assert 0 <= row["latent_alpha"] < 1
        assert row["cells_flagged"] == 0


def test_genes_that_the_reference_lacks_are_counted(base, files, integrate, tmp_path):
    reference = ad.read_h5ad(files.reference)
    genes = list(ad.read_h5ad(files.beta).var_names[:7])
    reference[:, [g for g in reference.var_names if g not in genes]].copy().write_h5ad(tmp_path / "r.h5ad")
    qc = integrate(reference=tmp_path / "r.h5ad").qc.set_index("slice")
    assert qc.loc["betaseq_1", "genes_in_reference"] == qc.loc["betaseq_1", "genes"] - 7
    # They are used all the same: the factor model learns them from the slices.
    assert (
        qc.loc["betaseq_1", "genes_dropped"] == base.qc.set_index("slice").loc["betaseq_1", "genes_dropped"]
    )


def test_the_verdict_counts_genes_of_the_reference_as_the_table_does(files, integrate, tmp_path):
    """A reference of few cells has genes that hardly vary; it has them all the same."""
    few = ad.read_h5ad(files.reference)[:12].copy()
    few.write_h5ad(tmp_path / "few.h5ad")
    out = integrate(reference=tmp_path / "few.h5ad").folder
    slices = json.loads((out / "run.json").read_text())["verdict"]["evidence"]["slices"]
    counted = {row["slice"]: row["reference_genes"] for row in slices}
    table = pd.read_csv(out / "qc.csv").set_index("slice")["genes_in_reference"]
    assert counted == table.to_dict()
    assert min(counted.values()) > 50


def test_a_run_cut_short_leaves_no_page_of_the_run_before(integrate, tmp_path, monkeypatch):
    out = integrate().folder
    names = ("report.html", "qc.csv", "quality.csv", "run.json")
    assert all((out / name).exists() for name in names)

    def cut_short(*args: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("lloki.run.outputs.write_h5ad", cut_short)
    with pytest.raises(KeyboardInterrupt):
        integrate(seed=5)
    assert not any((out / name).exists() for name in names)


def test_the_record(base, settings):
    run = json.loads((base.folder / "run.json").read_text(), parse_constant=pytest.fail)  # no NaN: plain JSON
    assert run["versions"]["lloki"] == lloki.__version__
    assert {"numpy", "torch", "scipy", "anndata"} <= set(run["versions"])
    assert run["parameters"]["cae"]["steps"] == settings["cae"]["steps"]
    assert run["seed"] == 0
    assert len({s["hash"] for s in run["slices"]}) == 3
    assert len(run["reference"]["hash"]) == 16
    stages = {s["stage"] for s in run["stages"]}
    assert stages >= {
        "check",
        "features",
        "summary",
        "fit",
        "embedding",
        "training",
        "encode",
        "view",
        "write",
    }
    for stage in run["stages"]:
        assert stage["peak_rss_mb"] > 50
    assert run["seconds"] >= sum(s["seconds"] for s in run["stages"]) * 0.9
    assert set(run["metrics"]) == {
        *("mixing", "preservation", "dimensions", "transfer_accuracy", "transfer_macro_f1"),
        *("types_kept", "like_with_like"),
    }
    assert all(v >= 0 and math.isfinite(v) for v in run["metrics"].values())
    assert json.loads(base.adata.uns["lloki"]["parameters"]) == run["parameters"]
    assert "<html" in base.report.read_text()


def test_what_the_monitors_of_training_find_is_reported(base, integrate, tmp_path, monkeypatch):
    def found(history):
        return [f"doubt after {history[-1]['step']} steps"]

    monkeypatch.setattr("lloki.run.outputs.warnings_of", found)
    shutil.copytree(base.folder / "work", tmp_path / "run" / "work")
    result = integrate()
    message = {"slice": "training", "text": "doubt after 30 steps", "rank": "act"}
    assert message in result.run["messages"]
    assert "training: doubt after 30 steps" in list(result.adata.uns["lloki"]["messages"])


def test_names_that_collide_get_the_sample(files, integrate, tmp_path):
    one = ad.read_h5ad(files.alpha_1)
    one.obs_names = ad.read_h5ad(files.beta).obs_names
    one.write_h5ad(tmp_path / "one.h5ad")
    cells = integrate([tmp_path / "one.h5ad", files.beta, files.alpha_2], technology={"one": "A"}).adata.obs
    names = {name: list(part.index) for name, part in cells.groupby("slice", observed=True)}
    plain = list(ad.read_h5ad(files.beta).obs_names)
    assert names["one"] == [f"one:{n}" for n in plain]
    assert names["betaseq_1"] == [f"betaseq_1:{n}" for n in plain]
    assert names["alphafish_2"] == list(ad.read_h5ad(files.alpha_2).obs_names)


def test_strange_names_from_end_to_end(files, settings, tmp_path):
    odd = ad.read_h5ad(files.beta)
    odd.obs["cell_type"] = odd.obs["cell_type"].cat.rename_categories({odd.obs["cell_type"].iloc[0]: STRANGE})
    odd.obs["panel"] = "a/b <b>"
    odd.obs["lloki_cluster"] = "mine"
    odd.obs["slice"] = range(odd.n_obs)
    odd.obs["βeta"] = np.arange(odd.n_obs)
    odd.obs_names = [f"{STRANGE}{i}" for i in range(odd.n_obs)]
    name = "<script>alert(1)<|脳"
    odd.write_h5ad(tmp_path / "odd.h5ad")
    result = lloki.integrate(
        [files.alpha_1, tmp_path / "odd.h5ad"],
        reference=files.reference,
        out=tmp_path / "rün",
        samples=["alphafish_1", name],
        technology={name: STRANGE},
        **settings,
    )
    cells = result.adata.obs[result.adata.obs["slice"] == name]
    assert len(cells) == odd.n_obs
    assert list(cells.index) == list(odd.obs_names)
    assert STRANGE in set(cells["cell_type"])
    assert set(cells["lloki_cluster_input"]) == {"mine"}
    assert list(cells["slice_input"]) == list(range(odd.n_obs))
    assert list(cells["βeta"]) == list(range(odd.n_obs))
    page = result.report.read_text()
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page
    again = lloki.project(
        tmp_path / "odd.h5ad",
        run=result.folder,
        samples=[name],
        technology={name: STRANGE},
        label_key="cell_type",
    )
    np.testing.assert_allclose(
        again.obsm["X_lloki"], result.adata[again.obs_names].obsm["X_lloki"], atol=1e-5
    )


def test_cells_without_counts_are_kept_and_flagged(files, integrate, tmp_path):
    empty = ad.read_h5ad(files.beta)
    x = empty.X.tolil()
    x[:4] = 0
    empty.X = x.tocsr()
    empty.write_h5ad(tmp_path / files.beta.name)
    result = integrate([files.alpha_1, tmp_path / files.beta.name, files.alpha_2])
    cells = result.adata.obs
    assert list(cells.index[cells["lloki_flag"] == "no counts"]) == list(empty.obs_names[:4])
    assert result.qc.set_index("slice").loc["betaseq_1", "cells_flagged"] == 4
    assert np.isfinite(result.adata.obsm["X_lloki"]).all()
    assert np.isfinite(result.adata.obsm["X_umap"]).all()


def test_the_share_of_controls_is_in_the_table_of_slices(files, integrate, tmp_path):
    counted = ad.read_h5ad(files.beta)
    total = counted.X.sum()
    counted.obs["control_counts"] = 0
    counted.obs.iloc[:10, counted.obs.columns.get_loc("control_counts")] = 7
    counted.write_h5ad(tmp_path / files.beta.name)
    qc = integrate([files.alpha_1, tmp_path / files.beta.name]).qc.set_index("slice")
    assert qc.loc["betaseq_1", "control_rate"] == pytest.approx(70 / (70 + total))
    assert math.isnan(qc.loc["alphafish_1", "control_rate"])


def test_a_very_small_slice(files, integrate, tmp_path):
    small = ad.read_h5ad(files.alpha_1)[:3].copy()
    small.write_h5ad(tmp_path / "small.h5ad")
    result = integrate([tmp_path / "small.h5ad", files.beta])
    assert (result.adata.obs["slice"] == "small").sum() == 3
    assert np.isfinite(result.adata.obsm["X_lloki"]).all()


def _with_embedding(path: Path, folder: Path, dim: int = 6) -> Path:
    adata = ad.read_h5ad(path)
    kinds = adata.obs["cell_type"].cat.codes.to_numpy()
    rng = np.random.default_rng(len(path.stem))
    adata.obsm["X_mine"] = np.eye(20)[kinds][:, :dim] + 0.1 * rng.normal(size=(adata.n_obs, dim))
    adata.write_h5ad(folder / path.name)
    return folder / path.name


def test_a_precomputed_embedding_needs_no_reference(files, integrate, same, status, tmp_path):
    slices = [_with_embedding(p, tmp_path) for p in files.slices]
    result = integrate(slices, embedder="precomputed:X_mine", reference=None)
    for path in slices:
        slice_ = ad.read_h5ad(path)
        np.testing.assert_array_equal(
            result.adata[slice_.obs_names].obsm["X_lloki_fp"], slice_.obsm["X_mine"].astype(np.float32)
        )
    assert status(result, "features") == []
    assert result.run["reference"] is None
    assert "sparsity_before" not in result.qc
    again = integrate(slices, embedder="precomputed:X_mine")  # the reference of the fixture is not read
    assert any("the reference is not used" in m["text"] for m in again.run["messages"])
    assert status(again, "training") == ["reused"]
    same(result, again)
    projected = lloki.project(slices[2], run=result.folder)
    included = result.adata[projected.obs_names]
    np.testing.assert_allclose(projected.obsm["X_lloki"], included.obsm["X_lloki"], atol=1e-5)
    with pytest.raises(InputError, match=r"obsm\['X_mine'\]: the embedding is absent.*spatial_true"):
        lloki.project(files.alpha_2, run=result.folder)


def test_precomputed_embeddings_that_do_not_fit(files, integrate, tmp_path):
    slices = [_with_embedding(files.alpha_1, tmp_path), _with_embedding(files.beta, tmp_path, dim=5)]
    with pytest.raises(InputError, match=r"betaseq_1 .*has 5 columns, that of the slices before has 6"):
        integrate(slices, embedder="precomputed:X_mine", reference=None)
    result = integrate([*slices, files.alpha_2], embedder="precomputed:X_mine", reference=None, skip_bad=True)
    assert list(result.qc["slice"]) == ["alphafish_1"]
    assert {m["slice"] for m in result.run["messages"] if m["text"].startswith("skipped: ")} == {
        "betaseq_1",
        "alphafish_2",
    }


def test_a_single_anndata(files, integrate):
    result = integrate(ad.read_h5ad(files.alpha_1), samples=["mine"])
    assert set(result.adata.obs["slice"]) == {"mine"}
    assert "mixing" not in result.run["metrics"]  # one batch cannot mix


def test_the_folder_of_work_is_not_needed_later(base, files, tmp_path):
    shutil.copytree(base.folder / "model", tmp_path / "model")
    projected = lloki.project(files.alpha_2, run=tmp_path)
    np.testing.assert_allclose(
        projected.obsm["X_lloki"], base.adata[projected.obs_names].obsm["X_lloki"], atol=1e-5
    )


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([pd.Series([1, 2]), pd.Series([3])], [1, 2, 3]),
        ([pd.Series([1, 2]), None], [1.0, 2.0, math.nan]),
        ([pd.Series([1, None], dtype="Int64"), pd.Series([2.5])], [1.0, math.nan, 2.5]),
        ([pd.Series([True, False]), pd.Series([True])], [True, False, True]),
        ([pd.Series([True, False]), None], ["True", "False", None]),
        ([pd.Series([True, None], dtype="boolean"), pd.Series([True])], ["True", None, "True"]),
        ([pd.Series(["b", None]), pd.Series(["a"])], ["b", None, "a"]),
        ([pd.Series([1, 2]), pd.Series(["a"])], ["1", "2", "a"]),
        ([pd.Series([2, 1], dtype="category"), pd.Series([1.0])], ["2", "1", "1"]),
        ([pd.Series([None, None], dtype=object), None], [None, None, None]),
        ([pd.Series(["x", "y"], dtype="string"), None], ["x", "y", None]),
    ],
)
def test_columns_of_different_kinds(parts, expected, tmp_path):
    joined = pd.Series(_column(parts, [2, 1]))
    assert [None if pd.isna(v) else v for v in joined] == [
        None if v is None or v != v else v for v in expected
    ]
    table = ad.AnnData(obs=pd.DataFrame({"c": joined.to_numpy() if joined.dtype != "category" else joined}))
    table.write_h5ad(tmp_path / "x.h5ad")


def test_categories_keep_their_order():
    parts = [
        pd.Series(pd.Categorical(["L4", "L1"], categories=["L1", "L4"], ordered=True)),
        pd.Series(["L6"]),
    ]
    assert list(_column(parts, [2, 1]).categories) == ["L1", "L4", "L6"]


def test_a_plan_writes_nothing(files, tmp_path, monkeypatch):
    from lloki.run import plan

    monkeypatch.chdir(tmp_path)
    planned = plan(files.slices, reference=files.reference, epochs=2)
    assert planned.ok
    assert [s.name for s in planned.slices] == ["alphafish_1", "betaseq_1", "alphafish_2"]
    found = {s.stage: (s.units, s.done, s.cells) for s in planned.stages}
    assert found == {
        "LLOKI-FP": (3, 0, 450),
        "embedding": (7, 0, 450),  # a summary of each slice, a fit, and each slice's cells
        "LLOKI-CAE": (1, 0, 450),
        "UMAP and clusters": (1, 0, 450),
    }
    have, of = planned.genes_in_reference["betaseq_1"]
    assert 0 < have <= of
    absent = plan([*files.slices, tmp_path / "absent.h5ad"], reference=files.reference)
    assert not absent.ok
    assert not absent.stages
    assert plan([*files.slices, tmp_path / "absent.h5ad"], reference=files.reference, skip_bad=True).stages
    assert not plan(files.slices, reference=tmp_path / "absent.h5ad").ok
    assert not list(tmp_path.iterdir())


def test_a_plan_shows_what_is_done(base, files, settings):
    from lloki.run import plan

    planned = plan(files.slices, reference=files.reference, out=base.folder, **settings)
    assert [s.done for s in planned.stages] == [s.units for s in planned.stages] == [3, 7, 1, 1]
    other = plan(files.slices, reference=files.reference, out=base.folder, **settings | {"resolution": 2.0})
    assert [s.done for s in other.stages] == [3, 7, 1, 0]
    fewer = plan(files.slices[:2], reference=files.reference, out=base.folder, **settings)
    assert [s.done for s in fewer.stages] == [2, 2, 0, 0]  # features and summaries of two slices


def test_a_configuration_survives_json():
    from lloki.run import RunConfig

    config = RunConfig.make(
        preset="paper", n_neighbors=7, epochs=3, label_key="x", seed=5, cae={"hidden": (8, 4)}
    )
    assert RunConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert (config.fp.n_neighbors, config.fp.seed, config.cae.seed, config.cae.epochs) == (7, 5, 5, 3)
    with pytest.raises(ConfigError, match="has no field 'new'"):
        RunConfig.from_dict({**config.to_dict(), "cae": {"new": 1}})


def test_a_message_names_its_slice_and_not_its_file_as_well(files, integrate):
    result = integrate(technology={"alphafish_1": "A", "alphafish_2": "A"})
    text = "obs['technology'] has a name that lloki uses; kept as obs['technology_input']"
    reported = [m["slice"] for m in result.run["messages"] if m["text"] == text]
    assert reported == ["alphafish_1", "alphafish_2"]
    assert f"alphafish_1: {text}" in list(result.adata.uns["lloki"]["messages"])


def test_progress_is_printed_where_it_is_asked_for(integrate, capsys):
    integrate(progress=True)
    reported = capsys.readouterr().err
    for stage in ("Aligning features", "Embedding cells", "Aligning batches"):
        assert f"{stage}: " in reported
    integrate()
    assert "Aligning" not in capsys.readouterr().err
