"""A whole run against its recipe: which matrix goes where, from files to tables, by the public steps."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest

import lloki
from lloki import keys
from lloki.cae import CAEConfig, CAEModel, fit_token, train
from lloki.embed import Factor, load_embedder
from lloki.evaluate import quality
from lloki.fp import (
    FPConfig,
    FPResult,
    align_features,
    choose_alpha,
    gene_folds,
    log_normalize,
    propagate_embedding,
    reference_sparsity,
)
from lloki.run import Result
from lloki.run._view import view

NAMES = ("alphafish_1", "betaseq_1", "alphafish_2")


@dataclass(frozen=True)
class Recipe:
    """What a run should have made of its slices."""

    features: dict[str, FPResult]
    shares: dict[str, float]
    rows: dict[str, np.ndarray]
    model: CAEModel
    joint: dict[str, np.ndarray]


def token_of(name: str, result: ad.AnnData) -> str:
    return str(result.obs.loc[result.obs["slice"] == name, keys.TOKEN].iloc[0])


def recipe(
    paths: Mapping[str, Path],
    reference: Path,
    tokens: Mapping[str, str],
    *,
    trained: Sequence[str],
    labels: Mapping[str, Sequence[str]] | None = None,
    how: Mapping[str, object] | None = None,
) -> Recipe:
    """Features of each slice; an embedder that learns from the trained ones; an autoencoder of these."""
    single = ad.read_h5ad(reference)
    slices = {name: ad.read_h5ad(path) for name, path in paths.items()}
    features, genes = {}, {}
    for name, adata in slices.items():
        genes[name] = list(map(str, adata.var_names))
        sparsity = reference_sparsity(single.X, list(single.var_names), genes[name], mode="panel")
        config = FPConfig.preset("default").for_embedder(joint=True)
        features[name] = align_features(adata.X, adata.obsm[keys.SPATIAL], sparsity, config=config)
    embedder = Factor()
    summaries = {n: embedder.summarize(features[n].expression, genes[n]) for n in slices}
    learned = {g for n in trained for g in genes[n]}
    columns = [i for i, g in enumerate(single.var_names) if g in learned]
    # single cells are normalized over the genes that are kept
    linked = embedder.summarize(log_normalize(single.X[:, columns]), list(single.var_names[columns]))
    embedder = embedder.fit({n: summaries[n] for n in trained}, linked)
    rows, shares = {}, {}
    for n, adata in slices.items():
        x, state = features[n].expression, summaries[n]
        z = embedder.embed(x, genes[n], state=state, cell_ids=list(adata.obs_names))
        # genes are left out of the averaged expression, and their own values are predicted
        observed = log_normalize(adata.X)
        held = embedder.hold_out(x, genes[n], gene_folds(genes[n]), state=state, observed=observed)
        folds = [(h.rows, h.predict, h.values) for h in held]
        shares[n] = choose_alpha(folds, adata.obsm[keys.SPATIAL])
        rows[n] = propagate_embedding(z, adata.obsm[keys.SPATIAL], shares[n])
    model = train(
        {n: rows[n] for n in trained},
        {n: tokens[n] for n in trained},
        labels=labels,
        config=replace(CAEConfig(), **(how or {})),
    )
    joint = {n: model.encode(rows[n], tokens[n], slice_name=n) for n in slices}
    return Recipe(features, shares, rows, model, joint)


def rows_of(adata: ad.AnnData, name: str) -> np.ndarray:
    return np.flatnonzero(adata.obs["slice"] == name)


@pytest.fixture(scope="module")
def paths(files) -> dict[str, Path]:
    return dict(zip(NAMES, files.slices))


@pytest.fixture(scope="module")
def whole(files, settings, tmp_path_factory) -> Result:
    """All three slices, without the page (it has tests of its own)."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lloki.run.outputs.build_report", lambda *given, **named: None)
        out = tmp_path_factory.mktemp("whole") / "run"
        return lloki.integrate(files.slices, reference=files.reference, out=out, **settings)


