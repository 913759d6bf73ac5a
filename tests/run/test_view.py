"""The map and clusters: left out as asked, and of a sample where there are many cells."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from lloki.run import _view
from lloki.run._view import view


@pytest.fixture
def many(monkeypatch):
    """Make 600 cells of three kinds, of which 300 are drawn; their layout is their first two columns."""
    monkeypatch.setattr(_view, "MOST", 300)
    monkeypatch.setattr(_view, "ANCHORS", 200)
    monkeypatch.setattr(_view, "PIECE", 70)
    monkeypatch.setattr(_view, "_umap", lambda x, near, distance, seed: np.asarray(x[:, :2], np.float32))
    rng = np.random.default_rng(0)
    kinds = rng.integers(3, size=600)
    return (4 * np.eye(3)[kinds] + 0.3 * rng.standard_normal((600, 3))).astype(np.float32), kinds


def test_cells_that_are_not_drawn_go_to_their_kind(many):
    x, kinds = many
    umap, clusters = view(x, resolution=0.1)
    pairs = set(zip(kinds.tolist(), clusters.tolist()))
    assert len(pairs) == len({kind for kind, _ in pairs}) == len({cluster for _, cluster in pairs}) == 3
    centers = np.stack([x[kinds == kind, :2].mean(axis=0) for kind in range(3)])
    away = np.linalg.norm(umap[:, None] - centers[None], axis=2)
    np.testing.assert_array_equal(away.argmin(axis=1), kinds)
    drawn = (umap == x[:, :2]).all(axis=1)
    assert drawn.sum() == 300


def test_a_sample_is_the_same_each_time(many):
    x, _ = many
    first, again, other = view(x), view(x), view(x, seed=1)
    for a, b in zip(first, again):
        np.testing.assert_array_equal(a, b)
    assert (first[0] != other[0]).any()


def test_clusters_do_not_need_the_map(many):
    x, _ = many
    for cells in (x, x[:200], x[:2]):
        none, clusters = view(cells, layout=False)
        assert none is None
        np.testing.assert_array_equal(clusters, view(cells)[1] if len(cells) > 3 else [0, 0])


def test_positions_lie_amid_the_own_cluster():
    """A cell between two islands lies on one of them."""
    from scipy import sparse

    weights = sparse.csr_matrix([[0.9, 1.0, 1.0, 0.0]])
    xy = np.array([[100.0, 0.0], [1.0, 1.0], [3.0, 1.0], [50.0, 50.0]], np.float32)
    found = _view._mean_of_own(weights, np.array([1, 0, 0, 1]), np.array([0]), xy)
    np.testing.assert_allclose(found, [[2.0, 1.0]])


def test_a_run_without_a_map(base, integrate, status, tmp_path):
    shutil.copytree(base.folder / "work", tmp_path / "run" / "work")
    result = integrate(umap=False)
    assert status(result, "view") == ["computed"]
    assert set(status(result, "training")) == set(status(result, "embedding")) == {"reused"}
    assert "X_umap" not in result.adata.obsm
    np.testing.assert_array_equal(result.adata.obsm["X_lloki"], base.adata.obsm["X_lloki"])
    assert (result.adata.obs["lloki_cluster"] == base.adata.obs["lloki_cluster"]).all()
    assert not list((tmp_path / "run" / "figures").glob("umap*"))
    assert result.run["parameters"]["umap"] is False
