"""Moran's I, enrichment, matching and gene loadings against loops and planted answers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import sparse
from simulated import planted

from lloki.analysis import (
    by_maximum,
    consistency,
    enrichment,
    gene_loadings,
    match_metagenes,
    moran,
    spatial_neighbors,
    top_genes,
)
from lloki.errors import InputError
from lloki.fp import log_normalize


def by_loop(x: np.ndarray, w: np.ndarray) -> float:
    """Moran's I by its definition."""
    c = x - x.mean()
    total = sum(w[i, j] * c[i] * c[j] for i in range(len(x)) for j in range(len(x)))
    return len(x) / w.sum() * total / (c**2).sum()


@settings(max_examples=20, deadline=None)
@given(arrays(np.float64, 12, elements=st.floats(-1e3, 1e3)), st.integers(0, 9))
def test_moran_is_the_double_sum(x, seed):
    graph = spatial_neighbors(np.random.default_rng(seed).random((12, 2)))
    found = moran(x, graph)[0]
    if np.ptp(x) <= 1e-3:
        return  # as good as constant: rounding decides
    dense = graph.toarray().astype(np.float64)
    rows = dense / np.maximum(dense.sum(1, keepdims=True), 1)
    assert found == pytest.approx(by_loop(x, rows), abs=1e-9)
    assert moran(x, graph, standardize=False)[0] == pytest.approx(by_loop(x, dense), abs=1e-9)
    assert moran(3 * x + 7, graph)[0] == pytest.approx(found, abs=1e-6)


def test_moran_separates_order_from_chance_and_is_nan_for_constants():
    xy = np.stack(np.meshgrid(np.arange(20.0), np.arange(20.0)), -1).reshape(-1, 2)
    graph = spatial_neighbors(xy, n_neighbors=4)
    rng = np.random.default_rng(0)
    values = np.stack([xy[:, 0], rng.random(400), np.full(400, 0.1), 1e8 + xy[:, 1]], axis=1)
    found = moran(values, graph)
    assert found[0] > 0.9
    assert abs(found[1]) < 0.15
    assert np.isnan(found[2])
    assert found[3] == pytest.approx(moran(xy[:, 1], graph)[0], abs=1e-6)
    assert np.isnan(moran(values, sparse.csr_matrix((400, 400)))).all()
    with pytest.raises(InputError, match="NaN"):
        moran(np.full(400, np.nan), graph)
    with pytest.raises(InputError, match="one row per cell"):
        moran(values[:5], graph)


def test_enrichment_is_the_mean_of_cells_that_use_a_metagene():
    states = np.array([[2.0, 0], [4, 0], [0, 6], [0, 2], [9, 9]])
    table = enrichment(states, ["a", "a", "a", "b", None], min_cells=1)
    assert table.loc["a"].tolist() == [3, 6]
    assert table.loc["b"].tolist() == [0, 2]
    assert by_maximum(pd.DataFrame([[1.0, 9, 5], [8, 0, 0]])) == [1, 2, 0]
    with pytest.raises(InputError, match="no type has 10 cells"):
        enrichment(states, ["a"] * 5)
    with pytest.raises(InputError, match="5 states and 2 labels"):
        enrichment(states, ["a", "b"])


@settings(max_examples=30, deadline=None)
@given(st.permutations(range(6)), st.integers(0, 5))
def test_matching_undoes_a_permutation(order, seed):
    rng = np.random.default_rng(seed)
    table = pd.DataFrame(rng.random((5, 6)) ** 3, index=list("abcde"))
    moved = table.iloc[:, list(order)].set_axis(range(6), axis=1)
    back = match_metagenes(table, moved)
    np.testing.assert_allclose(moved.iloc[:, back].to_numpy(), table.to_numpy())
    assert consistency([table, moved.iloc[:, back].set_axis(range(6), axis=1)]) == pytest.approx(1)


def test_agreement_falls_with_noise_and_needs_common_types():
    rng = np.random.default_rng(0)
    base = pd.DataFrame(rng.random((6, 8)) ** 3, index=list("abcdef"))
    noisy = [consistency([base, base + s * rng.random((6, 8))]) for s in (0.0, 0.5, 5.0)]
    assert noisy[0] > noisy[1] > noisy[2]
    assert np.isnan(consistency([base]))
    assert np.isnan(consistency([base, base.set_axis(list("uvwxyz"))]))
    with pytest.raises(InputError, match="share 1 types"):
        match_metagenes(base, base.iloc[:1])


def test_loadings_name_the_genes_of_a_metagene():
    p = planted(k=3, n=400, d=12, slices=1)
    rates = p.states[0] @ p.metagenes.T
    counts = sparse.csr_matrix(np.random.default_rng(0).poisson(20 * rates / rates.mean()), dtype=np.float32)
    genes = [f"g{i}" for i in range(12)]
    loadings = gene_loadings(log_normalize(counts), p.states[0], genes)
    dense = gene_loadings(log_normalize(counts).toarray(), p.states[0] * 7, genes)
    np.testing.assert_allclose(loadings, dense, atol=1e-6)
    for k, names in top_genes(loadings, n_genes=2).items():
        specific = p.metagenes[:, k] / p.metagenes.sum(1)
        assert specific[[int(n[1:]) for n in names]].min() > np.median(specific)
    still = gene_loadings(np.ones((400, 12)), p.states[0], genes)
    assert not still.to_numpy().any()
    with pytest.raises(InputError, match="expression has shape"):
        gene_loadings(dense.to_numpy(), p.states[0], genes)
