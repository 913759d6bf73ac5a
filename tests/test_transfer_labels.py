"""``lloki.tl.transfer_labels``: what it writes, which cells are *unknown*, and which input it rejects."""

from __future__ import annotations

import json
import warnings

import anndata as ad
import numpy as np
import pytest

import lloki
from lloki import keys
from lloki.errors import ConfigError, InputError, LlokiWarning
from planted import TYPES, planted


@pytest.fixture(scope="module")
def done() -> tuple[ad.AnnData, object]:
    adata = planted()
    return adata, lloki.tl.transfer_labels(adata, label_key="cell_type", sources=["a", "b"])


def test_labels_are_transferred_and_given_ones_kept(done):
    adata, found = done
    target = (adata.obs["slice"] == "c").to_numpy()
    truth, labels = adata.obs["cell_type"].to_numpy(str), adata.obs[keys.LABEL].astype(str).to_numpy()
    assert (labels[target] == truth[target]).mean() > 0.95
    assert (labels[~target] == truth[~target]).all()
    confidence = adata.obs[keys.LABEL_CONFIDENCE].to_numpy()
    assert np.isnan(confidence[~target]).all()
    assert ((confidence[target] >= 0) & (confidence[target] <= 1)).all()
    assert list(adata.obs[keys.LABEL].cat.categories) == [*sorted(TYPES), "unknown"]
    assert found.left_out == "slices"
    assert found.table["n_tested"].sum() == (~target).sum()
    assert found.error < 0.1


def test_the_order_of_slices_and_cells_does_not_matter(done):
    adata, _ = done
    other = adata[np.random.default_rng(1).permutation(adata.n_obs)].copy()
    lloki.tl.transfer_labels(other, label_key="cell_type", sources=["b", "a"])
    for column in (keys.LABEL_CONFIDENCE, keys.LABEL_NOVELTY):
        np.testing.assert_allclose(
            other.obs[column].loc[adata.obs_names].to_numpy(), adata.obs[column].to_numpy(), atol=1e-9
        )


def test_the_result_is_written_with_the_file(done, tmp_path):
    adata, _ = done
    adata.write_h5ad(tmp_path / "a.h5ad")
    entry = ad.read_h5ad(tmp_path / "a.h5ad").uns[keys.UNS]["transfer_labels"]
    assert json.loads(entry["parameters"])["sources"] == ["a", "b"]
    assert list(entry["table"]["type"]) == sorted(TYPES)


def test_a_type_that_no_labeled_slice_has_is_unknown():
    adata = planted(cells=300)
    rare = (adata.obs["cell_type"] == "Vascular").to_numpy()
    adata.obs["seen"] = adata.obs["cell_type"].where(~rare & (adata.obs["slice"] != "c"))
    adata = adata[~rare | (adata.obs["slice"] == "c").to_numpy()].copy()
    lloki.tl.transfer_labels(adata, label_key="seen")
    new = ((adata.obs["cell_type"] == "Vascular") & (adata.obs["slice"] == "c")).to_numpy()
    old = ((adata.obs["cell_type"] != "Vascular") & (adata.obs["slice"] == "c")).to_numpy()
    unknown = (adata.obs[keys.LABEL] == "unknown").to_numpy()
    assert unknown[new].mean() > 0.9
    assert unknown[old].mean() < 0.1
    assert (adata.obs[keys.LABEL_BEST] != "unknown").all()


def test_confidence_falls_where_types_overlap():
    adata = planted(spread=1.2)
    found = lloki.tl.transfer_labels(adata, label_key="cell_type", sources=["a", "b"], method="neighbors")
    target = ~found.given
    order = dict.fromkeys(adata.obs["slice"])
    truth = np.concatenate([adata.obs["cell_type"][adata.obs["slice"] == s] for s in order])
    right = found.best[target] == truth[target]
    assert 0.5 < right.mean() < 0.97
    assert abs(found.confidence[target].mean() - right.mean()) < 0.08


def test_one_labeled_slice_is_calibrated_by_its_cells_with_a_warning():
    with pytest.warns(LlokiWarning, match="labels come from one slice or one technology"):
        found = lloki.tl.transfer_labels(planted("ab"), label_key="cell_type", sources="a")
    assert found.left_out == "cells"


def test_types_of_low_recall_or_without_a_test_are_warned_of():
    adata = planted()
    labels, b = adata.obs["cell_type"].astype(object), adata.obs["slice"] == "b"
    turned = labels.where(~b, labels.replace({"Astro": "Oligo", "Oligo": "Astro"}))
    adata.obs["cell_type"] = turned.where(~b | (labels != "Vascular"), "Neuron")
    with pytest.warns(LlokiWarning) as caught:
        lloki.tl.transfer_labels(adata, label_key="cell_type", sources=["a", "b"], threshold=0)
    texts = [str(w.message) for w in caught]
    assert any("recall of Astro, Oligo is below 0.2" in t for t in texts)
    assert any(t.startswith("Vascular: only one source") for t in texts)


