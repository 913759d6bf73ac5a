"""Every figure looks as its baseline; ``python tests/pl/regenerate.py`` draws the baselines again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pictures import PICTURES, joint
from PIL import Image, ImageFilter
from regenerate import BASELINE, save

import lloki
from lloki import keys

# Versions of matplotlib set text a pixel or two apart, and with it the whole layout: by plain pixels, as
# matplotlib.testing.compare does it, the same figures of 3.8 and 3.11 differ by up to 40 of 256 levels (root
# mean square). Blurred, they differ nowhere by more than 25; a missing curve or other color map by over 34.
BLUR, TOLERANCE = 4, 29


def difference(name: str, path: Path) -> float:
    """Return the largest difference anywhere of a picture and its baseline, blurred, in levels of 256."""
    pictures = [Image.open(p).convert("RGB") for p in (BASELINE / f"{name}.png", path)]
    if pictures[0].size != pictures[1].size:
        return 255.0
    one, other = (np.asarray(p.filter(ImageFilter.GaussianBlur(BLUR)), float) for p in pictures)
    return float(np.sqrt(((one - other) ** 2).mean(axis=2)).max())


def test_every_function_has_a_baseline() -> None:
    assert {p.stem for p in BASELINE.glob("*.png")} == set(PICTURES)
    pages = {"Interactive", "interactive"}  # see test_viewer.py
    assert set(lloki.pl.__all__) - pages <= set(PICTURES)


@pytest.mark.parametrize("name", PICTURES)
def test_a_figure_looks_as_its_baseline(name: str, tmp_path: Path) -> None:
    if name == "benchmark_table":
        pytest.importorskip("plottable")
    path = tmp_path / f"{name}.png"
    save(name, path)
    assert difference(name, path) < TOLERANCE


def _losses() -> Any:
    steps = np.arange(0.0, 200)
    return lloki.pl.losses(pd.DataFrame({"step": steps, "total": 2 * np.exp(-steps / 60) + 0.3}))


def _upside_down() -> Any:
    adata = joint()
    adata.obsm[keys.SPATIAL] = adata.obsm[keys.SPATIAL] * [1, -1]
    return lloki.pl.spatial(adata, color="cell_type")


WRONG: dict[str, tuple[str, Callable[[], Any]]] = {
    "a color": ("umap", lambda: lloki.pl.umap(joint(), color="cell_type", palette={"L5": "#e69f00"})),
    "a category missing": (
        "umap",
        lambda: lloki.pl.umap(joint(), color="cell_type", groups=["Astro", "L2/3", "L5", "L6"]),
    ),
    "no legend": ("umap", lambda: lloki.pl.umap(joint(), color="cell_type", legend=False)),
    "another gene": ("umap_gene", lambda: lloki.pl.umap(joint(), color="Mbp")),
    "another color map": ("spatial_gene", lambda: lloki.pl.spatial(joint(), color="Gad1", palette="magma")),
    "upside down": ("spatial", _upside_down),
    "order of panels": (
        "spatial",
        lambda: lloki.pl.spatial(joint(), color="cell_type", slice=["Xenium", "MERFISH", "Slide-tags"]),
    ),
    "a curve missing": ("losses", _losses),
    "another metagene": ("metagene", lambda: lloki.pl.metagene(joint(), 3)),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_figure_does_not_pass(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name, draw = WRONG[what]
    monkeypatch.setitem(PICTURES, name, draw)
    save(name, tmp_path / "wrong.png")
    assert difference(name, tmp_path / "wrong.png") > TOLERANCE
