"""Species is judged by names, not by their letter case alone."""

from __future__ import annotations

import pytest

from lloki.errors import GeneError
from lloki.genes import identify, in_letter_case, match_reference

MOUSE = ["Slc17a7", "H2-K1", "H2-D1", "Ly6c1", "Ly6a", "Gad1", "Mog", "Cd209a", "Klra8", "Ccl9"]
HUMAN = ["SLC17A7", "HLA-A", "HLA-DRA", "KIR2DL1", "GAD1", "MOG", "CXCL8", "CD1A"]


@pytest.mark.parametrize("write", [str, str.upper, str.lower])
def test_mouse_symbols_in_any_letter_case_are_mouse(write) -> None:
    assert identify([write(name) for name in MOUSE]).species == "mouse"


@pytest.mark.parametrize("write", [str, str.lower, str.capitalize])
def test_human_symbols_in_any_letter_case_are_human(write) -> None:
    assert identify([write(name) for name in HUMAN]).species == "human"


def test_mouse_panel_in_capitals_against_a_human_reference_has_a_diagnosis() -> None:
    mouse = [name.upper() for name in MOUSE] + [f"GENE{i}" for i in range(40)]
    human = HUMAN + [f"GENE{i}" for i in range(40)]
    found = match_reference(mouse, human, where="slice.h5ad")
    assert len(found.used) == 43
    assert "names of mouse, the reference of human" in found.diagnosis
    assert "same species" in found.hint
    assert not match_reference(human, human, where="slice.h5ad").diagnosis


def test_mouse_panel_in_capitals_against_a_mouse_reference() -> None:
    with pytest.raises(GeneError, match=r"10 when letter case is ignored.*same letter case"):
        match_reference([name.upper() for name in MOUSE], MOUSE, where="slice.h5ad")


@pytest.mark.parametrize(
    ("names", "here", "there"),
    [
        (MOUSE, str.upper, str),
        (MOUSE, str.lower, str),
        (MOUSE, str, str.upper),
        (HUMAN, str, str.lower),
        (HUMAN, str.capitalize, str),
    ],
)
def test_a_reference_takes_the_letter_case_of_a_slice_of_its_species(names, here, there) -> None:
    panel, reference = [here(name) for name in names], [there(name) for name in reversed(names)]
    assert in_letter_case(panel, [*reference, "Extra1"]) == [*reversed(panel), "Extra1"]


def test_letter_case_is_kept_where_the_species_may_differ() -> None:
    """What both species have, in the letter case of the other, is the other's gene."""
    both = ["Slc17a7", "Gad1", "Mog", "Sst", "Vip", "Lamp5", "Gfap", "Aqp4"]
    for panel in ([name.upper() for name in both], HUMAN, [name.upper() for name in both] + ["CXCL8"]):
        assert in_letter_case(panel, MOUSE + both) == MOUSE + both
        with pytest.raises(GeneError, match=r"--orthologs"):
            match_reference(panel, MOUSE + both, where="slice.h5ad")


def test_letter_case_of_two_genes_is_kept() -> None:
    """One name for two genes of the reference is neither."""
    reference = [*MOUSE, "gad1"]
    found = in_letter_case([name.upper() for name in MOUSE], reference)
    assert {"Gad1", "gad1"} < set(found)
    assert "SLC17A7" in found
