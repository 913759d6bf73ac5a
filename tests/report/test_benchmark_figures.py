"""The tables and panels of a benchmark: every text is inside the figure, and says what the data say."""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from lloki.errors import MissingExtraError
from lloki.evaluate import METRICS
from lloki.pl._coloring import Coloring
from lloki.pl._score_table import Group, score_table, score_table_size
from lloki.pl._umap_panels import umap_panels, umap_panels_size
from lloki.report import benchmark

LONG = "a_file: X_an_embedding_with_a_very_long_name_of_a_model_$v_2$_from_elsewhere"


def outside(figure: Figure) -> list[str]:
    """Texts that stick out of the figure."""
    FigureCanvasAgg(figure).draw()
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    width, height = figure.canvas.get_width_height()
    texts = [*figure.texts, *(t for ax in figure.axes for t in ax.texts)]
    legends = [ax.get_legend() for ax in figure.axes if ax.get_legend()]
    texts += [t for legend in legends for t in (*legend.get_texts(), legend.get_title())]
    boxes = [(t.get_text(), t.get_window_extent(renderer)) for t in texts if t.get_text().strip()]
    return [s for s, b in boxes if b.x0 < 0 or b.y0 < 0 or b.x1 > width + 1 or b.y1 > height + 1]


def table(names: list[str], seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    columns = [*METRICS, "bio", "batch", "total"]
    return pd.DataFrame(rng.random((len(names), len(columns))), index=names, columns=columns)


GROUPS = [
    Group("Bio conservation", {m: METRICS[m].title for m in METRICS if METRICS[m].kind == "bio"}),
    Group("Batch correction", {m: METRICS[m].title for m in METRICS if METRICS[m].kind == "batch"}),
    Group("Aggregate", {"bio": "Bio", "batch": "Batch", "total": "Total"}, bars=True),
]


def draw(values: pd.DataFrame, groups: list[Group], footnote: str = "", **more: pd.DataFrame) -> Figure:
    pytest.importorskip("plottable")
    figure = Figure(figsize=score_table_size(values, groups, footnote))
    score_table(figure, values, groups, footnote=footnote, **more)
    return figure


@pytest.mark.parametrize("names", [["LLOKI", LONG, "slice β"], ["one"]])
def test_no_text_of_the_table_is_clipped(names: list[str]) -> None:
    values = table(names)
    assert outside(draw(values, GROUPS, "A footnote, which is long. " * 20, spread=values * 0.1)) == []


def test_numbers_are_the_values_and_a_missing_one_is_a_dash() -> None:
    values = table(["a", "b", "c"])
    values.loc["b", ["kbet", "bio"]] = np.nan
    figure = draw(values, GROUPS, spread=pd.DataFrame(0.012, values.index, values.columns))
    texts = [t.get_text() for t in figure.findobj(Text)]
    assert texts.count("–") == 2
    assert all(f"{v:.2f}" in texts for v in values["clisi"])
    assert f"{values['total'].iloc[0]:.2f} ± 0.01" in texts


def test_the_best_of_a_column_is_the_darkest() -> None:
    values = table(["a", "b", "c"])[["clisi"]]
    figure = draw(values, [Group("Bio", {"clisi": "cLISI"})])
    texts = {t.get_text(): t for t in figure.findobj(Text)}
    light = {v: sum(texts[f"{v:.2f}"].get_bbox_patch().get_facecolor()[:3]) for v in values["clisi"]}
    assert sorted(light, key=light.__getitem__) == sorted(values["clisi"], reverse=True)


def test_without_plottable_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "plottable", None)
    with pytest.raises(MissingExtraError, match=r"lloki\[benchmark\]"):
        score_table(Figure(), table(["a"]), GROUPS)


@pytest.mark.parametrize("methods", [1, 7])
def test_no_text_of_the_panels_is_clipped(methods: int) -> None:
    rng = np.random.default_rng(0)
    layouts = {f"{LONG[:20]} {i}": rng.normal(size=(90, 2)) for i in range(methods)}
    by = {
        "slice": Coloring.of(pd.Series(rng.choice(["a", "b"], 90))),
        "cell_type": Coloring.of(pd.Series([f"Type $_{i % 45}" for i in range(90)])),
    }
    figure = Figure(figsize=umap_panels_size(methods, by), layout="constrained")
    axes = umap_panels(figure, layouts, by)
    assert outside(figure) == []
    assert len(axes) == 2 * methods


def scores(before: float, after: float) -> pd.DataFrame:
    values = table(["X_lloki_fp", "X_lloki"])[["clisi", "bras", "bio", "batch", "total"]]
    values.loc["X_lloki_fp"], values.loc["X_lloki"] = before, after
    return values.rename_axis("embedding").reset_index()


ABOUT = {"cells": 1000, "types": 5, "batches": 2, "profile": "fast"}


def test_the_runs_own_benchmark_says_what_changed() -> None:
    shown = benchmark.section(scores(0.5, 0.6), ABOUT)
    assert shown is not None
    assert "raised the separation of types from 0.50 to 0.60" in shown["text"]
    assert "1,000 cells of 5 types in 2 slices" in shown["text"]
    assert shown["columns"] == ["Before", "After"]
    assert [r["name"] for g in shown["groups"] for r in g["rows"]] == [
        "cLISI",
        "Mean of these",
        "BRAS",
        "Mean of these",
        "Total",
    ]
    assert "was better" not in shown["text"]


def test_a_worse_embedding_is_called_worse() -> None:
    shown = benchmark.section(scores(0.6, 0.5), ABOUT | {"trained_on": True})
    assert shown is not None
    assert "lowered the mixing of batches from 0.60 to 0.50" in shown["text"]
    assert "the embedding before was better" in shown["text"]
    assert "flatter" in shown["text"]


def test_notes_and_reasons_are_shown() -> None:
    values = scores(0.5, 0.5)
    values["bras"] = np.nan
    shown = benchmark.section(values, ABOUT | {"notes": {"bras": "there is a single batch"}})
    assert shown is not None
    assert "left the separation of types at 0.50" in shown["text"]
    (row,) = (r for g in shown["groups"] for r in g["rows"] if r["name"] == "BRAS")
    assert row["meaning"].endswith("There is a single batch.")
    absent = benchmark.section(None, {"why": "pip install 'lloki[benchmark]'"})
    assert absent is not None
    assert "pip install" in absent["text"]
    assert benchmark.section(None, {}) is None
