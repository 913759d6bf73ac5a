from __future__ import annotations

from itertools import combinations, permutations

import anndata as ad
import numpy as np
import pytest
from scipy import sparse
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge
from sklearn.neighbors import KNeighborsClassifier

from lloki.datasets import ALPHAFISH, BETASEQ, PLATFORMS, Platform, Tissue, tissue
from lloki.datasets._genes import CORE, MARKERS, transcriptome
from lloki.errors import ConfigError


@pytest.fixture(scope="module")
def made() -> Tissue:
    return tissue(n_cells=1500, n_reference=2000, seed=0)


def test_slices_look_like_real_input(made: Tissue) -> None:
    for data, platform in zip(made.slices, PLATFORMS):
        assert data.shape == (1500, platform.n_genes)
        assert sparse.isspmatrix_csr(data.X)
        assert data.X.dtype == np.float32
        assert (data.X.data > 0).all()
        assert (data.X.data == np.round(data.X.data)).all()
        assert data.var_names.is_unique
        assert data.obs_names.is_unique
        assert np.isfinite(data.obsm["spatial"]).all()
        assert set(data.obs["cell_type"].cat.categories) == set(MARKERS)
        assert data.uns["technology"] == platform.name == data.obs["technology"].iloc[0]
        assert set(data.var_names) <= set(made.reference.var_names)
    everyone = [name for data in made.slices for name in data.obs_names]
    assert len(set(everyone)) == len(everyone)


@pytest.mark.parametrize("seed", range(5))
def test_panels_overlap_by_10_to_30_percent_and_hold_markers(seed: int) -> None:
    panels = [set(s.var_names) for s in tissue(n_cells=5, n_reference=5, seed=seed).slices]
    for a, b in combinations(panels, 2):
        assert 0.10 <= len(a & b) / min(len(a), len(b)) <= 0.30
    assert len(CORE) <= len(set.intersection(*panels)) <= 15
    for panel in panels:
        assert all(len(panel & set(markers)) >= 2 for markers in MARKERS.values())


def test_platforms_differ_as_documented(made: Tissue) -> None:
    for data, platform in zip(made.slices, PLATFORMS):
        assert data.X.sum(axis=1).mean() == pytest.approx(platform.counts_per_cell, rel=0.05)
    zeros = [1 - s.X.nnz / np.prod(s.shape) for s in made.slices]
    assert zeros[0] < min(zeros[1:]) - 0.05
    for data in made.slices:  # the reference is denser on every panel, so that propagation has a target
        on_panel = made.reference[:, data.var_names].X
        assert 1 - on_panel.nnz / np.prod(on_panel.shape) < 1 - data.X.nnz / np.prod(data.shape)


def test_excitatory_types_keep_to_their_layers(made: Tissue) -> None:
    for data in made.slices:
        obs = data.obs
        for kind, layer in (("L2/3 IT", "L2/3"), ("L4 IT", "L4"), ("L6 CT", "L6"), ("Oligo", "WM")):
            counts = obs.loc[obs["cell_type"] == kind, "layer"].value_counts(normalize=True)
            assert counts.idxmax() == layer
        assert obs["layer"].nunique() == 6
        depth = data.obsm["spatial_true"][:, 1]
        order = [depth[obs["layer"] == layer].mean() for layer in obs["layer"].cat.categories]
        assert order == sorted(order)


def test_spatial_is_the_true_frame_turned_and_shifted(made: Tissue) -> None:
    for data in made.slices:
        turn = np.deg2rad(data.uns["rotation_deg"])
        rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        back = (data.obsm["spatial"] - data.uns["translation"]) @ rotation
        np.testing.assert_allclose(back, data.obsm["spatial_true"], atol=1e-8)
    assert len({round(s.uns["rotation_deg"]) for s in made.slices}) == 3