@pytest.fixture(scope="module")
def want(whole, paths, files, settings) -> Recipe:
    tokens = {n: token_of(n, whole.adata) for n in NAMES}
    return recipe(paths, files.reference, tokens, trained=NAMES, how=settings["cae"])


def test_every_slice_has_its_own_features_embedding_and_joint_rows(whole, want, paths):
    adata = whole.adata
    assert list(dict.fromkeys(adata.obs["slice"])) == list(NAMES)
    for name in NAMES:
        rows = rows_of(adata, name)
        assert list(adata.obs_names[rows]) == list(ad.read_h5ad(paths[name]).obs_names)
        np.testing.assert_allclose(adata.obsm[keys.FP][rows], want.rows[name], atol=1e-5, err_msg=name)
        np.testing.assert_allclose(adata.obsm[keys.JOINT][rows], want.joint[name], atol=1e-5, err_msg=name)


def test_quality_control_has_a_row_a_slice_of_its_own_sparsities(whole, want):
    qc = whole.qc.set_index("slice")
    for name, fp in want.features.items():
        row = qc.loc[name]
        assert row["sparsity_before"] == pytest.approx(fp.sparsity_before.mean())
        assert row["latent_alpha"] == want.shares[name]
    assert "sparsity_target" not in qc  # nothing was propagated in expression


def test_the_map_and_clusters_are_those_of_the_joint_rows_in_the_order_of_names(whole):
    adata = whole.adata
    order = np.concatenate([rows_of(adata, name) for name in sorted(NAMES)])
    umap, clusters = view(adata.obsm[keys.JOINT][order], resolution=1.0, seed=0)
    np.testing.assert_array_equal(adata.obsm[keys.UMAP][order], umap)
    assert adata.obs[keys.CLUSTER].astype(str).to_numpy()[order].tolist() == clusters.astype(str).tolist()


def test_figures_compare_the_joint_rows_with_those_before(whole):
    adata = whole.adata
    table = quality(
        adata.obsm[keys.FP],
        adata.obsm[keys.JOINT],
        slices=adata.obs["slice"].astype(str).to_numpy(),
        tokens=adata.obs[keys.TOKEN].astype(str).to_numpy(),
        labels=adata.obs["cell_type"].astype(str).to_numpy(),
        seed=0,
    )
    found = pd.read_csv(whole.folder / "quality.csv")
    assert list(found.columns) == list(table.columns)
    pd.testing.assert_frame_equal(found, table, check_dtype=False)
    joint = table.iloc[1]
    assert whole.run["metrics"]["mixing"] == pytest.approx(joint["mixing"])
    assert whole.run["metrics"]["preservation"] == pytest.approx(joint["preservation"])


