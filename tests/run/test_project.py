"""New slices through a finished run."""

from __future__ import annotations

import json

import anndata as ad
import numpy as np
import pytest

import lloki
from lloki.errors import ConfigError, GeneError, ModelError, UnknownTokenError
from lloki.run import Result


@pytest.fixture(scope="module")
def held_out(files, settings, tmp_path_factory) -> Result:
    """Train without the second section of Alphafish, and embed it all the same."""
    out = tmp_path_factory.mktemp("held_out") / "run"
    return lloki.integrate(
        files.slices, reference=files.reference, out=out, project_only=["alphafish_2"], **settings
    )


@pytest.fixture(scope="module")
def without(files, settings, tmp_path_factory) -> Result:
    """Never see that section."""
    out = tmp_path_factory.mktemp("without") / "run"
    return lloki.integrate(files.slices[:2], reference=files.reference, out=out, **settings)


def test_projection_is_inclusion_without_training(held_out, without, files, tmp_path):
    """The same rows, whether a section is left out of the training or of the run."""
    included = held_out.adata
    included = included[included.obs["slice"] == "alphafish_2"]
    for run in (held_out, without):
        projected = lloki.project(files.alpha_2, run=run.folder, out=tmp_path / run.folder.parent.name)
        assert list(projected.obs_names) == list(included.obs_names)
        for key in ("X_lloki_fp", "X_lloki"):
            np.testing.assert_allclose(projected.obsm[key], included.obsm[key], rtol=0, atol=1e-5)
    assert [s["trained"] for s in held_out.run["slices"]] == [True, True, False]


def test_a_projected_slice_does_not_change_the_others(held_out, without):
    rest = held_out.adata[without.adata.obs_names]
    for key in ("X_lloki_fp", "X_lloki"):
        np.testing.assert_array_equal(rest.obsm[key], without.adata.obsm[key])


def test_what_projection_leaves(without, files, tmp_path):
    projected = lloki.project([files.alpha_2], run=without.folder / "model", out=tmp_path / "new")
    written = ad.read_h5ad(tmp_path / "new" / "projected.h5ad")
    np.testing.assert_array_equal(written.obsm["X_lloki"], projected.obsm["X_lloki"])
    record = json.loads((tmp_path / "new" / "run.json").read_text())
    assert record["parameters"] == without.run["parameters"]
    assert {"features", "embedding", "encode"} <= {s["stage"] for s in record["stages"]}
    assert (tmp_path / "new" / "qc.csv").read_text().startswith("slice,technology,panel,cells")
    again = lloki.project([files.alpha_2], run=without.folder, out=tmp_path / "new")
    np.testing.assert_array_equal(again.obsm["X_lloki"], projected.obsm["X_lloki"])
    record = json.loads((tmp_path / "new" / "run.json").read_text())
    assert {s["status"] for s in record["stages"] if s["stage"] == "features"} == {"reused"}


def test_an_unknown_technology_is_refused_before_any_work(without, files, tmp_path):
    with pytest.raises(UnknownTokenError) as caught:
        lloki.project(
            files.alpha_2, run=without.folder, out=tmp_path / "new", technology={"alphafish_2": "Zeta"}
        )
    text = str(caught.value)
    assert "alphafish_2" in text
    assert "Zeta|panel_" in text
    assert "Alphafish|panel_" in text
    assert "--technology" in text
    assert not (tmp_path / "new").exists()


def test_a_named_panel_with_other_genes_is_said(files, settings, tmp_path):
    names = ["v1", "v2"]
    lloki.integrate(
        files.slices[:2], reference=files.reference, out=tmp_path / "run", panels=names, **settings
    )
    fewer = ad.read_h5ad(files.alpha_2)[:, 5:].copy()
    fewer.write_h5ad(tmp_path / "fewer.h5ad")
    projected = lloki.project(tmp_path / "fewer.h5ad", run=tmp_path / "run", panels=["v1"])
    assert any("5 fewer, 0 more" in text for text in projected.uns["lloki"]["messages"])
    assert np.isfinite(projected.obsm["X_lloki"]).all()
    fewer.var_names = [f"strange{i}" for i in range(fewer.n_vars)]
    fewer.write_h5ad(tmp_path / "fewer.h5ad")
    with pytest.raises(GeneError, match=r"fewer var_names: 0 of .* genes are in the run's reference"):
        lloki.project(tmp_path / "fewer.h5ad", run=tmp_path / "run", panels=["v1"])


