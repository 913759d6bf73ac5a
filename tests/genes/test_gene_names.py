"""Gene names: kinds, species, symbols from another column, panels and what they cover."""

from __future__ import annotations

import pickle
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lloki import genes
from lloki.errors import GeneError

MOUSE = [
    "Slc17a7",
    "Gad1",
    "1700022I11Rik",
    "mt-Co1",
    "H2-K1",
    "Gm1234",
    "Tnfrsf13b",
    "AC149090.1",
    "Sst",
    "Mbp",
]
HUMAN = [
    "SLC17A7",
    "GAD1",
    "C1orf112",
    "MT-CO1",
    "HLA-A",
    "RP11-34P13.7",
    "TNFRSF13B",
    "LINC00115",
    "SST",
    "MBP",
]
ENSMUSG = [f"ENSMUSG{i:011d}" for i in range(10)]
ENSG = [f"ENSG{i:011d}.{i}" for i in range(10)]


@pytest.mark.parametrize(
    ("names", "kind", "species"),
    [
        (MOUSE, "symbol", "mouse"),
        (HUMAN, "symbol", "human"),
        (ENSMUSG, "ensembl", "mouse"),
        (ENSG, "ensembl", "human"),
        ([f"ENSDARG{i:011d}" for i in range(9)], "ensembl", "unknown"),
        (["slc17a7a", "gad1b", "sst1.1", "mbpa", "fezf2"], "symbol", "unknown"),
        (MOUSE + HUMAN, "symbol", "unknown"),
        (["0", "1", "2"], "unknown", "unknown"),
        (["Gad1"], "symbol", "unknown"),
        ([], "unknown", "unknown"),
        ([*MOUSE, *[f"Blank-{i}" for i in range(50)]], "symbol", "mouse"),
        ([*ENSMUSG, "Gfp", "Cre"], "ensembl", "mouse"),
    ],
)
def test_kinds_and_species(names: list[str], kind: str, species: str) -> None:
    assert genes.identify(names) == genes.Identifiers(kind, species)  # type: ignore[arg-type]


def test_controls_are_told_from_genes_with_like_names() -> None:
    controls = ["Blank-12", "BLANK_0006", "NegControlProbe_00042", "NegPrb7", "Negative3", "SystemControl12"]
    controls += [
        "UnassignedCodeword_0001",
        "DeprecatedCodeword_1",
        "antisense_PROKR2",
        "ERCC-00002",
        "FalseCode9",
    ]
    real = ["NEGR1", "Negr1", "ERCC1", "ERCC6L2", "Nelfe", "Sys1", "Fas", "Deptor", "Interleukin"]
    np.testing.assert_array_equal(
        genes.is_control(controls + real), [True] * len(controls) + [False] * len(real)
    )


def test_symbols_come_from_the_column_that_holds_them() -> None:
    columns = {
        "chromosome": ["chr1", "chr2"] * 5,
        "feature_types": ["Gene Expression"] * 10,
        "refseq": [f"NM_{i:06d}.2" for i in range(10)],
        "length": list(range(10)),
        "odd name": MOUSE,
    }
    found = genes.to_symbols(ENSMUSG, columns)
    assert found.names == tuple(MOUSE)
    assert (found.column, found.unmapped, found.ids.kind) == ("odd name", 0, "symbol")
    assert genes.to_symbols(MOUSE, {"gene_ids": ENSMUSG}).names == tuple(MOUSE)
    usual = genes.to_symbols(ENSMUSG, {"alias": HUMAN, "gene_symbol": MOUSE})
    assert usual.column == "gene_symbol"


def test_names_without_symbols() -> None:
    bare = genes.to_symbols(ENSG, {"feature_types": ["Gene Expression"] * 10})
    assert bare.names == tuple(name.split(".")[0] for name in ENSG)
    assert bare.column == ""
    gaps = genes.to_symbols(ENSMUSG, {"symbol": [*MOUSE[:8], None, float("nan")]})
    assert gaps.names == (*MOUSE[:8], *ENSMUSG[8:])
    assert gaps.unmapped == 2
    numbered = genes.to_symbols(list("0123456789"), {"gene_ids": ENSMUSG})
    assert (numbered.names, numbered.ids.kind) == (tuple(ENSMUSG), "ensembl")


def test_translate_keeps_what_the_table_lacks() -> None:
    assert genes.translate(["Gad1", "Xist"], {"Gad1": "GAD1"}) == (("GAD1", "Xist"), 1)


@given(st.lists(st.text(min_size=1, max_size=8), max_size=30), st.randoms())
def test_panel_name_is_of_the_set(names: list[str], random: object) -> None:
    shuffled = names + names[:3]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    label = genes.panel_name(names)
    assert label == genes.panel_name(shuffled)
    assert label.startswith(f"panel_{len(set(names))}g_")
    assert genes.is_panel_name(label)
    assert label != genes.panel_name([*names, "one more gene"])


def test_panel_name_is_the_same_in_every_process() -> None:
    code = f"from lloki import genes; print(genes.panel_name({MOUSE}))"
    elsewhere = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert elsewhere.stdout.strip() == genes.panel_name(MOUSE)
    assert not genes.is_panel_name("panel_animal1_b0.26")


@given(st.lists(st.sampled_from(MOUSE)), st.lists(st.sampled_from(MOUSE)))
def test_coverage_parts_the_panel(mine: list[str], theirs: list[str]) -> None:
    found = genes.coverage(mine, theirs)
    assert set(found.used) == set(mine) & set(theirs)
    assert set(found.dropped) == set(mine) - set(theirs)
    assert list(found.used) == [gene for gene in dict.fromkeys(mine) if gene in theirs]
    assert 0 <= found.fraction <= 1


@pytest.mark.parametrize(
    ("mine", "theirs", "says"),
    [
        (MOUSE, HUMAN, "mouse symbols against human symbols"),
        (ENSMUSG, MOUSE, "mouse Ensembl ids against mouse symbols"),
        (ENSMUSG, [name.split(".")[0] for name in ENSG], "mouse Ensembl ids against human Ensembl ids"),
        (["gad1", "sst", "mbp", "vip"], MOUSE, "3 when letter case is ignored"),
        (["Abc1", "Abc2", "Abc3"], MOUSE, "0 of 3 genes are in"),
        (
            [*HUMAN, *[f"GENE{i}" for i in range(40)]],
            [*MOUSE, *[f"Gene{i}" for i in range(40)], "SST", "MBP"],
            "human symbols against mouse symbols",
        ),
    ],
)
def test_no_match_says_why(mine: list[str], theirs: list[str], says: str) -> None:
    with pytest.raises(GeneError) as caught:
        genes.match_reference(mine, theirs, where="slice.h5ad", reference_name="atlas.h5ad")
    error = pickle.loads(pickle.dumps(caught.value))  # it has to come back from a worker
    assert says in error.what
    assert "atlas.h5ad" in error.what
    assert (error.where, error.slot) == ("slice.h5ad", "var_names")
    assert error.hint


def test_little_overlap_is_returned_with_its_diagnosis() -> None:
    theirs = ["Sst", *(f"Abc{i}" for i in range(40))]
    found = genes.match_reference([*MOUSE, "Xist", "Vip"], theirs, where="slice")
    assert found.used == ("Sst",)
    assert "1 of 12 genes" in found.diagnosis
    assert found.hint
