"""The tables of genes that ship with the package: one-to-one both ways, and right for genes people know."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

from lloki.errors import ConfigError
from lloki.genes import gene_table, orthologs


@pytest.mark.parametrize("by", ["symbol", "ensembl"])
def test_there_and_back_is_the_same_gene(by):
    there, back = orthologs("mouse", "human", by=by), orthologs("human", "mouse", by=by)
    assert len(there) > 16_000
    mice = {m: gene_table("mouse").find(m) for m in there}
    assert all(gene_table("mouse").find(back[human]) == mice[mouse] for mouse, human in there.items())
    # one human gene has one mouse gene, whatever it is called
    assert len({(mice[m], h) for m, h in there.items()}) == len(set(there.values()))


@pytest.mark.parametrize(
    ("mouse", "human"),
    [
        ("Slc17a7", "SLC17A7"),
        ("Tac2", "TAC3"),  # upper-casing finds no human gene
        ("Tac1", "TAC1"),
        ("Trp53", "TP53"),
        ("Pvalb", "PVALB"),
        ("Camk2d", "CAMK2D"),  # absent from the homologies of this release of Ensembl
        ("Pten", "PTEN"),
        ("Abcg2", "ABCG2"),  # which Ensembl gives to Abcg3
        ("Srsf1", "SRSF1"),  # has no symbol in this export of Ensembl
    ],
)
def test_genes_people_know(mouse, human):
    assert orthologs("mouse", "human")[mouse] == human
    assert orthologs("human", "mouse")[human] == mouse
    ids = orthologs("mouse", "human", by="ensembl")
    assert ids[gene_table("mouse").find(mouse)] == gene_table("human").find(human)


@pytest.mark.parametrize("gene", ["Ly6a", "Siglech", "Agtr1a", "Cyp2d9", "H2-K1"])
def test_families_have_no_one_to_one_ortholog(gene):
    assert gene_table("mouse").find(gene)
    assert gene not in orthologs("mouse", "human")


def test_every_id_is_of_its_species_and_every_symbol_has_one_id():
    for species, shape in (("mouse", r"ENSMUSG\d{11}"), ("human", r"ENSG\d{11}")):
        table = gene_table(species)
        assert all(re.fullmatch(shape, gene) for gene in table.symbols)
        assert all(table.ids[symbol] == gene for gene, names in table.symbols.items() for symbol in names)
        assert sum(map(len, table.symbols.values())) == len(table.ids)


def test_ids_are_found_with_and_without_version():
    table = gene_table("human")
    assert table.ids["TP53"] == table.find("TP53") == table.find("ENSG00000141510.18") == "ENSG00000141510"
    assert table.find("Trp53") == table.find("") == table.find("ENSG00000000001") == ""


def test_tables_are_read_once_and_cannot_be_changed():
    assert orthologs("mouse", "human") is orthologs("mouse", "human")
    with pytest.raises(TypeError):
        orthologs("mouse", "human")["Slc17a7"] = "none"  # type: ignore[index]


@pytest.mark.parametrize(
    ("source", "target", "by"),
    [("mouse", "mouse", "symbol"), ("rat", "human", "symbol"), ("mouse", "human", "entrez")],
)
def test_what_there_is_no_table_for(source, target, by):
    with pytest.raises(ConfigError):
        orthologs(source, target, by=by)


def test_the_tables_are_small():
    tables = [f for f in (files("lloki.genes") / "data").iterdir() if f.name.endswith(".xz")]
    assert len(tables) == 3
    assert sum(len(f.read_bytes()) for f in tables) < 500_000