def test_places_that_hold_no_run(files, tmp_path):
    with pytest.raises(ModelError, match="holds no finished run"):
        lloki.project(files.alpha_2, run=tmp_path)
    (tmp_path / "model" / "embedder").mkdir(parents=True)
    (tmp_path / "model" / "run.json").write_text("{")
    with pytest.raises(ModelError, match=r"run\.json: cannot be read"):
        lloki.project(files.alpha_2, run=tmp_path)
    (tmp_path / "model" / "run.json").write_text("{}")
    with pytest.raises(ModelError, match="lacks 'config'"):
        lloki.project(files.alpha_2, run=tmp_path)


def test_a_projection_never_overwrites_its_run(without, files):
    before = (without.folder / "run.json").read_bytes()
    for place in (without.folder, without.folder / "model"):
        with pytest.raises(ConfigError, match="Choose another place"):
            lloki.project(files.alpha_2, run=without.folder, out=place)
    assert (without.folder / "run.json").read_bytes() == before


@pytest.mark.filterwarnings("ignore::lloki.errors.LlokiWarning")
def test_a_real_section_lands_where_it_would_have(shared_data, tmp_path):
    file = shared_data / "spatial" / "merfish_moffitt_poa_animal1.h5ad"
    sections = [s[:2000].copy() for s in lloki.io.read_slices([file], slice_key="slice")[:3]]
    left_out = sections[2].obs["slice"].iloc[0]
    reference = shared_data / "reference" / "scrna_mouse_brain_strt_combined.h5ad"
    how = {"reference": reference, "cae": {"steps": 30}}
    included = lloki.integrate(sections, out=tmp_path / "with", project_only=[left_out], **how).adata
    lloki.integrate(sections[:2], out=tmp_path / "without", **how)
    projected = lloki.project(sections[2], run=tmp_path / "without")
    rows = included[included.obs["slice"] == left_out]
    difference = np.abs(rows.obsm["X_lloki"] - projected[rows.obs_names].obsm["X_lloki"]).max()
    print(f"{left_out}: {len(projected):,} cells, largest difference {difference}")
    assert difference <= 1e-5


def test_a_new_platform_fits_its_token_and_leaves_the_rest_alone(without, files, tmp_path):
    how = {"technology": {"alphafish_2": "Zeta"}, "fit_token": True}
    projected = lloki.project(files.alpha_2, run=without.folder, out=tmp_path / "new", **how)
    assert set(projected.obs["technology"]) == {"Zeta"}
    assert any("was fitted to the run's model" in text for text in projected.uns["lloki"]["messages"])
    # not the row that its true token would give, and not far from it
    known = lloki.project(files.alpha_2, run=without.folder)
    assert not np.allclose(projected.obsm["X_lloki"], known.obsm["X_lloki"])
    # the fitted model is a run to project with, in which the old tokens mean what they did
    fitted = tmp_path / "new" / "fitted-model"
    again = lloki.project(files.alpha_2, run=fitted, technology={"alphafish_2": "Zeta"})
    np.testing.assert_array_equal(again.obsm["X_lloki"], projected.obsm["X_lloki"])
    old = lloki.project(files.alpha_2, run=fitted)
    np.testing.assert_array_equal(old.obsm["X_lloki"], known.obsm["X_lloki"])


def test_a_fitted_token_is_found_again(without, files, tmp_path):
    how = {"technology": {"alphafish_2": "Zeta"}, "fit_token": True, "out": tmp_path / "new"}
    first = lloki.project(files.alpha_2, run=without.folder, **how)
    second = lloki.project(files.alpha_2, run=without.folder, **how)
    np.testing.assert_array_equal(first.obsm["X_lloki"], second.obsm["X_lloki"])
    record = json.loads((tmp_path / "new" / "run.json").read_text())
    assert [s["status"] for s in record["stages"] if s["stage"] == "token"] == ["reused"]


def test_a_new_token_under_the_name_of_a_trained_slice_is_refused(without, files):
    with pytest.raises(ConfigError, match="alphafish_1: a slice of this name"):
        lloki.project(files.alpha_1, run=without.folder, technology={"alphafish_1": "Zeta"}, fit_token=True)
