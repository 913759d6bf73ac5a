"""Tables of cells as the store keeps them: every value and type comes back."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lloki.run.store import load_arrays, write_arrays
from lloki.run.tables import table_arrays, table_of

FRAME = pd.DataFrame(
    {
        "float32": np.array([1.5, np.nan, -0.0], np.float32),
        "uint64": np.array([2**64 - 1, 0, 1], np.uint64),
        "flags": [True, False, True],
        "ids": pd.array([2**62 + 1, None, 3], dtype="Int64"),
        "maybe": pd.array([True, None, False], dtype="boolean"),
        "text": np.array(["a.b", None, "ß"], dtype=object),
        "kind": pd.Categorical(["x", None, "y"], categories=["y", "x", "unused"], ordered=True),
        "number": pd.Categorical([3, 1, 3]),
        "of each": pd.Categorical([0.5, np.nan, 0.5]),
        "no text": np.array(["", "", ""], dtype=object),
    },
    index=pd.Index(["1", "cell.2", "cell 3"], dtype=object, name="barcode"),
)


def test_every_type_comes_back(tmp_path):
    write_arrays(tmp_path / "a.npz", table_arrays(FRAME))
    pd.testing.assert_frame_equal(table_of(load_arrays(tmp_path / "a.npz")), FRAME)


@pytest.mark.parametrize("frame", [FRAME[[]], FRAME.iloc[:0]])
def test_nothing_in_it(frame, tmp_path):
    write_arrays(tmp_path / "a.npz", table_arrays(frame))
    pd.testing.assert_frame_equal(table_of(load_arrays(tmp_path / "a.npz")), frame)


@given(st.lists(st.tuples(st.text(), st.none() | st.text(), st.floats()), max_size=6))
def test_any_text_and_number(rows):
    names, texts, numbers = zip(*rows) if rows else ((), (), ())
    frame = pd.DataFrame(
        {"text": np.array([*texts, None], dtype=object), "number": [*numbers, 0.0]},
        index=pd.Index([*names, ""], dtype=object),
    )
    pd.testing.assert_frame_equal(table_of(table_arrays(frame)), frame)
