"""Species is judged by names, not by their letter case alone."""

from __future__ import annotations

import pytest

from lloki.errors import GeneError
from lloki.genes import identify, match_reference

MOUSE = ["Slc17a7", "H2-K1", "H2-D1", "Ly6c1", "Ly6a", "Gad1", "Mog", "Cd209a", "Klra8", "Ccl9"]
HUMAN = ["SLC17A7", "HLA-A", "HLA-DRA", "KIR2DL1", "GAD1", "MOG", "CXCL8", "CD1A"]


@pytest.mark.parametrize("write", [str, str.upper, str.lower])
def test_mouse_symbols_in_any_letter_case_are_mouse(write) -> None:
    assert identify([write(name) for name in MOUSE]).species == "mouse"


@pytest.mark.parametrize("write", [str, str.lower])
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
