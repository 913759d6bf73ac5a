"""``lloki.tl`` on the user's own AnnData: slots it writes, what it leaves alone, parity with a whole run."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse

import lloki
from lloki import keys
from lloki.errors import ConfigError, GeneError, InputError, LlokiWarning
from tissue import Tissue, small_tissue

CAE = {"steps": 5, "check_every": 5, "batch_size": 200, "output": "latent"}


@pytest.fixture
def made() -> Tissue:
    return small_tissue(n_cells=120, n_reference=150)


@pytest.mark.parametrize("alpha", [None, 0.0, 0.7])
def test_the_stages_give_what_a_run_gives(made, tmp_path, alpha):
    result = lloki.integrate(
        made.slices, reference=made.reference, out=tmp_path, alpha=alpha, seed=2, cae=CAE
    )
    before = [s.copy() for s in made.slices]
    # an embedder that learns from the slices reads averages of expression, by default
    lloki.tl.embed(made.slices, reference=made.reference, alpha=alpha, seed=2)
    model = lloki.tl.align_batches(made.slices, seed=2, **CAE)
    whole = result.adata
    for i, (adata, old) in enumerate(zip(made.slices, before)):
        rows = whole[(whole.obs["slice"] == f"slice{i + 1}").to_numpy()]
        np.testing.assert_allclose(adata.obsm[keys.FP], rows.obsm[keys.FP], atol=1e-5)
        np.testing.assert_allclose(adata.obsm[keys.JOINT], rows.obsm[keys.JOINT], atol=1e-5)
        assert (adata.X != old.X).nnz == 0
        assert list(adata.obs_names) == list(old.obs_names)
        pd.testing.assert_frame_equal(adata.obs[old.obs.columns], old.obs)
    assert len(model.tokens) == 3


def test_slots_of_align_features_survive_writing(made, tmp_path):
    adata = made.slices[0]
    result = lloki.tl.align_features(adata, made.reference)
    adata.write_h5ad(tmp_path / "a.h5ad")
    denoised = sparse.csr_matrix(adata.layers[keys.DENOISED])
    assert (denoised != result.expression).nnz == 0
    np.testing.assert_allclose(adata.obs[keys.SPARSITY], 1 - np.diff(denoised.indptr) / adata.n_vars)
    np.testing.assert_array_equal(adata.obs[keys.SPARSITY_TARGET], result.targets)
    entry = adata.uns[keys.UNS]["align_features"]
    assert json.loads(entry["parameters"])["preset"] == "default"
    assert entry["w1_after"] <= entry["w1_before"]


def test_features_that_are_no_genes_stay_in_place(made):
    """Control probes in the middle of the panel are left out of the method, not out of the user's AnnData."""
    plain, reference = made.slices[0], made.reference
    lloki.tl.align_features(plain, reference)
    middle = plain.n_vars // 2
    blank = sparse.csr_matrix(np.ones((plain.n_obs, 1), np.float32))
    x = sparse.csr_matrix(plain.X)
    mixed = AnnData(
        sparse.hstack([x[:, :middle], blank, x[:, middle:]], format="csr"),
        obs=plain.obs[["technology"]],
        var=pd.DataFrame(index=[*plain.var_names[:middle], "Blank-1", *plain.var_names[middle:]]),
        obsm={"spatial": plain.obsm["spatial"]},
    )
    with pytest.warns(LlokiWarning, match="measure no gene"):
        lloki.tl.align_features(mixed, reference)
    assert mixed.layers[keys.DENOISED][:, middle].nnz == 0
    kept = mixed[:, plain.var_names]
    assert (kept.layers[keys.DENOISED] != plain.layers[keys.DENOISED]).nnz == 0


def test_a_named_layer_holds_the_counts(made):
    adata = made.slices[0]
    expected = lloki.tl.align_features(adata.copy(), made.reference)
    adata.layers["counts"] = adata.X.copy()
    adata.X = np.log1p(adata.X.toarray() / 7)
    with pytest.raises(InputError, match="layer='counts'"):
        lloki.tl.align_features(adata, made.reference)
    result = lloki.tl.align_features(adata, made.reference, layer="counts")
    assert (result.expression != expected.expression).nnz == 0


def test_embed_without_align_features_uses_log_normalized_counts(made):
    lloki.tl.embed(made.slices, reference=made.reference)
    plain = made.slices[1].obsm[keys.FP].copy()
    assert plain.shape[0] == made.slices[1].n_obs
    lloki.tl.align_features(made.slices[1], made.reference)
    with pytest.warns(LlokiWarning, match="1 of 3 slices have layers"):
        lloki.tl.embed(made.slices, reference=made.reference)
    assert not np.allclose(made.slices[1].obsm[keys.FP], plain)


def test_embed_needs_a_reference_and_a_known_embedder(made):
    with pytest.raises(ConfigError, match="Set reference"):
        lloki.tl.embed(made.slices)
    with pytest.raises(ConfigError, match="no embedder"):
        lloki.tl.embed(made.slices, embedder="none", reference=made.reference)


def test_precomputed_is_copied(made):
    rng = np.random.default_rng(0)
    for adata in made.slices:
        adata.obsm["X_mine"] = rng.normal(size=(adata.n_obs, 6)).astype(np.float32)
    lloki.tl.embed(made.slices, embedder="precomputed:X_mine")
    for adata in made.slices:
        np.testing.assert_array_equal(adata.obsm[keys.FP], adata.obsm["X_mine"])
    with pytest.raises(InputError, match="X_yours"):
        lloki.tl.embed(made.slices, embedder="precomputed:X_yours")


def test_nothing_is_written_where_something_is_wrong(made):
    adata = made.slices[0]
    foreign = made.reference.copy()
    foreign.var_names = [f"feature {i}" for i in range(foreign.n_vars)]
    before = adata.copy()
    with pytest.raises(GeneError, match="0 of 88 genes"):
        lloki.tl.align_features(adata, foreign)
    with pytest.raises(ConfigError, match="iteration"):
        lloki.tl.align_features(adata, made.reference, iteration=3)
    with pytest.raises(InputError, match=r"lloki\.tl\.embed"):
        lloki.tl.align_batches(made.slices)
    with pytest.raises(ConfigError, match="step"):
        lloki.tl.align_batches(made.slices, step=3)
    assert set(adata.layers) == set(before.layers)
    assert list(adata.obs) == list(before.obs)
    assert keys.UNS not in adata.uns


def test_checked_slices_are_warned_of_once(made):
    del made.slices[0].obs["technology"], made.slices[0].uns["technology"]
    with pytest.warns(LlokiWarning, match="no technology"):
        slices = lloki.io.read_slices(made.slices)
    with warnings.catch_warnings():
        warnings.simplefilter("error", LlokiWarning)
        lloki.tl.align_features(slices[0], made.reference)
        lloki.tl.embed([slices[0]], reference=made.reference)
    assert slices[0].uns[keys.UNS]["messages"]  # messages of io stay beside what tl adds
