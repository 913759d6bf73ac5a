"""``lloki.tl.align_slices``: what it writes into an AnnData, its warnings, and what stays unchanged."""

from __future__ import annotations

import json
import warnings

import anndata as ad
import numpy as np
import pandas as pd
import pytest

import lloki
from lloki import keys
from lloki.errors import ConfigError, InputError, LlokiWarning
from sections import QUICK, error, joint


@pytest.fixture(scope="module")
def done() -> tuple[ad.AnnData, object]:
    adata = joint()
    return adata, lloki.tl.align_slices(adata, reference="a", **QUICK)


def test_positions_land_in_the_frame_of_the_reference(done):
    adata, alignment = done
    aligned = adata.obsm[keys.ALIGNED]
    assert aligned.shape == (adata.n_obs, 2)
    for name in "abc":
        assert error(adata, name, aligned) < 20
    assert list(alignment.table()["verdict"]) == ["aligned", "aligned"]
    assert alignment.transforms["a"].degrees == 0
    assert adata.obs[keys.IN_OVERLAP].mean() > 0.98
    first = (adata.obs["slice"] == "a").to_numpy()
    np.testing.assert_array_equal(aligned[first], adata.obsm[keys.SPATIAL][first])


def test_matches_name_cells_of_the_reference(done):
    adata, alignment = done
    match, confidence = adata.obs[keys.MATCH], adata.obs[keys.MATCH_CONFIDENCE]
    assert set(match[adata.obs["slice"] == "a"]) == {""}
    of_b = match[(adata.obs["slice"] == "b") & (match != "")]
    assert len(of_b) == len(alignment.results["a", "b"].landmarks)
    assert all(name.startswith("a") for name in of_b)
    assert (confidence[match == ""] == 0).all()
    places = pd.DataFrame(adata.obsm["true"], index=adata.obs_names)
    apart = np.linalg.norm(places.loc[of_b].to_numpy() - places.loc[of_b.index].to_numpy(), axis=1)
    assert np.median(apart) < 60


def test_everything_survives_writing(done, tmp_path):
    adata, alignment = done
    adata.write_h5ad(tmp_path / "x.h5ad")
    again = ad.read_h5ad(tmp_path / "x.h5ad")
    np.testing.assert_array_equal(again.obsm[keys.ALIGNED], adata.obsm[keys.ALIGNED])
    entry = again.uns["lloki"]["align_slices"]
    facts = json.loads(entry["facts"])
    np.testing.assert_allclose(facts["slices"]["b"]["matrix"], alignment.transforms["b"].matrix)
    assert json.loads(entry["parameters"])["pixels"] == 40


def test_separate_objects_give_the_same(done):
    adata, alignment = done
    parts = [adata[adata.obs["slice"] == name].copy() for name in "abc"]
    for part in parts:
        del part.obsm[keys.ALIGNED]
    again = lloki.tl.align_slices(parts, reference="a", **QUICK)
    np.testing.assert_array_equal(again.transforms["c"].matrix, alignment.transforms["c"].matrix)
    rows = (adata.obs["slice"] == "c").to_numpy()
    np.testing.assert_array_equal(parts[2].obsm[keys.ALIGNED], adata.obsm[keys.ALIGNED][rows])


def test_a_stack_with_heights():
    adata = joint()
    alignment = lloki.tl.align_slices(adata, reference="b", stack=True, z=25.0, **QUICK)
    aligned = adata.obsm[keys.ALIGNED]
    for i, name in enumerate(alignment.transforms):
        assert error(adata, name, aligned, frame="b") < 20
        assert set(aligned[(adata.obs["slice"] == name).to_numpy(), 2]) == {25.0 * i}
    assert len(alignment.results) == 3
    assert keys.MATCH not in adata.obs
    assert {(s["fixed"], s["moving"]) for s in alignment.facts()["stack"]} == set(alignment.results)
    assert len(lloki.pl.overlay(alignment, " ".join(next(iter(alignment.results))))) == 2
    with pytest.raises(InputError, match="Name one of"):
        lloki.pl.rotations(alignment)
    with pytest.raises(ConfigError, match="not for a stack"):
        lloki.tl.align_slices(adata, stack=True, nonrigid=10.0, **QUICK)


def test_heights_from_a_column_and_only_some_slices():
    adata = joint()
    lloki.tl.align_slices(adata, slices=["a", "c"], z="depth", **QUICK)
    aligned = adata.obsm[keys.ALIGNED]
    names = adata.obs["slice"].to_numpy()
    assert np.isnan(aligned[names == "b"]).all()
    assert set(aligned[names == "c", 2]) == {20.0}
    with pytest.raises(InputError, match=r"obs\['none'\]"):
        lloki.tl.align_slices(adata, z="none", **QUICK)
    adata.obs["depth"] = "deep"
    with pytest.raises(InputError, match="not numbers"):
        lloki.tl.align_slices(adata, z="depth", **QUICK)


def test_a_deformation_stays_within_its_bound():
    adata = joint("ab")
    alignment = lloki.tl.align_slices(adata, nonrigid=15.0, **QUICK)
    rows = (adata.obs["slice"] == "b").to_numpy()
    step = np.linalg.norm(adata.obsm[keys.ALIGNED][rows] - alignment.results["a", "b"].moved, axis=1)
    assert 0 < step.max() <= 15
    assert error(adata, "b", adata.obsm[keys.ALIGNED]) < 20
    assert lloki.pl.deformation(alignment).collections
    with pytest.raises(ConfigError, match="nonrigid"):
        lloki.tl.align_slices(adata, nonrigid=-1.0, **QUICK)


