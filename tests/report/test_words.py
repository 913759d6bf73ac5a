from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from lloki.report import words


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1234567, "1,234,567"),
        (np.int64(5), "5"),
        (0.12345, "0.123"),
        (3000.0, "3,000"),
        (1.0, "1"),
        (float("nan"), "–"),
        (None, "–"),
        (True, "yes"),
        ("a", "a"),
    ],
)
def test_number(value: object, text: str) -> None:
    assert words.number(value) == text


@pytest.mark.parametrize(("value", "text"), [(3.21, "3.2 s"), (245, "4 min 05 s"), (4321, "1 h 12 min")])
def test_seconds(value: float, text: str) -> None:
    assert words.seconds(value) == text


def test_listed() -> None:
    assert words.listed([]) == "none"
    assert words.listed(["a"]) == "a"
    assert words.listed("abc") == "a, b and c"
    assert words.listed("abcdefgh", most=3) == "a, b, c and 5 more"


def test_notes_name_the_slice_and_the_trouble() -> None:
    qc = pd.DataFrame(
        {
            "slice": ["fine", "flagged", "few", "dense", "off"],
            "cells": 100,
            "cells_flagged": [0, 20, 0, 0, 5],
            "genes": 100,
            "genes_in_reference": [90, 90, 10, 90, 50],
            "sparsity_before": [0.8, 0.8, 0.8, 0.5, 0.8],
            "sparsity_target": 0.6,
            "w1_after": [0.01, 0.01, np.nan, 0.1, 0.3],
        }
    )
    found = words.notes(qc)
    assert [name for name, _ in found] == ["flagged", "few", "dense", "off"]
    assert "20%" in found[0][1]
    assert "Fewer than half" in found[1][1]
    assert words.notes(qc[["slice"]]) == []
