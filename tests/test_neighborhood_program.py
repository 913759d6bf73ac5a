"""``lloki.tl.neighborhood_program``: planted programs are found, absent ones are not, bad input is named."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

import lloki
from lloki import keys
from lloki.analysis import neighbor_share, score_weights
from lloki.analysis.contrast import FocalSet, compare, enriched, rich_clusters, standard_ranks
from lloki.cae import CAEConfig
from lloki.datasets import tumor
from lloki.errors import ConfigError, InputError, LlokiWarning
from lloki.fp import log_normalize

NAMES = {"focal": "T cell", "neighbor": "malignant", "label_key": "cell_type"}
QUICK = {"permutations": 40, "n_neighbors": 50}


def sections(strength: float, seed: int = 0, cells: int = 1200) -> tuple[list[ad.AnnData], object]:
    """Sections with an embedding in which T cells spread by the genes that all panels have."""
    made = tumor(n_cells=cells, strength=strength, counts=200, seed=seed)
    program = [*made.up, *made.down]
    sign = np.repeat([1.0, -1.0], 10)
    for s in made.slices:
        x = log_normalize(s.X)
        kind = s.obs["cell_type"].cat.codes.to_numpy()
        there = [g in s.var_names for g in program]
        at = s.var_names.get_indexer([g for g, t in zip(program, there) if t])
        axis = x[:, at] @ sign[there] / np.sum(there)
        rng = np.random.default_rng(1)
        s.obsm[keys.JOINT] = np.column_stack(
            [
                3 * np.eye(5)[kind],
                1 + (axis - axis[kind == 1].mean()) * (kind == 1),
                rng.normal(0, 0.1, len(x.indptr) - 1),
            ]
        )
        s.obs["slice"] = s.uns["name"]
    return made.slices, made


@pytest.fixture(scope="module")
def done():
    slices, made = sections(1.0)
    return slices, made, lloki.tl.neighborhood_program(slices, **NAMES, **QUICK)


def test_the_planted_program_is_found(done):
    slices, made, found = done
    assert found.found, found.reason
    measured = {g for s in slices for g in s.var_names}
    up, down = set(made.up) & measured, set(made.down) & measured
    assert len(set(found.up) & up) > 0.7 * len(up)
    assert len(set(found.down) & down) > 0.5 * len(down)
    assert set(found.up) <= up
    assert set(found.down) <= down
    pooled = found.correlations.set_index("dataset").loc["pooled"]
    assert pooled["spearman"] > 0.3
    assert pooled["p"] == pytest.approx(1 / 41)
    assert found.null_genes < 1


def test_it_is_written_for_focal_cells_alone(done, tmp_path):
    slices, _, found = done
    for s in slices:
        focal = (s.obs["cell_type"] == "T cell").to_numpy()
        for column in (keys.NEIGHBOR_SHARE, keys.NEIGHBORHOOD_SCORE):
            assert np.isfinite(s.obs[column][focal]).all()
            assert s.obs[column][~focal].isna().all()
        assert set(s.obs[keys.INFILTRATING][focal]) == {"yes", "no"}
    slices[0].write_h5ad(tmp_path / "a.h5ad")
    entry = ad.read_h5ad(tmp_path / "a.h5ad").uns[keys.UNS]["neighborhood_program"]
    assert entry["found"]
    assert list(entry["genes"].index) == list(found.genes.index)


def test_the_order_of_slices_is_no_matter(done):
    slices, _, found = done
    again = lloki.tl.neighborhood_program(slices[::-1], **NAMES, **QUICK)
    pd.testing.assert_frame_equal(found.genes, again.genes)
    pd.testing.assert_frame_equal(found.correlations, again.correlations)


def test_none_is_found_where_none_is_planted():
    slices, _ = sections(0.0)
    with pytest.warns(LlokiWarning, match="No neighborhood program"):
        found = lloki.tl.neighborhood_program(slices, **NAMES, **QUICK)
    assert not found.found
    assert not found.up
    assert not found.down


def test_transcripts_of_the_neighbors_are_no_program():
    slices, made = sections(0.0, seed=3)
    leaked = next(g for g in made.up if all(g in s.var_names for s in slices))
    for s in slices:
        # a gene that malignant cells have most of, and T cells among them seem to have
        kind = s.obs["cell_type"].astype(str).to_numpy()
        around = neighbor_share(s.obsm["spatial"], kind == "malignant", n_neighbors=30)
        x = s.X.toarray()
        extra = np.where(kind == "malignant", 10.0, np.where(kind == "T cell", 4 + 12 * around, 0))
        x[:, s.var_names.get_loc(leaked)] += np.random.default_rng(0).poisson(extra)
        s.X = sparse.csr_matrix(x)
        s.obsm[keys.JOINT][:, 5] += 3 * around * (kind == "T cell")
    bare = lloki.tl.neighborhood_program(slices, **NAMES, **QUICK, spill_guard=False)
    assert leaked in bare.up
    with pytest.warns(LlokiWarning, match="No neighborhood program"):
        guarded = lloki.tl.neighborhood_program(slices, **NAMES, **QUICK)
    assert leaked not in guarded.genes.index


def test_slices_of_one_data_set_are_compared_together(done):
    slices, _, _ = done
    two = []
    for s in slices:
        left = s.obsm["spatial"][:, 0] < np.median(s.obsm["spatial"][:, 0])
        for name, rows in (("left", left), ("right", ~left)):
            piece = s[rows].copy()
            piece.obs["slice"], piece.obs["study"] = f"{s.uns['name']} {name}", s.uns["name"]
            two.append(piece)
    found = lloki.tl.neighborhood_program(two, **NAMES, **QUICK, dataset_key="study")
    assert list(found.correlations["dataset"]) == [*sorted(s.uns["name"] for s in slices), "pooled"]
    assert found.found


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 40), st.integers(1, 60), st.integers(0, 2**32 - 1))
def test_shares_are_those_of_all_pairs(n, k, seed):
    rng = np.random.default_rng(seed)
    xy, of = rng.uniform(size=(n, 2)), rng.random(n) < 0.5
    share = neighbor_share(xy, of, n_neighbors=k)
    if n == 1:
        assert share[0] == 0
        return
    distance = np.linalg.norm(xy[:, None] - xy, axis=2)
    np.fill_diagonal(distance, np.inf)
    near = np.argsort(distance, axis=1)[:, : min(k, n - 1)]
    np.testing.assert_allclose(share, of[near].mean(1))


def test_cells_in_one_place_are_not_their_own_neighbors():
    share = neighbor_share(np.zeros((8, 2)), np.ones(8, bool), n_neighbors=3)
    np.testing.assert_array_equal(share, 1.0)


def test_scores_are_those_of_scanpy():
    rng = np.random.default_rng(0)
    x = rng.poisson(rng.gamma(1, 1, 60), (80, 60)).astype(np.float32)
    adata = ad.AnnData(x, var=pd.DataFrame(index=[f"g{i}" for i in range(60)]))
    chosen = np.isin(np.arange(60), [3, 10, 11, 40, 52])
    # with more controls than a bin holds nothing is drawn
    sc.tl.score_genes(adata, [f"g{i}" for i in np.flatnonzero(chosen)], ctrl_size=1000)
    np.testing.assert_allclose(
        x @ score_weights(x.mean(0), chosen, control=1000), adata.obs["score"], atol=1e-5
    )
    assert not score_weights(x.mean(0), np.zeros(60, bool)).any()
    assert not score_weights(x.mean(0), np.ones(60, bool)).any()


def test_clusters_split_where_the_shares_do():
    cluster = np.repeat([0, 1, 2, 3], 50)
    share = np.repeat([0.0, 0.5, 0.02, 0.45], 50) - 0.2425
    rich, contrast = rich_clusters(cluster, share, 4)
    assert rich.tolist() == [False, True, False, True]
    assert contrast == pytest.approx(0.465)
    assert rich_clusters(np.zeros(9, int), np.arange(9.0), 1)[1] == 0


def test_ranks_are_aggregated_over_the_data_sets_that_have_the_gene():
    rng = np.random.default_rng(0)
    sets, shares = [], []
    for genes in (("up", "down", "flat"), ("up", "flat")):
        cluster = rng.integers(2, size=300)
        x = rng.normal(2, 0.3, (300, len(genes)))
        x[:, 0] += cluster
        if "down" in genes:
            x[:, 1] -= cluster
        sets.append(FocalSet.make("d", sparse.csr_matrix(x), genes, np.zeros(300), cluster, 2))
        shares.append(standard_ranks(cluster + rng.normal(0, 0.3, 300)))
    table = compare(sets, np.array([False, True]), shares)
    assert table.loc["up", "n_datasets"] == 2
    assert table.loc["down", "n_datasets"] == 1
    assert table["rank"].idxmax() == "up"
    assert table["rank"].idxmin() == "down"
    assert table.loc["up", "q"] < 1e-6
    assert table.loc["flat", "q"] > 0.01


def test_enriched_genes_are_expressed_and_higher():
    focal = log_normalize(np.array([[5, 0, 9], [5, 0, 9], [5, 1, 9]], float))
    rest = log_normalize(np.array([[1, 0, 18], [1, 0, 18]], float))
    assert enriched(focal, rest, expressed=0.5).tolist() == [True, False, False]


def test_the_ovarian_preset_is_the_papers():
    config = CAEConfig.preset("ovarian", steps=10)
    assert (config.conservation, config.triplet, config.batch_size, config.steps) == (500, 0.2, 16_000, 10)
    with pytest.raises(ConfigError, match="ovarian"):
        CAEConfig.preset("lung")


def test_few_cells_cause_a_warning():
    slices, _ = sections(1.0, cells=90)
    with pytest.warns(LlokiWarning, match="n_neighbors=100: all are used"):
        lloki.tl.neighborhood_program(slices, **NAMES, permutations=5)


@pytest.mark.parametrize(
    ("change", "settings", "kind", "message"),
    [
        (lambda s: s[0].obsm.pop(keys.JOINT), {}, InputError, r"obsm\['X_lloki'\]"),
        (lambda s: s[1].obsm.pop(keys.SPATIAL), {}, InputError, r"obsm\['spatial'\].*positions"),
        (lambda s: s[0].obsm[keys.SPATIAL].__setitem__((0, 0), np.nan), {}, InputError, "NaN"),
        (lambda s: s[0].obs.pop("cell_type"), {}, InputError, r"obs\['cell_type'\]"),
        (
            lambda s: s[2].obs.__setitem__("cell_type", "malignant"),
            {},
            InputError,
            "no cell of the focal type",
        ),
        (lambda s: None, {"focal": "B cell"}, InputError, "Its types: .*T cell"),
        (lambda s: None, {"neighbor": "B cell"}, InputError, "0 of the neighbor type"),
        (lambda s: None, {"dataset_key": "study"}, InputError, r"obs\['study'\]"),
        (lambda s: None, {"n_neighbors": 0}, ConfigError, "n_neighbors must"),
        (lambda s: None, {"nearest": 5}, ConfigError, "neighborhood_program has no option 'nearest'"),
    ],
)
def test_bad_input_is_named_and_nothing_written(change, settings, kind, message):
    slices, _ = sections(1.0, cells=150)
    change(slices)
    with pytest.raises(kind, match=message):
        lloki.tl.neighborhood_program(slices, **(NAMES | settings))
    assert all(keys.NEIGHBORHOOD_SCORE not in s.obs for s in slices)


def test_figures(done):
    slices, _, _ = done
    whole = ad.concat(slices)
    assert len(lloki.pl.neighborhood_program(whole).get_lines()) == 3
    name = slices[0].uns["name"]
    asked = {"neighbor": "malignant", "label_key": "cell_type"}
    assert len(lloki.pl.neighborhood_program_map(whole, slice=name, **asked)) == 1
    with pytest.raises(InputError, match="no cell of slice"):
        lloki.pl.neighborhood_program_map(whole, slice="none", **asked)
    with pytest.raises(InputError, match="Set group"):
        lloki.pl.neighborhood_program(whole[:, :5].copy(), group="none")
