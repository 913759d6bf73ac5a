"""The tables and panels of a benchmark: every text is inside the figure, and says what the data say."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from lloki.evaluate import METRICS
from lloki.report import benchmark
from lloki.report.coloring import Coloring
from lloki.report.score_table import Group, score_table
from lloki.report.umap_panels import umap_panels

LONG = "a_file: X_an_embedding_with_a_very_long_name_of_a_model_$v_2$_from_elsewhere"


def outside(figure: Figure) -> list[str]:
    """Texts that stick out of the figure."""
    figure.canvas.draw()
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    width, height = figure.canvas.get_width_height()
    texts = [*figure.texts, *(t for ax in figure.axes for t in ax.texts)]
    texts += [t for legend in figure.legends for t in (*legend.get_texts(), legend.get_title())]
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


@pytest.mark.parametrize("names", [["LLOKI", LONG, "slice β"], ["one"], [f"method {i}" for i in range(30)]])
def test_no_text_of_the_table_is_clipped(names: list[str]) -> None:
    values = table(names)
    figure = score_table(values, GROUPS, spread=values * 0.1, footnote="A footnote, which is long. " * 20)
    assert outside(figure) == []


def test_numbers_are_the_values_and_a_missing_one_is_a_dash() -> None:
    values = table(["a", "b", "c"])
    values.loc["b", "kbet"] = np.nan
    figure = score_table(values, GROUPS, spread=pd.DataFrame(0.0123, values.index, values.columns))
    said = [t.get_text() for t in figure.axes[0].texts]
    assert said.count("–") == 1
    assert all(f"{v:.2f}" in said for v in values["clisi"])
    assert f"{values['total'].iloc[0]:.3f} ± 0.012" in said


def test_the_best_of_a_column_has_the_largest_circle_and_bold_text() -> None:
    values = table(["a", "b", "c"])[["clisi"]]
    figure = score_table(values, [Group("Bio", {"clisi": "cLISI"})])
    radii = [p.radius for p in figure.axes[0].patches if isinstance(p, Circle)]
    best = int(values["clisi"].to_numpy().argmax())
    assert int(np.argmax(radii)) == best
    bold = [t.get_text() for t in figure.axes[0].texts if t.get_fontweight() == "bold"]
    assert bold == ["Bio", f"{values['clisi'].iloc[best]:.2f}"]


@pytest.mark.parametrize("methods", [1, 7])
def test_no_text_of_the_panels_is_clipped(methods: int) -> None:
    rng = np.random.default_rng(0)
    layouts = {f"{LONG[:20]} {i}": rng.normal(size=(90, 2)) for i in range(methods)}
    by = {
        "slice": Coloring.of(pd.Series(rng.choice(["a", "b"], 90))),
        "cell_type": Coloring.of(pd.Series([f"Type $_{i % 45}" for i in range(90)])),
    }
    figure = umap_panels(layouts, by)
    assert outside(figure) == []
    assert len(figure.axes) == 2 * methods


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
