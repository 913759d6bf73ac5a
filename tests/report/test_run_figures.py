"""Figures of a run as files."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from lloki import keys, pl
from lloki.pl._slots import by_slice
from lloki.report.figures import SHEET, of_cells, write_figures


def joint(slices: int) -> ad.AnnData:
    rng = np.random.default_rng(0)
    names = np.repeat([f"s{i}" for i in range(slices)], 6)
    obs = pd.DataFrame({keys.SLICE: names, keys.CLUSTER: pd.Categorical(rng.choice(["0", "1"], len(names)))})
    return ad.AnnData(
        obs=obs.set_index(np.arange(len(names)).astype(str)),
        obsm={keys.SPATIAL: rng.uniform(size=(len(names), 2)), keys.UMAP: rng.normal(size=(len(names), 2))},
    )


@pytest.mark.parametrize("slices", [1, SHEET, SHEET + 1, 2 * SHEET + 3])
def test_each_slice_is_on_one_sheet_of_few(slices, monkeypatch):
    drawn: list[list[str]] = []
    monkeypatch.setattr(pl, "spatial", lambda *_, slice, **__: drawn.append(slice))
    figures = {name: draw for name, draw in of_cells(joint(slices), None).items() if "tissue" in name}
    for draw in figures.values():
        draw(show=False)
    assert [name for sheet in drawn for name in sheet] == [f"s{i}" for i in range(slices)]
    assert max(map(len, drawn)) <= SHEET
    assert len(drawn) == -(-slices // SHEET)
    assert f"tissue-{keys.CLUSTER}" in figures or slices > SHEET


def test_sheets_are_files_of_their_own(tmp_path):
    write_figures(tmp_path, of_cells(joint(SHEET + 1), None))
    files = sorted(p.stem for p in (tmp_path / "figures").glob("*.png"))
    assert files == sorted(
        [*(f"tissue-{keys.CLUSTER}-{i}" for i in (1, 2)), f"umap-{keys.CLUSTER}", f"umap-{keys.SLICE}"]
    )


def test_slices_come_in_their_order_with_their_rows():
    names = ["b", "a", "b", "c", "a"]
    obs = pd.DataFrame({keys.SLICE: pd.Categorical(names)}, index=[*"vwxyz"])
    found = by_slice(ad.AnnData(obs=obs), keys.SLICE)
    assert {name: rows.tolist() for name, rows in found.items()} == {"b": [0, 2], "a": [1, 4], "c": [3]}
    assert list(found) == ["b", "a", "c"]
    assert by_slice(ad.AnnData(obs=obs[:0]), keys.SLICE) == {}
    obs.loc["w", keys.SLICE] = None  # no cell is lost
    assert list(by_slice(ad.AnnData(obs=obs), keys.SLICE)) == ["b", "nan", "c", "a"]