def test_cells_labeled_unknown_have_no_label():
    adata = planted()
    adata.obs["cell_type"] = np.where(np.arange(adata.n_obs) % 7 == 0, "unknown", adata.obs["cell_type"])
    with pytest.warns(LlokiWarning, match="are 'unknown' in"):
        found = lloki.tl.transfer_labels(adata, label_key="cell_type", sources=["a", "b"])
    assert found.types == tuple(sorted(TYPES))
    assert (adata.obs[keys.LABEL] != "unknown").mean() > 0.9


def test_text_for_a_missing_label_is_none_with_a_warning():
    adata, plain = planted(), planted()
    first = (adata.obs["slice"] == "a").to_numpy().nonzero()[0][:7]
    for data, word in ((adata, "nan"), (plain, None)):
        labels = data.obs["cell_type"].astype(object)
        labels.iloc[first] = word
        data.obs["cell_type"] = labels
    with pytest.warns(LlokiWarning, match=r"a: 7 cells are 'nan' in obs\['cell_type'\]"):
        lloki.tl.transfer_labels(adata, label_key="cell_type")
    with warnings.catch_warnings():
        warnings.simplefilter("error", LlokiWarning)
        lloki.tl.transfer_labels(plain, label_key="cell_type")
    assert list(adata.obs[keys.LABEL]) == list(plain.obs[keys.LABEL])


def test_names_of_cells_are_no_types_and_one_type_is_warned_of():
    adata = planted()
    adata.obs["volume"] = np.random.default_rng(0).normal(size=len(adata))
    with pytest.raises(InputError, match=r"rather than types.*label_key"):
        lloki.tl.transfer_labels(adata, label_key="volume", sources="a")
    adata.obs["same"] = "cell"
    with pytest.warns(LlokiWarning, match="names one type only, 'cell'"):
        lloki.tl.transfer_labels(adata, label_key="same", sources=["a", "b"])


def test_the_curve_is_that_of_the_error(done):
    _, found = done
    gaps = (found.curve["confidence"] - found.curve["accuracy"]).abs()
    assert found.error == pytest.approx(np.average(gaps, weights=found.curve["n_cells"]))


def test_a_labeled_reference_beside_a_list_of_slices():
    adata = planted("abc")
    slices = [adata[adata.obs["slice"] == name].copy() for name in "bc"]
    known = adata[adata.obs["slice"] == "a"].copy()
    for s in slices:
        s.obs["truth"] = s.obs.pop("cell_type")
    lloki.tl.transfer_labels(slices, label_key="cell_type", reference=known)
    for s in slices:
        assert (s.obs[keys.LABEL].astype(str) == s.obs["truth"]).mean() > 0.9
    assert keys.LABEL not in known.obs


def test_a_reference_without_the_embedding_is_named():
    known = planted("a")
    del known.obsm[keys.JOINT]
    with pytest.raises(InputError, match=r"^reference obsm\['X_lloki'\]"):
        lloki.tl.transfer_labels(planted("bc"), label_key="cell_type", sources="b", reference=known)


def test_cells_without_counts_are_unknown_and_do_not_vote():
    adata = planted()
    adata.obs[keys.FLAG] = np.where(np.arange(adata.n_obs) < 40, "no counts", "")
    lloki.tl.transfer_labels(adata, label_key="cell_type", sources=["a", "b"])
    assert (adata.obs[keys.LABEL].iloc[:40] == "unknown").all()


@pytest.mark.parametrize(
    ("change", "settings", "kind", "message"),
    [
        (lambda a: a.obsm.pop(keys.JOINT), {}, InputError, r"obsm\['X_lloki'\].*Integrate"),
        (lambda a: a.obs.pop("cell_type"), {}, InputError, "no slice has the column"),
        (lambda a: a.obs.pop("slice"), {}, InputError, r"obs\['slice'\]"),
        (lambda a: a.obsm[keys.JOINT].__setitem__((0, 0), np.nan), {}, InputError, "NaN"),
        (lambda a: None, {"sources": ["z"]}, InputError, "no slice 'z'"),
        (lambda a: None, {"sources": None}, InputError, "all cells have a label"),
        (lambda a: None, {"n_neighbors": 0}, ConfigError, "n_neighbors must"),
        (lambda a: None, {"threshold": 2.0}, ConfigError, "threshold"),
        (lambda a: a.obs.__setitem__("cell_type", None), {}, InputError, "fewer than two"),
    ],
)
def test_bad_input_is_named_and_nothing_written(change, settings, kind, message):
    adata = planted("ab", cells=30)
    change(adata)
    with pytest.raises(kind, match=message):
        lloki.tl.transfer_labels(adata, label_key="cell_type", **({"sources": "a"} | settings))
    assert keys.LABEL not in adata.obs


def test_figures(done):
    adata, found = done
    assert lloki.pl.reliability(found).lines
    ax = lloki.pl.confusion(adata.obs["cell_type"], adata.obs[keys.LABEL])
    assert len(ax.get_yticklabels()) == len(TYPES)
    with pytest.raises(InputError, match="confidence"):
        lloki.pl.reliability(found.table)
    with pytest.raises(InputError, match="no cell"):
        lloki.pl.confusion([None], ["a"])
