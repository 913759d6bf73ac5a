"""What of a finished run is computed again when one thing changes, and nothing else."""

from __future__ import annotations

import shutil

import anndata as ad
import numpy as np
import pytest

STAGES = ("features", "summary", "fit", "embedding", "training", "view")


def computed(result, status) -> list[str]:
    return [stage for stage in STAGES if "computed" in status(result, stage)]


@pytest.fixture
def again(base, integrate, tmp_path):
    shutil.copytree(base.folder / "work", tmp_path / "run" / "work")
    return integrate


def test_resolution_is_part_of_the_view_alone(base, again, status):
    found = again(resolution=4.0)
    assert computed(found, status) == ["view"]
    clusters = [len(set(r.adata.obs["lloki_cluster"])) for r in (base, found)]
    assert clusters[1] > clusters[0]
    np.testing.assert_array_equal(found.adata.obsm["X_lloki"], base.adata.obsm["X_lloki"])


def test_the_configuration_of_features_is_part_of_all_that_follows(base, again, status):
    found = again(fp={"alpha": 0.4})
    assert computed(found, status) == list(STAGES)
    assert np.abs(found.adata.obsm["X_lloki_fp"] - base.adata.obsm["X_lloki_fp"]).max() > 1e-3


def test_the_reference_is_part_of_all_that_follows(base, again, files, status, tmp_path):
    """Without some of its cells, features aim at other sparsities and the embedder learns from others."""
    fewer = ad.read_h5ad(files.reference)[:150].copy()
    fewer.write_h5ad(tmp_path / "fewer.h5ad")
    found = again(reference=tmp_path / "fewer.h5ad")
    assert computed(found, status) == list(STAGES)
    assert np.abs(found.adata.obsm["X_lloki_fp"] - base.adata.obsm["X_lloki_fp"]).max() > 1e-3


def test_counts_of_the_reference_that_leave_its_sparsity_are_part_of_the_fit(again, files, status, tmp_path):
    louder = ad.read_h5ad(files.reference)
    louder.X.data[: len(louder.X.data) // 2] += 5
    louder.write_h5ad(tmp_path / "louder.h5ad")
    found = again(reference=tmp_path / "louder.h5ad")
    assert computed(found, status) == ["fit", "embedding", "training", "view"]