def test_same_seed_same_data_and_slices_do_not_depend_on_each_other() -> None:
    both = tissue(n_cells=50, n_reference=20, platforms=(ALPHAFISH, BETASEQ), seed=3)
    alone = tissue(n_cells=50, n_reference=20, platforms=(BETASEQ,), seed=3)
    other = tissue(n_cells=50, n_reference=20, platforms=(BETASEQ,), seed=4)
    assert (both.slices[1].X != alone.slices[0].X).nnz == 0
    np.testing.assert_array_equal(both.slices[1].obsm["spatial"], alone.slices[0].obsm["spatial"])
    assert (both.reference.X != alone.reference.X).nnz == 0
    assert list(other.slices[0].var_names) != list(alone.slices[0].var_names)


def test_a_platform_named_twice_keeps_its_panel_but_not_its_cells() -> None:
    first, second = tissue(n_cells=80, n_reference=20, platforms=(BETASEQ, BETASEQ)).slices
    assert [first.uns["name"], second.uns["name"]] == ["betaseq_1", "betaseq_2"]
    assert list(first.var_names) == list(second.var_names)
    assert not np.allclose(first.obsm["spatial_true"], second.obsm["spatial_true"])


def log_normalized(counts: sparse.csr_matrix) -> np.ndarray:
    x = counts.toarray()
    x = np.log1p(x / np.maximum(x.sum(axis=1, keepdims=True), 1) * 100)
    return (x - x.mean(axis=0)) / (x.std(axis=0) + 0.1)


def transfer_accuracy(embeddings: list[np.ndarray], labels: list[np.ndarray]) -> float:
    pairs = permutations(range(len(embeddings)), 2)
    found = [
        KNeighborsClassifier(15, metric="cosine")
        .fit(embeddings[i], labels[i])
        .score(embeddings[j], labels[j])
        for i, j in pairs
    ]
    return float(np.mean(found))


def test_shared_genes_fail_where_the_whole_panels_do_well(made: Tissue) -> None:
    labels = [s.obs["cell_type"].astype(str).to_numpy() for s in made.slices]
    shared = sorted(set.intersection(*(set(s.var_names) for s in made.slices)))
    common = [log_normalized(s[:, shared].X) for s in made.slices]
    pca = PCA(len(shared) - 1).fit(np.vstack(common))
    by_shared = transfer_accuracy([pca.transform(x) for x in common], labels)
    # A panel-agnostic stand-in: principal components of the reference, predicted from each panel's genes.
    components = PCA(20, random_state=0).fit_transform(log_normalized(made.reference.X))
    embedded = []
    for s in made.slices:
        model = Ridge(50).fit(log_normalized(made.reference[:, s.var_names].X), components)
        embedded.append(model.predict(log_normalized(s.X)))
    by_panel = transfer_accuracy(embedded, labels)
    assert by_shared < 0.4
    assert 0.65 < by_panel < 0.95


def test_write_gives_files_that_read_back(tmp_path) -> None:
    small = tissue(n_cells=30, n_reference=20)
    paths = small.write(tmp_path / "made")
    assert [p.name for p in paths] == [
        "alphafish_1.h5ad",
        "betaseq_1.h5ad",
        "gammamap_1.h5ad",
        "reference.h5ad",
    ]
    again = ad.read_h5ad(paths[0])
    assert (again.X != small.slices[0].X).nnz == 0
    np.testing.assert_array_equal(again.obsm["spatial"], small.slices[0].obsm["spatial"])
    assert list(again.obs["cell_type"]) == list(small.slices[0].obs["cell_type"])


@pytest.mark.parametrize(
    "options",
    [
        {"n_cells": 0},
        {"n_reference": 0},
        {"platforms": ()},
        {"platforms": (Platform("Tiny", 10, 50.0),)},
        {"platforms": (Platform("Same", 80, 50.0), Platform("Same", 90, 50.0))},
        {"n_genes": 100},
        {"n_genes": 10_000},
    ],
)
def test_impossible_wishes_are_refused(options: dict) -> None:
    with pytest.raises(ConfigError):
        tissue(**{"n_cells": 10, "n_reference": 10, **options})


@pytest.mark.parametrize("n", [1, 2, 37])
def test_any_number_of_cells(n: int) -> None:
    assert [s.n_obs for s in tissue(n_cells=n, n_reference=n).slices] == [n] * 3


def test_transcriptome_has_no_repeats() -> None:
    genes = transcriptome(10_000)
    assert len(genes) == len(set(genes)) > 700
