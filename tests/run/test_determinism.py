"""What must not change a result: threads, the order of the slices, the size of chunks, a second try."""

from __future__ import annotations

import numpy as np
import pytest

import lloki
from lloki.embed import factor


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads_change_no_bit(threads, base, integrate, same, monkeypatch):
    monkeypatch.setenv("LLOKI_THREADS", str(threads))
    same(base, integrate())


def test_order_of_slices_changes_no_bit(base, files, integrate, same):
    result = integrate(files.slices[::-1])
    assert list(result.adata.obs["slice"].unique()) == ["alphafish_2", "betaseq_1", "alphafish_1"]
    same(base, result)


def test_chunks_of_the_embedder_change_rounding_only(base, integrate, monkeypatch):
    """Sums over other chunks round differently, in the last bits of float64."""
    monkeypatch.setattr(factor, "BLOCK", 64)
    result = integrate()
    a, b = base.adata, result.adata
    np.testing.assert_allclose(b.obsm["X_lloki_fp"], a.obsm["X_lloki_fp"], rtol=0, atol=1e-5)
    np.testing.assert_allclose(b.obsm["X_lloki"], a.obsm["X_lloki"], rtol=0, atol=1e-3)


def test_chunks_of_the_neighbor_search_change_no_bit(base, files, integrate, same, monkeypatch):
    from lloki.graph.knn import search

    monkeypatch.setitem(search.cosine_neighbors.__kwdefaults__, "block", 32)
    monkeypatch.setattr(search, "BLOCK", 32)
    same(base, integrate())


def test_another_seed_is_another_result(base, integrate):
    result = integrate(seed=1)
    assert not np.array_equal(base.adata.obsm["X_lloki"], result.adata.obsm["X_lloki"])
    assert result.run["seed"] == result.run["parameters"]["fp"]["seed"] == 1
    assert result.run["parameters"]["cae"]["seed"] == 1


def test_files_and_anndata_give_the_same(base, files, integrate, same):
    """In-memory slices, as read_slices gives them, go by the same names."""
    slices = lloki.io.read_slices(files.slices)
    before = [s.X.copy() for s in slices]
    same(base, integrate(slices))
    assert all((a != s.X).nnz == 0 for a, s in zip(before, slices))
