"""Conventions of ``lloki.tl``: parameter names, misspelled options, slots named by ``key_added``."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

import lloki
from lloki import keys
from lloki.errors import ConfigError
from planted import TYPES, planted

pytestmark = pytest.mark.filterwarnings("ignore::lloki.errors.LlokiWarning")
MARKERS = {kind: [f"G{i}" for i in range(12) if i % 4 == t] for t, kind in enumerate(TYPES)}
SHORT = {"iterations": 1, "pretraining": 1, "n_metagenes": 2}
CALLS = {
    "align_slices": {"pixels": 20, "fine_pixels": 40, "rotation_step": 30.0},
    "annotate_by_markers": {"markers": MARKERS},
    "domains": {"n_domains": 2},
    "metagenes": SHORT,
    "neighborhood_program": {
        "focal": "Neuron",
        "neighbor": "Oligo",
        "label_key": "cell_type",
        "n_neighbors": 5,
        "permutations": 2,
    },
    "transfer_labels": {"label_key": "cell_type", "sources": ["a"]},
}
MEASURES = {"enrichment": {"label_key": "cell_type"}, "gene_loadings": {}, "moran": {}}


def slots(adata):
    """Names of everything in ``obs``, ``obsm`` and ``layers``."""
    return set(adata.obs) | set(adata.obsm) | set(adata.layers)


@pytest.fixture
def adata():
    made = planted("ab", cells=60)
    made.obsm[keys.JOINT] = np.abs(made.obsm[keys.JOINT])
    return made


@pytest.mark.parametrize("name", lloki.tl.__all__)
def test_parameters_have_the_names_of_the_convention(name):
    parameters = inspect.signature(getattr(lloki.tl, name)).parameters
    old = {"key", "k", "number", "neighbors", "least", "cells", "donors", "settings", "random_state"}
    assert not old & set(parameters)
    assert ("key_added" in parameters) == (name != "impute")


@pytest.mark.parametrize("name", lloki.tl.__all__)
def test_a_misspelled_option_names_the_nearest(name):
    wrong = "use_repp" if "use_rep" in inspect.signature(getattr(lloki.tl, name)).parameters else "sed"
    right = {"use_repp": "use_rep", "sed": "seed"}[wrong]
    with pytest.raises(ConfigError, match=f"{name} has no option '{wrong}'.*{right}"):
        getattr(lloki.tl, name)(**{wrong: 1})


@pytest.mark.parametrize("name", CALLS)
def test_slots_are_named_by_key_added_and_documented(name, adata):
    function, before = getattr(lloki.tl, name), slots(adata)
    assert function(adata, **CALLS[name]) is not None
    default = inspect.signature(function).parameters["key_added"].default
    written = slots(adata) - before
    assert written
    for slot in written:
        assert slot.startswith(default)
        assert f'"{slot}"' in function.__doc__
    function(adata, **CALLS[name], key_added="mine")
    assert slots(adata) - before - written == {slot.replace(default, "mine") for slot in written}
    assert name in adata.uns[keys.UNS]


def test_the_stages_write_and_read_slots_by_name():
    made = lloki.datasets.tissue(n_cells=100, n_reference=120, seed=0)
    for adata in made.slices:
        lloki.tl.align_features(adata, made.reference, n_neighbors=10, key_added="fp")
        assert {"fp", "fp_sparsity", "fp_sparsity_target"} <= slots(adata)
    lloki.tl.embed(made.slices, reference=made.reference, denoised_layer="fp", key_added="X_fp")
    lloki.tl.align_batches(made.slices, use_rep="X_fp", key_added="X_joint", steps=2, check_every=2)
    for adata in made.slices:
        assert {"X_fp", "X_joint"} <= set(adata.obsm)
        assert not {keys.FP, keys.JOINT, keys.DENOISED} & slots(adata)


def test_measures_of_metagenes_are_returned_and_written(adata, tmp_path):
    lloki.tl.metagenes(adata, **SHORT)
    for name, options in MEASURES.items():
        found = getattr(lloki.tl, name)(adata, **options, key_added=f"my_{name}")
        table = adata.uns[keys.UNS][f"my_{name}"]["table"]
        assert set(table["slice"]) == {"a", "b"}
        if name == "enrichment":
            np.testing.assert_array_equal(table.iloc[:, 2:], np.concatenate(list(found.values())))
        elif name == "moran":
            np.testing.assert_array_equal(table.iloc[:, 1:].astype(float).T, found)
    adata.write_h5ad(tmp_path / "a.h5ad")
