"""A reference of the other of mouse and human: named as the remedy, and matched when asked for."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse

import lloki
from lloki import genes, io, keys
from lloki.errors import GeneError, LlokiWarning
from lloki.io import ReadOptions
from lloki.io.reference import by_orthologs, matched
from lloki.run._plan import check_inputs

Make = Callable[..., AnnData]


def human(n: int = 50, *, ids: bool = False) -> AnnData:
    """Cells of 300 human genes; their counts are the number of the gene."""
    pairs = dict(list(genes.orthologs("mouse", "human").items())[::57])
    names = [*pairs.values(), "TAC3", "TP53", "SLC17A7", "GAD1", "GAD2", "SST", "PVALB", "XIST", "CXCL8"]
    names = list(dict.fromkeys(names))
    x = np.tile(np.arange(1, len(names) + 1, dtype=np.float32), (n, 1))
    index = [genes.gene_table("human").find(name) for name in names] if ids else names
    return AnnData(
        sparse.csr_matrix(x),
        var=pd.DataFrame(index=index),
        obs=pd.DataFrame(index=[f"h{i}" for i in range(n)]),
    )


def check(slices: list[AnnData], reference: AnnData, **options: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LlokiWarning)
        return check_inputs(slices, ReadOptions(**options), reference=reference)


def test_names_of_orthologs() -> None:
    names = ["Tac2", "Trp53", "Ly6a", "nothing", "ENSMUSG00000059552.13"]
    assert genes.ortholog_names(names, "mouse", "human") == ("TAC3", "TP53", "", "", "TP53")
    assert genes.ortholog_names(["TAC3", "CXCL8"], "human", "mouse") == ("Tac2", "")
    ids = genes.ortholog_names(names, "mouse", "human", by="ensembl")
    assert ids[0] == genes.gene_table("human").find("TAC3")


@pytest.mark.parametrize("ids", [False, True])
def test_counts_stay_with_their_genes(ids: bool) -> None:
    reference = io.read_reference(human(ids=ids))
    other = by_orthologs(reference)
    name = genes.gene_table("mouse").find("Tac2") if ids else "Tac2"
    old = genes.gene_table("human").find("TAC3") if ids else "TAC3"
    np.testing.assert_array_equal(other[:, name].X.toarray(), reference[:, old].X.toarray())
    assert other.uns[keys.UNS]["species"] == "mouse"
    assert other.var_names.is_unique
    assert "CXCL8" not in other.var_names
    assert other.n_vars < reference.n_vars
    assert "named by their one-to-one orthologs in mouse" in other.uns[keys.UNS]["messages"][-1]
    assert io.read_reference(human(ids=ids)).var_names.equals(reference.var_names)


def test_the_error_names_the_remedy_and_it_works(good: Make) -> None:
    refused = check([good()], human())
    assert not refused.ok
    assert "orthologs=True (--orthologs)" in refused.slices[0].errors[0]
    found = check([good()], human(), orthologs=True)
    assert found.ok
    used, of = found.genes_in_reference["slice1"]
    assert used >= 5
    assert of == 24


def test_a_reference_of_the_same_species_is_taken_as_it_is(good: Make) -> None:
    assert check([good()], good(seed=3), orthologs=True).genes_in_reference["slice1"] == (24, 24)
    reference = io.read_reference(good(seed=3))
    assert matched(reference, [list(good().var_names)], orthologs=True) is reference
    assert matched(reference, [["GAD1"]], orthologs=False) is reference


def test_slices_of_both_species_are_refused(good: Make) -> None:
    mouse, man = good(), human()
    man.obsm["spatial"], man.uns["technology"] = np.random.default_rng(0).random((50, 2)), "Xenium"
    found = check([mouse, man], human(), orthologs=True)
    assert "Integrate the slices of each species on their own" in found.errors[0]


def test_no_species_no_orthologs() -> None:
    reference = io.read_reference(AnnData(np.ones((3, 2), np.float32), var=pd.DataFrame(index=["A1", "B2"])))
    with pytest.raises(GeneError, match="no species is evident"):
        by_orthologs(reference)


def test_in_stages(good: Make) -> None:
    slice_ = good()
    with pytest.raises(GeneError, match="--orthologs"):
        lloki.tl.align_features(slice_, human(), n_neighbors=5)
    with pytest.warns(LlokiWarning, match="one-to-one orthologs"):
        lloki.tl.align_features(slice_, human(), n_neighbors=5, orthologs=True)
    assert keys.DENOISED in slice_.layers


def capitals(adata: AnnData) -> AnnData:
    """Add symbols that human lacks, in capitals."""
    names = [*adata.var_names[:-4], "Ly6a", "Ly6c1", "H2-D1", "Cd209a"]
    adata.var_names = [name.upper() for name in names]
    return adata


def test_mouse_in_capitals_matches_mouse(good: Make) -> None:
    reference = capitals(good(seed=3))
    mouse = [*good().var_names[:-4], "Ly6a", "Ly6c1", "H2-D1", "Cd209a"]
    before = list(reference.var_names)
    plain, other = good(), good(seed=1)
    plain.var_names = other.var_names = mouse
    with pytest.warns(LlokiWarning, match="23 gene names written in the letter case of the slices"):
        found = check_inputs([plain, other], ReadOptions(), reference=reference)
    assert found.ok
    assert list(found.genes_in_reference.values()) == [(24, 24)] * 2
    assert list(reference.var_names) == before
    with pytest.warns(LlokiWarning, match="letter case of the slices"):
        lloki.tl.align_features(plain, reference, n_neighbors=5)
    same = good(seed=3)
    same.var_names = mouse
    want = plain.copy()
    lloki.tl.align_features(want, same, n_neighbors=5)
    assert (plain.layers[keys.DENOISED] != want.layers[keys.DENOISED]).nnz == 0


def test_slices_in_two_letter_cases_are_refused(good: Make) -> None:
    plain = good()
    plain.var_names = [*good().var_names[:-4], "Ly6a", "Ly6c1", "H2-D1", "Cd209a"]
    found = check([plain, capitals(good(seed=1))], capitals(good(seed=3)))
    assert not found.ok
    assert "in the same letter case" in found.errors[0]
