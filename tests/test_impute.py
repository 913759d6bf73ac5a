"""``lloki.tl.impute``: accuracy, genes it leaves out with a warning, and which input it rejects."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import lloki
from lloki import keys
from lloki.analysis import Source, held_out, impute, spearman_columns
from lloki.errors import ConfigError, GeneError, InputError, LlokiWarning, ModelError
from lloki.fp import log_normalize
from planted import planted

HIDDEN = ["G0", "G1", "G2", "G3"]


def three(noise: bool = True):
    """Slices a, b and c; c lacks four genes; NOISE is in a and b and is independent of everything."""
    adata = planted("abc", cells=250)
    slices = [adata[adata.obs["slice"] == name].copy() for name in "abc"]
    truth = log_normalize(slices[2].X).toarray()[:, :4]
    slices[2] = slices[2][:, ~slices[2].var_names.isin(HIDDEN)].copy()
    if noise:
        for i in (0, 1):
            x = np.random.default_rng(i).poisson(2, (slices[i].n_obs, 1)).astype(np.float32)
            extra = ad.AnnData(sparse.csr_matrix(x), obs=slices[i].obs[[]], var=pd.DataFrame(index=["NOISE"]))
            whole = ad.concat([slices[i], extra], axis=1)
            whole.obs, whole.obsm = slices[i].obs, slices[i].obsm
            slices[i] = whole
    return slices, truth


def test_hidden_genes_are_recovered_and_noise_is_left_out():
    slices, truth = three()
    with pytest.warns(LlokiWarning, match="NOISE"):
        found = lloki.tl.impute(slices, "c")
    assert list(found.var_names) == HIDDEN
    assert (found.var["validated"] == "across slices").all()
    scores = spearman_columns(truth, found.X)
    assert scores.min() > 0.5
    np.testing.assert_allclose(scores, found.var["score"], atol=0.15)
    assert list(found.uns[keys.UNS]["impute"]["left_out"].index) == ["NOISE"]
    assert "G0" not in slices[2].var_names


def test_the_expected_error_of_a_value_is_its_error():
    slices, truth = three()
    with pytest.warns(LlokiWarning):
        found = lloki.tl.impute(slices, "c")
    z = (found.X - truth) / found.layers["sd"]
    assert np.abs(np.sqrt((z**2).mean(0)) - 1).max() < 0.35
    assert (np.abs(z) < 2).mean() > 0.85


def test_genes_of_one_slice_are_marked_and_unvalidated_ones_need_a_request():
    slices, _ = three(noise=False)
    with pytest.warns(LlokiWarning, match="validated within the only slice"):
        found = lloki.tl.impute(slices, "c", sources="a")
    assert (found.var["validated"] == "within one slice").all()
    slices, _ = three()
    with pytest.warns(LlokiWarning, match="left out"), pytest.raises(GeneError, match="none of 1 genes"):
        lloki.tl.impute(slices, "c", genes=["NOISE"])
    assert list(lloki.tl.impute(slices, "c", genes=["NOISE"], min_score=None).var_names) == ["NOISE"]
    slices[0].X[:, slices[0].var_names == "NOISE"] = 0
    with pytest.warns(LlokiWarning, match="without validation: NOISE"):
        lloki.tl.impute(slices, "c", genes=["NOISE"], sources="a", min_score=None)


def test_a_reference_is_an_additional_source():
    slices, truth = three(noise=False)
    reference = slices.pop(0)
    with pytest.warns(LlokiWarning, match="validated within"):
        found = lloki.tl.impute(slices[1:], "c", reference=reference, min_score=None, genes=["G2"])
    assert spearman_columns(truth[:, 2:3], found.X)[0] > 0.5


def test_counts_of_a_reference_without_the_layer_are_used_under_a_unique_name():
    slices, _ = three(noise=False)
    reference = slices.pop(0)
    for adata, name in zip(slices, ("reference", "c")):
        adata.obs["slice"] = name
        adata.layers["counts"], adata.X = adata.X, -adata.X
    found = lloki.tl.impute(slices, "c", reference=reference, layer="counts", genes=["G2"])
    assert found.var["n_sources"].tolist() == [2]
    assert '["reference", "reference_"]' in found.uns[keys.UNS]["impute"]["parameters"]


def test_estimates_are_weighted_means_within_the_range_of_the_sources(monkeypatch):
    rng = np.random.default_rng(0)
    x = sparse.csr_matrix(rng.poisson(1.0, (60, 3)).astype(np.float32))
    sources = [
        Source("a", x[:30], ("p", "q", "r"), rng.normal(size=(30, 4))),
        Source("b", x[30:, :2], ("q", "p"), rng.normal(size=(30, 4))),
    ]
    queries = rng.normal(size=(50, 4))
    mean, sd = impute(queries, sources, ["p", "q", "r", "s"], n_neighbors=5)
    assert mean[:, :3].min() >= 0
    assert mean[:, :3].max() <= x.max()
    assert np.isnan(mean[:, 3]).all()
    assert (sd[:, :3] >= 0).all()
    monkeypatch.setattr("lloki.analysis.imputation.BLOCK", 7)
    again, _ = impute(queries, sources[::-1], ["p", "q", "r", "s"], n_neighbors=5, threads=2)
    np.testing.assert_allclose(mean, again, rtol=1e-5)


def test_var_says_how_often_each_source_found_a_gene(tmp_path):
    slices, _ = three(noise=False)
    slices[1] = slices[1][:, slices[1].var_names != "G1"].copy()
    slices[1].obs["slice"] = "b/2"
    counts = slices[0].X.toarray()
    counts[:, 0] = 0
    counts[:50, 0] = 3
    slices[0].X = sparse.csr_matrix(counts)
    with pytest.warns(LlokiWarning, match="validated within"):
        found = lloki.tl.impute(slices, "c", genes=["G0", "G1"], min_score=None).var
    assert found["detected in a"].tolist() == [0.2, (counts[:, 1] > 0).mean()]
    at = slices[1].var_names.get_loc("G0")
    assert found["detected in b_2"].iloc[0] == pytest.approx((slices[1].X[:, [at]] > 0).mean())
    assert np.isnan(found["detected in b_2"].iloc[1])


def test_no_cell_is_validated_on_itself():
    rng = np.random.default_rng(0)
    x = sparse.csr_matrix(rng.poisson(3.0, (200, 2)).astype(np.float32))
    source = Source("a", x, ("p", "q"), rng.normal(size=(200, 4)))
    table = held_out([source], ["p", "q"], n_neighbors=1).table
    assert (table["score"].abs() < 0.25).all()
    assert (table["validated"] == "within one slice").all()


@pytest.mark.parametrize(
    ("change", "settings", "kind", "message"),
    [
        (lambda s: None, {"target": "z"}, InputError, "no slice 'z'"),
        (lambda s: None, {"sources": ["c"]}, InputError, "no other slice"),
        (lambda s: None, {"genes": ["Nowhere"]}, GeneError, "no source measured Nowhere"),
        (lambda s: s[0].obsm.pop(keys.JOINT), {}, InputError, r"a obsm\['X_lloki'\]"),
        (lambda s: s[1].obsm[keys.JOINT].__setitem__((0, 0), np.nan), {}, InputError, "NaN"),
        (lambda s: s[0].X.data.__setitem__(0, np.nan), {}, InputError, "NaN"),
        (lambda s: None, {"method": "guess"}, ConfigError, "method must be one of combined"),
        (lambda s: None, {"method": "reference"}, ConfigError, "needs reference="),
        (lambda s: None, {"run": "nowhere"}, ModelError, "holds no finished run"),
        (lambda s: None, {"n_neighbors": 0}, ConfigError, "n_neighbors at least 1"),
        (lambda s: None, {"target": "a", "sources": ["c"]}, GeneError, "no further gene"),
    ],
)
def test_bad_input_is_named(change, settings, kind, message):
    slices, _ = three(noise=False)
    change(slices)
    with pytest.raises(kind, match=message):
        lloki.tl.impute(slices, **({"target": "c"} | settings))


def test_the_figure_stands_beside_the_truth():
    slices, truth = three(noise=False)
    found = lloki.tl.impute(slices, "c")
    assert len(lloki.pl.imputed(found, "G1")) == 1
    assert len(lloki.pl.imputed(found, "G1", truth=truth[:, 1])) == 2
    with pytest.raises(InputError, match="was not imputed"):
        lloki.pl.imputed(found, "G9")
    assert lloki.pl.imputation_scores(found).collections
    with pytest.raises(InputError, match="holds no imputation"):
        lloki.pl.imputation_scores(slices[0])
    with pytest.raises(InputError, match="one for each cell"):
        lloki.pl.imputed(found, "G1", truth=truth)


def test_a_source_named_twice_counts_once():
    slices, _ = three()
    once = lloki.tl.impute(slices, "c", sources=["a"], min_score=None)
    twice = lloki.tl.impute(slices, "c", sources=["a", "a"], min_score=None)
    pd.testing.assert_frame_equal(once.var, twice.var)
    np.testing.assert_array_equal(once.X, twice.X)


def test_one_gene_may_be_named_and_none_is_refused():
    slices, _ = three(noise=False)
    assert list(lloki.tl.impute(slices, "c", genes="G1").var_names) == ["G1"]
    with pytest.raises(GeneError, match="genes is empty"):
        lloki.tl.impute(slices, "c", genes=[])


def test_intervals_hold_the_share_that_they_state():
    slices, truth = three(noise=False)
    found = lloki.tl.impute(slices, "c")
    lower, upper = found.layers["lower"], found.layers["upper"]
    inside = (truth >= lower) & (truth <= upper)
    assert 0.85 < inside.mean() < 0.95
    assert (upper - lower).mean() < 0.8 * np.ptp(truth)
    np.testing.assert_allclose(found.var[["lower", "upper"]].T, np.median([lower, upper], axis=1))


def test_a_gene_that_cannot_be_tried_has_no_interval():
    slices, _ = three()
    slices[0].X[:, slices[0].var_names == "NOISE"] = 0
    with pytest.warns(LlokiWarning, match="without validation: NOISE"):
        found = lloki.tl.impute(slices, "c", genes=["NOISE"], sources="a", min_score=None)
    assert np.isnan(found.layers["lower"]).all()


@pytest.mark.parametrize("method", ["combined", "neighbors", "ridge", "reference"])
def test_every_method_recovers_hidden_genes_and_foretells_how_well(method):
    slices, truth = three(noise=False)
    reference = slices.pop(0)
    found = lloki.tl.impute(slices, "c", reference=reference, method=method, genes=HIDDEN)
    scores = spearman_columns(truth, found.X)
    assert scores.min() > 0.5
    assert abs((scores - found.var["score"]).mean()) < 0.1


def test_combined_is_the_mean_of_neighbors_and_ridge():
    slices, _ = three(noise=False)
    a, b, both = (lloki.tl.impute(slices, "c", method=m).X for m in ("neighbors", "ridge", "combined"))
    np.testing.assert_allclose(both, (a + b) / 2, rtol=1e-5)


def test_without_shared_genes_combined_is_neighbors_and_ridge_is_refused():
    slices, _ = three(noise=False)
    slices[0] = slices[0][:, HIDDEN].copy()
    given = {"sources": "a", "min_score": None}
    with pytest.warns(LlokiWarning, match="within"):
        a, both = (lloki.tl.impute(slices, "c", method=m, **given).X for m in ("neighbors", "combined"))
    np.testing.assert_array_equal(a, both)
    with pytest.warns(LlokiWarning), pytest.raises(GeneError, match="'ridge' cannot give G0"):
        lloki.tl.impute(slices, "c", method="ridge", **given)


def leaking(unseen: bool) -> pd.Series:
    """Scores of genes that are noise, and that each cell's embedding is made of."""
    rng = np.random.default_rng(0)
    sources = []
    for name in "ab":
        x = rng.poisson(3.0, (300, 12)).astype(np.float32)
        rows = np.log1p(x)
        genes = tuple(f"G{i}" for i in range(12))
        sources.append(Source(name, log_normalize(x), genes, rows - rows.mean(0)))

    def without(i, cells, folds):
        for fold in folds:
            rows = sources[i].embedding[cells].copy()
            rows[:, [sources[i].genes.index(gene) for gene in fold]] = 0
            yield rows

    trial = held_out(sources, genes, method="neighbors", without=without if unseen else None)
    return trial.table["score"]


def test_a_gene_is_tried_in_an_embedding_that_has_not_seen_it():
    assert leaking(unseen=False).mean() > 0.3
    assert leaking(unseen=True).mean() < 0.2  # what is left comes from shares, which sum to one