@pytest.fixture(scope="module")
def held_out(files, settings, tmp_path_factory) -> Result:
    """The last slice is embedded, and not trained on."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lloki.run.outputs.build_report", lambda *given, **named: None)
        out = tmp_path_factory.mktemp("held_out") / "run"
        how = {"reference": files.reference, "project_only": ["alphafish_2"], **settings}
        return lloki.integrate(files.slices, out=out, **how)


def test_a_slice_that_is_only_embedded_enters_neither_fit_nor_training(
    held_out, want, paths, files, settings
):
    tokens = {n: token_of(n, held_out.adata) for n in NAMES}
    own = recipe(paths, files.reference, tokens, trained=NAMES[:2], how=settings["cae"])
    for name in NAMES:
        rows = rows_of(held_out.adata, name)
        np.testing.assert_allclose(held_out.adata.obsm[keys.FP][rows], own.rows[name], atol=1e-5)
        np.testing.assert_allclose(held_out.adata.obsm[keys.JOINT][rows], own.joint[name], atol=1e-5)
    assert np.abs(own.rows["alphafish_1"] - want.rows["alphafish_1"]).max() > 1e-3


def test_a_projected_slice_passes_through_the_model_of_the_run(held_out, files):
    projected = lloki.project(files.alpha_2, run=held_out.folder)
    rows = rows_of(held_out.adata, "alphafish_2")
    np.testing.assert_allclose(projected.obsm[keys.FP], held_out.adata.obsm[keys.FP][rows], atol=1e-5)
    np.testing.assert_allclose(projected.obsm[keys.JOINT], held_out.adata.obsm[keys.JOINT][rows], atol=1e-5)
    # whatever slices are projected beside it, and in whatever order
    beside = lloki.project([files.beta, files.alpha_2], run=held_out.folder)
    rows = rows_of(beside, "alphafish_2")
    np.testing.assert_array_equal(beside.obsm[keys.JOINT][rows], projected.obsm[keys.JOINT])
    first = rows_of(beside, "betaseq_1")
    known = held_out.adata.obsm[keys.JOINT][rows_of(held_out.adata, "betaseq_1")]
    np.testing.assert_allclose(beside.obsm[keys.JOINT][first], known, atol=1e-5)


def test_a_new_token_is_fitted_to_all_slices_that_have_it_and_to_no_other(held_out, files):
    how = {"technology": {"alphafish_2": "Zeta"}, "fit_token": True}
    found = lloki.project([files.beta, files.alpha_2], run=held_out.folder, **how)
    mine = rows_of(found, "alphafish_2")
    token = str(found.obs[keys.TOKEN].iloc[mine[0]])
    x = found.obsm[keys.FP]
    model = fit_token(CAEModel.load(held_out.folder / "model"), {"alphafish_2": x[mine]}, token=token)
    encoded = model.encode(x[mine], token, slice_name="alphafish_2")
    np.testing.assert_allclose(found.obsm[keys.JOINT][mine], encoded, atol=1e-5)


def test_single_cells_are_embedded_by_the_genes_of_the_run_and_a_token_of_their_own(held_out, files):
    found = lloki.project_reference(files.reference, run=held_out.folder)
    single = ad.read_h5ad(files.reference)
    # of the trained slices: what the run was trained with
    genes = {g for p in files.slices[:2] for g in ad.read_h5ad(p).var_names}
    columns = [i for i, g in enumerate(single.var_names) if g in genes]
    embedder = load_embedder(held_out.folder / "model" / "embedder")
    names = list(map(str, single.var_names[columns]))
    x = log_normalize(single.X[:, columns])
    rows = embedder.embed(x, names, state=embedder.summarize(x, names), cell_ids=list(single.obs_names))
    np.testing.assert_allclose(found.obsm[keys.FP], rows, atol=1e-5)
    token = "scRNA-seq|reference"
    model = fit_token(CAEModel.load(held_out.folder / "model"), {"reference": rows}, token=token)
    encoded = model.encode(rows, token, slice_name="reference")
    np.testing.assert_allclose(found.obsm[keys.JOINT], encoded, atol=1e-5)


def test_training_sees_the_labels_of_the_slices_that_are_named(
    whole, want, integrate, paths, files, settings, tmp_path
):
    shutil.copytree(whole.folder / "work", tmp_path / "run" / "work")
    found = integrate(train_labels="cell_type", train_label_slices=("alphafish_1",))
    tokens = {n: token_of(n, whole.adata) for n in NAMES}
    labels = {"alphafish_1": ad.read_h5ad(files.alpha_1).obs["cell_type"].astype(str).tolist()}
    config = replace(CAEConfig(), **settings["cae"])
    model = train(want.rows, tokens, labels=labels, config=config)
    for name in NAMES:
        rows = rows_of(found.adata, name)
        encoded = model.encode(want.rows[name], tokens[name], slice_name=name)
        np.testing.assert_allclose(found.adata.obsm[keys.JOINT][rows], encoded, atol=1e-5)
    assert np.abs(encoded - want.joint[name]).max() > 1e-4