def test_unrelated_slices_are_not_placed_and_cause_a_warning():
    adata = joint("ab")
    rows = np.flatnonzero(adata.obs["slice"] == "b")
    adata.obsm[keys.JOINT][rows] = np.random.default_rng(0).normal(size=(len(rows), 6))
    with pytest.warns(LlokiWarning) as caught:
        lloki.tl.align_slices(adata, reference="a", **QUICK)
    texts = [str(w.message) for w in caught]
    assert any("b on a: failed" in text for text in texts)
    assert any("its transform to a is undetermined" in text for text in texts)
    assert np.isnan(adata.obsm[keys.ALIGNED][rows]).all()
    assert not adata.obs[keys.IN_OVERLAP].to_numpy()[rows].any()
    assert not adata.obs[keys.MATCH].to_numpy()[rows].any()


def test_other_units_and_a_third_coordinate_are_warned_of():
    adata = joint("ab")
    rows = (adata.obs["slice"] == "b").to_numpy()
    deep = np.column_stack([adata.obsm[keys.SPATIAL], np.full(adata.n_obs, 7.0)])
    deep[rows, :2] /= 0.1
    parts = [adata[~rows].copy(), adata[rows].copy()]
    parts[1].obsm[keys.SPATIAL] = deep[rows]
    with pytest.warns(LlokiWarning) as caught:
        lloki.tl.align_slices(parts, **QUICK)
    texts = [str(w.message) for w in caught]
    assert any("units differ (pixels and µm), give scale=" in text for text in texts)
    assert any("third coordinate of the moving slice" in text for text in texts)
    with pytest.warns(LlokiWarning, match="third coordinate"):
        lloki.tl.align_slices(parts, scale=0.1, **QUICK)
    placed = parts[1].obsm[keys.ALIGNED]
    assert error(parts[1], "b", placed) < 20
    assert set(placed[:, 2]) == {7.0}  # kept
    assert np.isnan(parts[0].obsm[keys.ALIGNED][:, 2]).all()


@pytest.mark.parametrize(
    ("change", "settings", "kind", "message"),
    [
        (lambda a: a.obsm.pop(keys.JOINT), {}, InputError, r"obsm\['X_lloki'\].*Integrate"),
        (lambda a: a.obsm.pop(keys.SPATIAL), {}, InputError, r"obsm\['spatial'\]"),
        (lambda a: a.obs.pop("slice"), {}, InputError, r"obs\['slice'\]"),
        (lambda a: a.obsm[keys.SPATIAL].__setitem__((0, 0), np.nan), {}, InputError, "NaN"),
        (lambda a: None, {"reference": "z"}, ConfigError, "'z' is not among"),
        (lambda a: None, {"slices": ["a", "z"]}, InputError, "no slice 'z'"),
        (lambda a: None, {"slices": ["a"]}, ConfigError, "at least two slices"),
        (lambda a: None, {"rotation": 3}, ConfigError, "align_slices has no option 'rotation'"),
    ],
)
def test_bad_input_is_named_and_nothing_written(change, settings, kind, message):
    adata = joint("ab", cells=60)
    change(adata)
    with pytest.raises(kind, match=message):
        lloki.tl.align_slices(adata, **settings)
    assert keys.ALIGNED not in adata.obsm


@pytest.mark.parametrize("stack", [False, True])
def test_slices_without_a_common_gene_are_never_aligned(stack):
    adata = joint("ab")
    slices = [adata[adata.obs["slice"] == name].copy() for name in "ab"]
    assert lloki.tl.align_slices(slices, stack=stack, **QUICK).table()["verdict"].tolist() == ["aligned"]
    slices[1].var_names = ["another gene"]
    with pytest.warns(LlokiWarning, match="share no gene"):
        alignment = lloki.tl.align_slices(slices, stack=stack, use_ambiguous=True, **QUICK)
    assert alignment.table()["verdict"].tolist() == ["ambiguous"]
    assert alignment.transforms["b"] is not None


def test_the_record_of_a_run_says_which_genes_are_common():
    adata = joint("ab")
    wide = ad.AnnData(np.zeros((adata.n_obs, 2), np.float32), obs=adata.obs, obsm=dict(adata.obsm))
    wide.uns["lloki"] = {"slices": ["a", "b"]}
    for measured, word in ((np.eye(2, dtype=bool), "ambiguous"), (np.ones((2, 2), bool), "aligned")):
        wide.varm[keys.MEASURED] = measured
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", LlokiWarning)
            alignment = lloki.tl.align_slices(wide, **QUICK)
        assert alignment.table()["verdict"].tolist() == [word]


@pytest.mark.parametrize("stack", [False, True])
@pytest.mark.parametrize("foreign", ["a", "b"])
def test_slices_that_are_unlike_the_reference_of_their_run_are_never_aligned(stack, foreign, tmp_path):
    adata = joint("ab")
    adata.uns["lloki"] = {"slices": ["a", "b"], "unlike_reference": [foreign]}
    adata.write_h5ad(tmp_path / "run.h5ad")  # as it comes back from a file
    adata = ad.read_h5ad(tmp_path / "run.h5ad")
    with pytest.warns(LlokiWarning, match=f"genes of {foreign} do not go together as in the reference"):
        alignment = lloki.tl.align_slices(adata, stack=stack, use_ambiguous=True, **QUICK)
    assert alignment.table()["verdict"].tolist() == ["ambiguous"]
    assert alignment.transforms["b"] is not None
    adata.uns["lloki"]["unlike_reference"] = []
    with warnings.catch_warnings():
        warnings.simplefilter("error", LlokiWarning)
        assert lloki.tl.align_slices(adata, stack=stack, **QUICK).table()["verdict"].tolist() == ["aligned"]
