"""Every real file is read as what it is; the quirks that were found in them are met."""

from __future__ import annotations

import warnings
from pathlib import Path

import anndata
import numpy as np
import pytest

from lloki import genes, io, keys
from lloki.errors import GeneError, InputError

SPECIES = {"Mus musculus": "mouse", "Homo sapiens": "human"}


def test_real_slices(shared_data: Path) -> None:
    for path in sorted((shared_data / "spatial").glob("*.h5ad")):
        given = anndata.read_h5ad(path)
        key = "slice" if "slice" in given.obs and given.obs["slice"].nunique() > 1 else None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            slices = io.read_slices([path], slice_key=key)
        assert len(slices) == (given.obs["slice"].nunique() if key else 1)
        assert sum(slice_.n_obs for slice_ in slices) == given.n_obs
        for slice_ in slices:
            reported = slice_.uns["lloki"]
            assert reported["scale"] == "counts", path.name
            assert reported["species"] == SPECIES[given.uns["species"]]
            assert slice_.obs[keys.TECHNOLOGY].iloc[0] == given.uns["technology"]
            given.var_names = given.var_names.str.strip()  # one STARmap gene ends in a blank
            kept = given[slice_.obs_names, slice_.var_names]
            assert (slice_.X != kept.X).nnz == 0
            np.testing.assert_array_equal(slice_.obsm["spatial"], kept.obsm["spatial"])
            empty = np.asarray(kept.X.sum(1)).ravel() == 0
            np.testing.assert_array_equal(slice_.obs[keys.FLAG] == "no counts", empty)
            gone = given.n_vars - slice_.n_vars
            assert gone == sum(name.lower().startswith("blank") for name in given.var_names)
            assert any("measure no gene" in message for message in reported["messages"]) == (gone > 0)


def test_real_references(shared_data: Path) -> None:
    for path in sorted((shared_data / "reference").glob("*.h5ad")):
        given = anndata.read_h5ad(path, backed="r")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.simplefilter("ignore", DeprecationWarning)  # of pandas, to anndata
            warnings.filterwarnings("ignore", message=".*differ from one another in letter case only")
            reference = io.read_reference(path)
        assert reference.uns["lloki"]["scale"] == "counts"
        assert reference.uns["lloki"]["species"] == SPECIES[given.uns["species"]]
        assert reference.X.dtype == np.float32
        assert reference.obsm_keys() == []


def test_cells_without_counts_are_reported(shared_data: Path) -> None:
    with pytest.warns(UserWarning, match="49 cells without any count"):
        (slice_,) = io.read_slices([shared_data / "spatial" / "xenium_mouse_brain_ctx_hp.h5ad"])
    assert slice_.n_obs == 36_602


def test_a_human_slice_against_a_mouse_reference(shared_data: Path) -> None:
    (slice_,) = io.read_slices([shared_data / "spatial" / "xenium_breast_mini.h5ad"])
    reference = io.read_reference(shared_data / "reference" / "scrna_mouse_hypothalamus_romanov.h5ad")
    with pytest.raises(GeneError, match="human symbols against mouse symbols"):
        genes.match_reference(slice_.var_names, reference.var_names, where="breast")
    human = io.read_reference(shared_data / "reference" / "scrna_human_pancreas_baron.h5ad")
    found = genes.match_reference(slice_.var_names, human.var_names, where="breast")
    assert found.fraction > 0.9
    assert found.diagnosis == ""


def test_atlas_profiles(shared_data: Path) -> None:
    # means of counts over cells are multiples of 1 / cells: the sums come back, and it is reported
    with pytest.warns(UserWarning, match="whole counts were recovered"):
        io.read_reference(shared_data / "pretraining" / "profiles_DRONC_human_brain.h5ad")
    # transcripts estimated from barcode collisions are no multiples of anything
    with pytest.raises(InputError, match="holds fractions, not counts"):
        io.read_reference(shared_data / "pretraining" / "raceid_intestine.h5ad")
