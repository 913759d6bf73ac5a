"""Labels in a run: which ones training sees, and that they are part of what makes a result."""

from __future__ import annotations

import shutil

import anndata as ad
import numpy as np
import pytest

from lloki.errors import ConfigError

HOW = {"train_labels": "cell_type", "train_label_slices": ("alphafish_1",)}


@pytest.fixture
def learned(base, integrate, tmp_path):
    """A run on the features and embeddings of ``base`` that sees the labels of one slice."""
    shutil.copytree(base.folder / "work", tmp_path / "run" / "work")
    return integrate(**HOW)


def test_labels_make_another_model_and_are_said(base, learned, status):
    assert status(learned, "training") == ["computed"]
    assert set(status(learned, "embedding")) == {"reused"}
    assert not np.allclose(learned.adata.obsm["X_lloki"], base.adata.obsm["X_lloki"])
    reported = [m for m in learned.run["messages"] if "training saw its labels" in m["text"]]
    assert [m["slice"] for m in reported] == ["alphafish_1"]
    assert learned.run["parameters"]["train_label_slices"] == ["alphafish_1"]


def test_labels_that_training_may_not_see_change_nothing(learned, files, integrate, status, tmp_path):
    """The types of the slices that are scored are shuffled: the model is found, the embedding is the same."""
    want = learned.adata
    for file in (files.beta, files.alpha_2):
        shuffled = ad.read_h5ad(file)
        rng = np.random.default_rng(0)
        shuffled.obs["cell_type"] = rng.permutation(shuffled.obs["cell_type"].astype(str).to_numpy())
        shuffled.write_h5ad(tmp_path / file.name)
    again = integrate([files.alpha_1, tmp_path / files.beta.name, tmp_path / files.alpha_2.name], **HOW)
    assert status(again, "training") == ["reused"]
    np.testing.assert_array_equal(again.adata.obsm["X_lloki"], want.obsm["X_lloki"])


def test_labels_that_training_sees_are_part_of_the_key(learned, files, integrate, status, tmp_path):
    changed = ad.read_h5ad(files.alpha_1)
    names = changed.obs["cell_type"].astype(str).to_numpy()
    changed.obs["cell_type"] = np.where(np.arange(len(names)) < 40, names[0], names)
    changed.write_h5ad(tmp_path / files.alpha_1.name)
    again = integrate([tmp_path / files.alpha_1.name, files.beta, files.alpha_2], **HOW)
    assert set(status(again, "embedding")) == {"reused"}
    assert status(again, "training") == ["computed"]


@pytest.mark.parametrize(
    ("how", "match"),
    [
        ({"train_labels": "no such column"}, "no labels in obs"),
        ({"train_labels": "cell_type", "train_label_slices": ("nobody",)}, "'nobody'"),
        ({"train_label_slices": ("alphafish_1",)}, "no column"),
    ],
)
def test_labels_that_are_not_there_are_said_before_any_work(how, match, integrate, tmp_path):
    with pytest.raises(ConfigError, match=match):
        integrate(**how)
    assert not (tmp_path / "run" / "work" / "features").exists()


def test_a_slice_that_is_not_trained_on_gives_no_labels(files, integrate):
    with pytest.raises(ConfigError, match="the trained slices are: alphafish_1, betaseq_1"):
        integrate(project_only=["alphafish_2"], train_labels="cell_type", train_label_slices=("alphafish_2",))
