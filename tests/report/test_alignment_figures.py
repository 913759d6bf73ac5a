"""Figures of alignments, those of nothing among them, and the page that holds them."""

from __future__ import annotations

import re
from dataclasses import replace

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lloki.align import AlignConfig, AlignResult, Rigid, align
from lloki.pl import _alignment as drawing
from lloki.report.alignment_page import Pair, build_alignment_page

QUICK = AlignConfig(rotation_step=15, pixels=24, fine_pixels=40, candidates=2)


@pytest.fixture(scope="module")
def slices() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.uniform(0, 100, (300, 2)), rng.uniform(0, 100, (250, 2)) + 500


@pytest.fixture(scope="module")
def result(slices) -> AlignResult:
    x = [np.column_stack([np.sin(s / 9), np.cos(s / 14)]) for s in (slices[0], slices[1] - 500)]
    return align(x[0], slices[0], x[1], slices[1], config=QUICK)


@pytest.fixture(scope="module")
def nothing(slices) -> AlignResult:
    return align(np.ones((300, 2)), slices[0], np.ones((250, 2)), slices[1], config=QUICK)


def drawn(draw, *args) -> Axes:
    ax = Figure().subplots()
    draw(ax, *args)
    return ax


def size(figure) -> int:
    """Marks drawn as points or lines."""
    return sum(
        len(c.get_offsets()) for ax in figure.axes for c in ax.collections if hasattr(c, "get_offsets")
    )


def test_the_overlay_shows_all_cells_twice(slices, result):
    figure = Figure()
    before, after = drawing.overlay(figure, *slices, result.moved, result.in_overlap)
    assert size(figure) == 2 * (300 + 250)
    low, high = sorted(before.get_xlim())
    assert low < 0 < 100 < high < 200  # the moving slice was put on the fixed one to be seen
    assert before.get_ylim()[0] > before.get_ylim()[1]  # y downwards
    assert {t.get_text() for ax in (before, after) for t in [ax.title]} == {"before", "after"}


def test_the_curve_has_its_peak_at_the_answer(result):
    plain, mirrored = drawn(drawing.rotation_curve, result).lines[:2]
    assert len(plain.get_xdata()) == len(mirrored.get_xdata()) == 24
    assert np.all(np.diff(plain.get_xdata()) > 0)
    best = plain.get_xdata()[np.argmax(plain.get_ydata())]
    assert abs(best - result.transform.degrees) <= 15


def test_residuals_are_drawn_for_the_confident_half(result):
    ax = drawn(drawing.residuals, result)
    (lines,) = [c for c in ax.collections if hasattr(c, "get_segments")]
    kept = result.landmarks.confidence >= np.median(result.landmarks.confidence)
    assert len(lines.get_segments()) == kept.sum()
    start, end = lines.get_segments()[0]
    first = np.flatnonzero(kept)[0]
    np.testing.assert_allclose(end - start, result.residuals[first])


def test_a_deformation_of_nothing_is_drawn(slices):
    still = drawn(drawing.deformation, slices[0], np.zeros_like(slices[0]), np.zeros(300))
    moved = drawn(drawing.deformation, slices[0], np.full_like(slices[0], 0.1), np.full(300, 0.02))
    assert still.get_title() == "displacement × 1"
    assert moved.get_title() != "displacement × 1"


def test_figures_of_a_failure_do_not_fail(slices, nothing, tmp_path):
    assert nothing.verdict.word == "failed"
    for draw in (drawing.rotation_curve, drawing.residuals):
        drawn(draw, nothing).figure.savefig(tmp_path / "x.png")


def test_the_page_escapes_names_and_is_the_same_every_time(slices, result, nothing, tmp_path):
    bad = "<script>alert(1)</script>"
    pairs = {("one", bad): Pair(*slices, result), ("one", "two"): Pair(*slices, nothing)}
    placed = {"one": slices[0], bad: result.moved}
    pages = []
    for name in ("a.html", "b.html"):
        path = build_alignment_page(pairs, placed=placed, summary="Two.", out=tmp_path / name)
        pages.append(path.read_text())
    assert pages[0] == pages[1]
    assert "<script" not in pages[0]
    assert "no structure in space" in pages[0]
    assert pages[0].count("<svg") == 7
    values = re.findall(r"<dd>(.*?)</dd>", pages[0])
    assert any("unknown" in text for text in values)  # where there is no number
    assert not [text for text in values if "nan" in text or "inf" in text]


def test_lengths_have_the_unit_of_the_slices(slices, result, tmp_path):
    obs = pd.DataFrame({"slice": np.repeat(["one", "two"], [300, 250])}, index=[f"c{i}" for i in range(550)])
    cells = ad.AnnData(obs=obs, obsm={"spatial": np.vstack(slices)}, uns={"spatial_unit": "um"})
    placed = {"one": slices[0], "two": result.moved}
    page = build_alignment_page(
        {("one", "two"): Pair(*slices, result)},
        placed=placed,
        summary="",
        cells=cells,
        out=tmp_path / "a.html",
    ).read_text()
    assert len(re.findall(r"<dd>[^<]* µm</dd>", page)) == 2  # a translation and its error
    assert len(re.findall(r"\d µm\b", re.sub(r"<dd>.*?</dd>", "", page))) >= 4  # scale bars, median distance


def test_the_legend_counts_the_cells(slices):
    xy, coloring = drawing.placed_cells({"b": slices[0], "a": slices[1]})
    assert [(name, count) for name, _, count in coloring.legend] == [("b", 300), ("a", 250)]
    of_b = coloring.rows == coloring.legend[0][1]
    assert set(map(tuple, xy[of_b])) == set(map(tuple, slices[0]))


def test_many_cells_are_thinned(result):
    n = drawing.MOST + 5
    xy = np.random.default_rng(0).uniform(0, 1, (n, 2))
    figure = Figure()
    drawing.overlay(figure, xy, xy, xy, np.ones(n, bool))
    assert size(figure) == 4 * drawing.MOST
    many = replace(result, moved=xy, transform=Rigid.make(0))
    assert size(drawn(drawing.residuals, many).figure) < n + len(result.landmarks)
