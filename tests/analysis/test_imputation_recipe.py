"""Imputation against its recipe, cell by cell, and what the hold-out may see."""

from __future__ import annotations

from dataclasses import replace

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from scipy.stats import spearmanr

import lloki
from lloki import keys
from lloki.analysis import Intervals, Source, held_out, impute, regress
from lloki.analysis.imputation import _halves
from lloki.fp import log_normalize

K = 5
GENES = ("p", "q", "r", "nowhere")


def sources(seed: int = 0) -> list[Source]:
    """Two sources; the second lies farther from everything, lacks gene r and has another order of genes."""
    rng = np.random.default_rng(seed)
    made = []
    for name, n, spread, genes in (("near", 60, 0.3, ("p", "q", "r")), ("far", 45, 1.2, ("q", "p"))):
        x = rng.normal(0, spread, (n, 3)) + np.array([2, 0, 0])
        level = 1.5 + x[:, 1:2] * [1, -1, 0.5][: len(genes)]
        values = np.maximum(level + rng.normal(0, 0.3, level.shape), 0) * (rng.random(level.shape) < 0.8)
        made.append(Source(name, sparse.csr_matrix(values.astype(np.float32)), genes, x))
    return made


def distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b))
    return np.maximum(1 - a @ b.T, 0)


