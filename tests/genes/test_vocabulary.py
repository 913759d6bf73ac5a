"""A panel in a model's vocabulary: exact names, other names, orthologs, and what is dropped and why."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from lloki.errors import GeneError
from lloki.genes import counts_kept, gene_table, identify, match_vocabulary, orthologs

PAIRS = sorted(orthologs("mouse", "human").items())
MICE, MEN = [mouse for mouse, _ in PAIRS], [human for _, human in PAIRS]
HUMAN = [*gene_table("human").ids, "<cls>", "<pad>", "<eoc>"]
MARKERS = ["Slc17a7", "Gad1", "Tac2", "Trp53", "Pvalb", "Sst", "Mbp", "Gfap", "Camk2d", "Aqp4"]


def test_exact_names_are_kept_as_they_are():
    match = match_vocabulary(["SST", "GAD1", "TAC3"], HUMAN, min_genes=0)
    assert match.names == match.used == ("SST", "GAD1", "TAC3")
    assert match.exact == 3
    assert not match.mapped
    assert not match.dropped


def test_mouse_symbols_find_their_orthologs_and_never_by_letter_case():
    match = match_vocabulary([*MARKERS, "Ly6a", "Fam19a1"], HUMAN, min_genes=0)
    assert match.names[:5] == ("SLC17A7", "GAD1", "TAC3", "TP53", "PVALB")
    assert set(match.how.values()) == {"ortholog"}
    assert "one-to-one" in match.dropped["Ly6a"]
    assert "unknown name" in match.dropped["Fam19a1"]
    # the vocabulary knows the upper-case name: it must not be used
    known = match_vocabulary([*MARKERS, "Ly6a"], [*HUMAN, "LY6A", "TAC2"], min_genes=0)
    assert known.names[2] == "TAC3"
    assert known.names[-1] == ""


@pytest.mark.parametrize("species", ["mouse", "human"])
def test_a_vocabulary_of_ensembl_ids(species):
    table = gene_table(species)
    symbols = MARKERS if species == "mouse" else [orthologs("mouse", "human")[m] for m in MARKERS]
    human_ids = [orthologs("mouse", "human", by="ensembl").get(table.find(s), table.find(s)) for s in symbols]
    match = match_vocabulary(symbols, gene_table("human").symbols, min_genes=0)
    assert list(match.names) == human_ids
    assert set(match.how.values()) == {"ortholog" if species == "mouse" else "other name"}


@pytest.mark.parametrize("version", ["", ".7"])
def test_ensembl_ids_in_a_vocabulary_of_symbols(version):
    mouse = [gene_table("mouse").find(m) + version for m in MARKERS]
    human = [gene_table("human").find("SST") + version, "ENSG00000000001", "ENSDARG00000000001"]
    match = match_vocabulary(mouse, HUMAN, min_genes=0)
    assert match.names[2] == "TAC3"
    assert len(match.used) == len(mouse)
    match = match_vocabulary(human, HUMAN, min_genes=0)
    assert match.names == ("SST", "", "")
    assert match.how == {human[0]: "other name"}


def test_human_symbols_in_a_mouse_vocabulary():
    match = match_vocabulary(["TAC3", "TP53", "GAD1"], gene_table("mouse").ids, min_genes=0)
    assert match.names == ("Tac2", "Trp53", "Gad1")


def test_special_tokens_are_no_genes():
    match = match_vocabulary(["<cls>", "<pad>", "SST"], HUMAN, min_genes=0)
    assert match.used == ("SST",)


def test_a_name_is_given_to_one_gene_whatever_the_order():
    gad1 = gene_table("human").find("GAD1")
    for genes in (["Gad1", gad1, "GAD1"], ["GAD1", gad1, "Gad1"], [gad1, "Gad1", "GAD1"]):
        match = match_vocabulary(genes, HUMAN, min_genes=0)
        assert match.used == ("GAD1",), "the exact one wins"
        assert "GAD1, taken by GAD1" in match.dropped["Gad1"]
    for genes in (["Gad1", gad1], [gad1, "Gad1"]):
        assert match_vocabulary(genes, HUMAN, min_genes=0).used == (gad1,), (
            "its own name before an ortholog's"
        )


def test_of_a_repeated_name_the_first_counts():
    match = match_vocabulary(["SST", "GAD1", "SST"], HUMAN, min_genes=0)
    assert match.names == ("SST", "GAD1", "")
    assert match.used == ("SST", "GAD1")


NAMES = st.one_of(
    *(st.sampled_from(names) for names in (MICE[:400], MEN[:400], ["<a>", "<b>"])), st.text(max_size=4)
)


@given(st.lists(NAMES, max_size=40), st.sets(NAMES, max_size=60))
@settings(max_examples=50, deadline=None)
def test_for_any_panel_and_vocabulary(genes, vocabulary):
    match = match_vocabulary(genes, vocabulary, min_genes=0)
    taken = [name for name in match.names if name]
    assert len(match.names) == len(genes)
    assert len(set(taken)) == len(taken) == len(match.used)
    assert set(taken) <= vocabulary
    assert set(match.used) | set(match.dropped) == set(genes)
    assert not set(match.used) & set(match.dropped)
    assert all(gene in match.used for gene in genes if gene in vocabulary and gene[:1] not in ("", "<"))
    assert set(match.mapped) == set(match.how) == {g for g in match.used if g not in vocabulary}
    assert match.coverage().used == match.used


@given(st.lists(NAMES, max_size=40, unique=True), st.sets(NAMES, max_size=60), st.randoms())
@settings(max_examples=30, deadline=None)
def test_the_order_of_the_panel_changes_nothing(genes, vocabulary, random):
    shuffled = random.sample(genes, len(genes))
    one, other = (match_vocabulary(g, vocabulary, min_genes=0) for g in (genes, shuffled))
    assert dict(zip(genes, one.names)) == dict(zip(shuffled, other.names))
    assert one.how == other.how
    assert one.dropped == other.dropped


def test_too_few_genes_are_refused_by_file_and_with_a_hint():
    with pytest.raises(GeneError, match=r"x\.h5ad var_names: 10 of 10 genes .* at least 20") as caught:
        match_vocabulary(MARKERS, HUMAN, where="x.h5ad")
    assert "factor" in caught.value.hint
    assert match_vocabulary(MARKERS, HUMAN, min_genes=10).exact == 0


def test_a_small_share_is_refused():
    strange = [f"Thing{i}" for i in range(500)]
    with pytest.raises(GeneError, match="5%"):
        match_vocabulary([*MICE[:24], *strange], HUMAN)
    assert len(match_vocabulary([*MICE[:40], *strange], HUMAN).used) == 40


@pytest.mark.parametrize(
    ("genes", "hint"),
    [
        ([m.lower() for m in MICE[5000:5060]], "letter case"),
        ([str(i) for i in range(60)], "Ensembl ids into var_names"),
        ([f"Thing{i}" for i in range(60)], "factor"),
    ],
)
def test_the_hint_fits_what_the_names_look_like(genes, hint):
    with pytest.raises(GeneError, match=hint):
        match_vocabulary(genes, HUMAN)
    tolerated = match_vocabulary(genes, HUMAN, min_genes=0)
    assert hint in tolerated.hint
    assert tolerated.coverage().diagnosis


def test_nothing_at_all():
    match = match_vocabulary([], [], min_genes=0)
    assert match.names == ()
    with pytest.raises(GeneError):
        match_vocabulary([], HUMAN)


def test_share_of_counts_kept():
    match = match_vocabulary(["SST", "Nothing", "GAD1"], HUMAN, min_genes=0)
    counts = sparse.csr_matrix(np.array([[1, 1, 0], [3, 0, 0], [0, 0, 0], [0, 4, 0], [2, 1, 1]], np.float32))
    kept = counts_kept(counts, match)
    assert kept.overall == pytest.approx(7 / 13)
    assert kept.quartiles == pytest.approx((0.375, 0.625, 0.8125))  # of 0.5, 1, 0 and 0.75
    empty = counts_kept(sparse.csr_matrix((3, 3), dtype=np.float32), match)
    assert np.isnan([empty.overall, *empty.quartiles]).all()


def test_a_large_vocabulary_is_searched_quickly():
    vocabulary = [*HUMAN, *(f"AC{i:06d}.1" for i in range(60_000 - len(HUMAN)))]
    panel = MICE[:1000]
    assert identify(panel).species == "mouse"
    start = time.perf_counter()
    assert len(match_vocabulary(panel, vocabulary).used) > 990
    assert time.perf_counter() - start < 0.5  # measured: 0.03 s


def test_a_real_mouse_panel_keeps_nine_genes_in_ten(shared_data):
    import anndata

    genes = anndata.read_h5ad(
        shared_data / "spatial" / "xenium_mouse_brain_ctx_hp.h5ad", backed="r"
    ).var_names
    match = match_vocabulary(list(genes), HUMAN)
    assert len(match.used) >= 0.9 * len(genes)
    assert match.exact == 0
