"""Which cells are scored, and how metrics are put together."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from lloki.errors import InputError, MissingExtraError
from lloki.evaluate import (
    METRICS,
    PROFILES,
    aggregate,
    effective_dimensions,
    entering,
    expression_pca,
    harmony,
    min_max,
    normalized,
    purity,
    scored_cells,
    stratified,
)

BIO = [m for m in METRICS if METRICS[m].kind == "bio"]


@given(st.lists(st.integers(1, 40), min_size=1, max_size=5), st.integers(1, 60), st.integers(0, 9))
@settings(max_examples=40, deadline=None)
def test_every_group_has_its_share(sizes, cells, seed):
    groups = np.concatenate([[f"g{i}"] * n for i, n in enumerate(sizes)])
    rows = stratified(groups, cells, seed=seed)
    assert len(set(rows)) == len(rows)
    share = max(cells // len(sizes), 1)
    assert [int(np.sum(groups[rows] == f"g{i}")) for i in range(len(sizes))] == [min(n, share) for n in sizes]
    np.testing.assert_array_equal(rows, stratified(groups, cells, seed=seed))


def test_the_order_of_slices_does_not_choose_the_cells():
    groups = np.repeat(["a", "b"], 50)
    turned = np.repeat(["b", "a"], 50)
    one, other = stratified(groups, 20), stratified(turned, 20)
    np.testing.assert_array_equal(one % 50, other % 50)


def test_cells_without_a_label_and_batches_with_few_are_not_scored():
    labels = np.array(["x"] * 200 + [""] * 30)
    batches = np.array(["a"] * 100 + ["b"] * 60 + ["c"] * 40 + ["a"] * 30)
    rows = scored_cells(labels, batches, n_cells=None)
    np.testing.assert_array_equal(rows, np.arange(160))
    assert len(scored_cells(labels, batches, n_cells=100)) == 100
    assert not len(scored_cells(np.full(10, ""), np.full(10, "a"), n_cells=5))


def table(**columns: list[float]) -> pd.DataFrame:
    base = {m: [0.5, 0.7] for m in METRICS}
    return pd.DataFrame(base | columns, index=["one", "two"])


def test_aggregates_are_means_and_the_total_weighs_them():
    scores = table(clisi=[1.0, 0.0], pcr=[0.0, 0.4])
    out = aggregate(scores)
    batch = [m for m in METRICS if METRICS[m].kind == "batch" and m != "silhouette_batch"]
    assert out.loc["one", "bio"] == pytest.approx(scores.loc["one", BIO].mean())
    assert out.loc["two", "batch"] == pytest.approx(scores.loc["two", batch].mean())
    np.testing.assert_allclose(out["total"], 0.6 * out["bio"] + 0.4 * out["batch"])


def test_the_batch_silhouette_is_reported_beside():
    assert "silhouette_batch" not in entering(table())
    low, high = (aggregate(table(silhouette_batch=[v, v])) for v in (0.0, 1.0))
    pd.testing.assert_frame_equal(low, high)


def test_a_metric_that_one_method_lacks_enters_for_none():
    scores = table(kbet=[np.nan, 0.9])
    assert "kbet" not in entering(scores)
    assert aggregate(scores).loc["two", "batch"] == pytest.approx(0.7)
    # a method without any value has no say
    assert "kbet" in entering(pd.concat([table(), pd.DataFrame({m: [np.nan] for m in METRICS}, ["three"])]))


def test_scaling_goes_from_the_worst_to_the_best():
    scaled = min_max(table(clisi=[0.2, 0.2]))
    assert scaled["clisi"].isna().all()
    assert (scaled.drop(columns="clisi").loc["one"] == 0).all()
    assert (scaled.drop(columns="clisi").loc["two"] == 1).all()


def test_profiles_name_metrics():
    assert set(PROFILES["fast"].metrics) < set(PROFILES["full"].metrics) == set(METRICS)


def test_purity_by_hand():
    # two slices with the same cells: two types, a gap between them
    angle = np.concatenate([np.linspace(0, 0.6, 4), np.linspace(1.4, 2, 4)])
    x = np.concatenate([np.stack([np.cos(angle), np.sin(angle)], 1)] * 2)
    labels = np.array(list("aaaabbbb") * 2)
    slices = np.repeat(["s", "t"], 8)
    within, across = purity(x, labels, slices, n_neighbors=1)
    assert within == pytest.approx(1.0)
    assert across == pytest.approx(1.0)
    swapped = np.concatenate([labels[:8], labels[8:][::-1]])
    assert purity(x, swapped, slices, n_neighbors=1) == pytest.approx((1.0, 0.0))
    assert np.isnan(purity(x, np.full(16, ""), slices)).all()
    assert np.isnan(purity(x, labels, np.full(16, "s"))[1])


@given(st.integers(1, 6), st.integers(0, 50))
@settings(max_examples=20, deadline=None)
def test_effective_dimensions_of_known_clouds(d, seed):
    rng = np.random.default_rng(seed)
    x = np.zeros((4000, 8))
    x[:, :d] = rng.normal(size=(4000, d))
    turn = np.linalg.qr(rng.normal(size=(8, 8)))[0]
    assert effective_dimensions(x @ turn + 3) == pytest.approx(d, rel=0.02)
    assert effective_dimensions(7 * x) == pytest.approx(effective_dimensions(x))


def test_a_point_has_no_dimensions():
    assert effective_dimensions(np.ones((50, 3))) == 0
    assert effective_dimensions(np.ones((1, 3))) == 0


def counts(n: int = 120, g: int = 25) -> sparse.csr_matrix:
    rng = np.random.default_rng(0)
    rates = rng.gamma(1.0, 2.0, (3, g))[rng.integers(3, size=n)]
    return sparse.csr_matrix(rng.poisson(rates).astype(np.float32))


def test_normalized_by_definition():
    dense = counts().toarray()
    dense[3] = 0
    x = sparse.csr_matrix(dense)
    expected = np.log1p(100 * dense / np.maximum(dense.sum(1, keepdims=True), 1))
    np.testing.assert_allclose(normalized(x).toarray(), expected, rtol=1e-5)


def test_pca_spans_what_a_dense_one_spans():
    from sklearn.decomposition import PCA

    x = normalized(counts())
    ours, dense = expression_pca(x, components=5), PCA(5).fit_transform(x.toarray())
    np.testing.assert_allclose(np.abs(np.sum(ours * dense, 0)), np.sum(dense**2, 0), rtol=1e-3)
    np.testing.assert_array_equal(ours, expression_pca(x, components=5))
    assert expression_pca(x[:, :7]).shape == (120, 6)
    with pytest.raises(InputError, match="2 genes"):
        expression_pca(x[:, :2])


def test_harmony_brings_shifted_batches_together_in_their_order():
    pytest.importorskip("harmonypy")
    rng = np.random.default_rng(0)
    centers = 4 * np.eye(6)[:3]
    types, batch = rng.integers(3, size=600), np.repeat(["a", "b"], 300)
    x = centers[types] + rng.normal(size=(600, 6)) * 0.5 + np.where(batch == "b", 1.0, 0)[:, None]
    out = harmony(x, batch)
    assert out.shape == x.shape
    gap = lambda z: np.linalg.norm(z[batch == "a"].mean(0) - z[batch == "b"].mean(0))  # noqa: E731
    assert gap(out) < 0.5 * gap(x)
    for t in range(3):  # rows are still the cells they were
        own = np.linalg.norm(out[types == t] - out[types == t].mean(0), axis=1).mean()
        assert own < 2.5
    np.testing.assert_array_equal(out, harmony(x, batch))


def test_a_missing_package_is_named_with_what_brings_it(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "harmonypy", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'lloki\[benchmark\]'"):
        harmony(np.zeros((5, 2)), np.array(list("aabbb")))