def by_hand(
    queries: np.ndarray, given: list[Source], genes: tuple[str, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Weighted mean and standard deviation over the K nearest cells of each source."""
    mean, sd = (np.full((len(queries), len(genes)), np.nan) for _ in range(2))
    dense = [d.expression.toarray().astype(float) for d in given]
    for i in range(len(queries)):
        near, all_distances = [], []
        for d in given:
            to = distances(queries[i : i + 1], d.embedding)[0]
            chosen = np.argsort(to, kind="stable")[:K]
            near.append((chosen, to[chosen]))
            all_distances += list(to[chosen])
        width = sorted(all_distances)[K - 1]  # one width for all sources
        for g, gene in enumerate(genes):
            values, weights = [], []
            for d, x, (chosen, to) in zip(given, dense, near):
                if gene in d.genes:
                    values += list(x[chosen, d.genes.index(gene)])
                    weights += list(np.exp(-0.5 * (to / width) ** 2))
            if values:
                mean[i, g] = np.average(values, weights=weights)
                sd[i, g] = np.sqrt(np.average((np.array(values) - mean[i, g]) ** 2, weights=weights))
    return mean, sd


def test_estimates_are_means_under_one_kernel_width_over_all_sources():
    given = sources()
    queries = np.random.default_rng(9).normal(0, 0.3, (25, 3)) + np.array([2, 0, 0])
    mean, sd = impute(queries, given, GENES, n_neighbors=K)
    want = by_hand(queries, given, GENES)
    np.testing.assert_allclose(mean, want[0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(sd, want[1], rtol=1e-3, atol=1e-4)
    # a gene that one source measured is the mean over that source alone, not over zeros of the other
    alone, _ = by_hand(queries, given[:1], ("r",))
    assert np.corrcoef(mean[:, 2], alone[:, 0])[0, 1] > 0.95
    assert (mean[:, 2] > 0.5 * alone[:, 0]).all()
    assert np.isnan(mean[:, 3]).all()


def test_the_hold_out_compares_each_source_with_what_the_others_give():
    given = sources()
    drawn = [_halves(one, 2000, 0) for one in given]
    table = held_out(given, GENES, method="neighbors", n_neighbors=K).table
    found: dict[str, list[tuple[float, float, float]]] = {gene: [] for gene in GENES}
    for i, (one, (tried, rest)) in enumerate(zip(given, drawn)):
        assert not set(tried) & set(rest)
        for gene in one.genes:
            others = [d for j, d in enumerate(given) if j != i and gene in d.genes]
            own = replace(one, expression=one.expression[rest], embedding=one.embedding[rest])
            # the width is that of all sources, of which one may lack the gene
            donors = [d for j, d in enumerate(given) if j != i] if others else [own]
            mean, sd = by_hand(one.embedding[tried], donors, (gene,))
            truth = one.expression[tried].toarray()[:, one.genes.index(gene)]
            error = np.sqrt(np.mean((truth - mean[:, 0]) ** 2))
            score = spearmanr(truth, mean[:, 0]).statistic
            found[gene].append((score, error, error / np.sqrt(np.mean(sd**2))))
    for gene in GENES[:3]:
        want = np.mean(found[gene], axis=0)
        np.testing.assert_allclose(
            table.loc[gene, ["score", "error", "spread"]].to_numpy(float), want, rtol=1e-3, err_msg=gene
        )
    assert table["validated"].tolist() == ["across slices", "across slices", "within one slice", "no"]
    assert table["n_sources"].tolist() == [2, 2, 1, 0]


def panels(noise: float, easy: float = 0.0) -> list[Source]:
    """Slices a, b and target c; expression is a function of the embedding; between slices it is blurred."""
    rng = np.random.default_rng(5)
    names = [f"g{i}" for i in range(48)]
    loads = rng.normal(0, 1, (6, 48))
    own = {"a": names[:36], "b": names[12:], "c": names[12:36]}
    made = []
    for name, genes in own.items():
        z = rng.normal(0, 1, (500, 6))
        turn = rng.normal(0, noise, (6, 48))  # what the slice has of its own
        x = 4 + z @ (loads + turn) + rng.normal(0, 0.2 if name == "c" and easy else 1.5, (500, 48))
        at = [names.index(g) for g in genes]
        made.append(Source(name, sparse.csr_matrix(np.maximum(x, 0)[:, at]), tuple(genes), z))
    return made


def test_a_gene_of_one_source_is_discounted_by_what_another_slice_costs_others():
    a, b, _ = panels(noise=0.7)
    genes = [g for g in a.genes if g not in b.genes]
    trial = held_out([a, b], [*a.genes, *(g for g in b.genes if g not in a.genes)], method="neighbors")
    assert 0.3 < trial.transfer < 0.9
    alone = held_out([a], genes, method="neighbors")
    assert alone.transfer == 1.0
    # folds differ between the two calls, rows do not: no embedding is left out here
    ratio = trial.table.loc[genes, "score"] / alone.table["score"]
    np.testing.assert_allclose(ratio, trial.transfer, rtol=1e-6)


def test_scores_are_those_of_the_target_as_its_own_genes_show():
    a, b, c = panels(noise=0.3, easy=1.0)
    genes = [g for g in b.genes if g not in c.genes]
    plain = held_out([a, b], genes, method="neighbors")
    trial = held_out([a, b], genes, target=c, method="neighbors")
    assert trial.of_target > 1.05
    assert plain.of_target == 1.0
    # genes of b alone: within b, less what the common genes lose between a and b
    want = plain.table["score"] * trial.transfer * trial.of_target
    np.testing.assert_allclose(trial.table["score"], want, rtol=1e-6)


def test_the_hold_out_draws_cells_by_the_seed():
    given = sources()
    tables = [held_out(given, ("p", "q"), n_neighbors=K, n_cells=20, seed=seed).table for seed in (0, 0, 1)]
    pd.testing.assert_frame_equal(tables[0], tables[1])
    assert (tables[0]["score"] != tables[2]["score"]).all()


def test_a_source_that_lies_far_off_hardly_counts():
    """Half of the cells measure 1, far off; the near ones measure 0."""
    rng = np.random.default_rng(0)
    near, far = rng.normal(0, 0.05, (30, 3)) + np.eye(3)[0], rng.normal(0, 0.05, (30, 3)) + np.eye(3)[1]
    given = [
        Source("near", sparse.csr_matrix((30, 1)), ("p",), near),
        Source("far", sparse.csr_matrix(np.ones((30, 1))), ("p",), far),
    ]
    assert impute(near[:10], given, ("p",), n_neighbors=K)[0].max() < 1e-6


@pytest.fixture
def slices() -> list[ad.AnnData]:
    """Slices a and b, which measure genes x and y, and c, which has x only; d is not named as a source."""
    rng = np.random.default_rng(3)
    made = []
    for name, n in (("a", 70), ("b", 60), ("c", 50), ("d", 40)):
        x = rng.normal(0, 0.5, (n, 3)) + np.array([2, 0, 0])
        rate = np.exp(1 + np.column_stack([x[:, 1], -x[:, 1], x[:, 2]]))
        adata = ad.AnnData(
            sparse.csr_matrix(rng.poisson(rate).astype(np.float32)),
            obs=pd.DataFrame({"slice": name}, index=[f"{name}{i}" for i in range(n)]),
            var=pd.DataFrame(index=["x", "y", "z"]),
        )
        adata.obsm[keys.JOINT] = x
        made.append(adata)
    made[2] = made[2][:, ["x", "z"]].copy()
    return made


def test_sd_is_scaled_to_the_error_on_the_hold_out(slices):
    target = slices[2]
    given = [
        Source(n, log_normalize(s.X), tuple(s.var_names), s.obsm[keys.JOINT]) for n, s in zip("ab", slices)
    ]
    # slice d is in the list, but is no source; the target measured x, which its own cells must not give
    found = lloki.tl.impute(
        slices, "c", sources=["a", "b"], genes=["y", "x"], n_neighbors=K, method="neighbors", min_score=None
    )
    mean, sd = by_hand(target.obsm[keys.JOINT], given, ("y", "x"))
    spread = found.var["spread"].to_numpy()
    error = held_out(given, ("y", "x"), method="neighbors", n_neighbors=K).table["error"]
    np.testing.assert_allclose(found.var["error"], error, rtol=0.15)  # that embedding has seen the genes
    assert (np.abs(spread - 1) > 0.02).all()
    np.testing.assert_allclose(found.X, mean, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(found.layers["sd"], sd * spread, rtol=1e-2, atol=1e-3)


def test_the_target_is_no_source_even_if_it_is_named(slices):
    alone = lloki.tl.impute(slices, "c", sources=["a", "b"], genes=["x"], min_score=None)
    named = lloki.tl.impute(slices, "c", sources=["a", "b", "c"], genes=["x"], min_score=None)
    np.testing.assert_array_equal(alone.X, named.X)
    everything = lloki.tl.impute(slices, "c", genes=["x"], min_score=None)
    assert everything.var.iloc[0, 0] == 3


def test_ridge_regression_by_its_equation():
    rng = np.random.default_rng(1)
    x, y = (rng.poisson(4.0, (n, 6)).astype(float) for n in (80, 50))
    genes = tuple("abcdef")
    source = Source("s", sparse.csr_matrix(np.log1p(x)), genes, np.zeros((80, 1)))
    # the target measured f, which must not give itself, and lacks a; g is in no source
    target = Source("t", sparse.csr_matrix(np.log1p(y[:, 1:])), genes[1:], np.zeros((50, 1)))
    found = regress(target, [source], ["a", "f", "g"])
    own, other = (np.sqrt(v[:, 1:5] / v[:, 1:5].sum(1, keepdims=True)) for v in (x, y))
    own, other = ((v - v.mean(0)) / v.std(0) for v in (own, other))
    for k, j in ((0, 0), (1, 5)):
        level = np.log1p(x[:, j])
        weights = np.linalg.solve(own.T @ own + 0.05 * 80 * np.eye(4), own.T @ (level - level.mean()))
        np.testing.assert_allclose(found[:, k], np.maximum(other @ weights + level.mean(), 0), rtol=1e-4)
    assert np.isnan(found[:, 2]).all()


def test_an_interval_is_the_shortest_one_of_its_level():
    rng = np.random.default_rng(2)
    predicted = np.sort(rng.uniform(0, 1, 4000))
    measured = np.where(rng.random(4000) < 0.4, 0, rng.exponential(predicted))
    found = Intervals.fit(predicted, measured)
    assert found is not None
    assert len(found.lower) == 10
    lower, upper = found.of(predicted)
    assert (lower == 0).all()
    assert (np.diff(found.upper) > 0).mean() > 0.8
    inside = (measured >= lower) & (measured <= upper)
    np.testing.assert_allclose([inside[i::10].mean() for i in range(10)], 0.9, atol=0.04)
    assert Intervals.fit(predicted[:49], measured[:49]) is None
