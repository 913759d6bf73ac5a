"""Drawing on Axes from arrays: odd inputs, and that what is drawn is what was given."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from lloki.analysis import ACROSS, NOT
from lloki.pl import _curves, _heatmaps, _points
from lloki.pl._coloring import Coloring
from lloki.pl._palette import OTHER


def axes():
    return Figure().subplots()


def colored(n: int, color: str = "#0072b2") -> Coloring:
    return Coloring(np.full(n, color), ())


@pytest.mark.parametrize("draw", [_points.embedding, _points.section])
@pytest.mark.parametrize(
    "xy",
    [
        np.random.default_rng(0).normal(size=(500, 2)) * [1000, 10],
        np.zeros((4, 2)),
        np.array([[1.0, 2.0]]),
        np.array([[0.0, 0.0], [np.nan, 1.0], [1e-6, 0.0]]),
        np.full((3, 2), np.nan),
        np.empty((0, 2)),
    ],
    ids=["wide", "identical", "one", "nan and tiny", "all nan", "none"],
)
def test_points_of_any_kind_can_be_drawn(xy: np.ndarray, draw) -> None:
    ax = axes()
    draw(ax, xy, colored(len(xy)))
    ax.figure.canvas.draw()
    known = int(np.isfinite(xy).all(axis=1).sum())
    assert sum(len(c.get_offsets()) for c in ax.collections) == known
    assert ("no cells to draw" in [t.get_text() for t in ax.texts]) == (known == 0)


def test_cells_without_a_category_lie_beneath_the_others() -> None:
    shade = Coloring(np.array([OTHER, "#0072b2"] * 50), ())
    points = _points.embedding(axes(), np.random.default_rng(0).normal(size=(100, 2)), shade)
    gray = (points.get_facecolors() == to_rgba(OTHER)).all(axis=1)
    assert gray[:50].all()
    assert not gray[50:].any()


def test_sections_keep_their_proportions_and_run_downwards() -> None:
    ax = axes()
    _points.section(ax, np.array([[0.0, 0.0], [2000.0, 0.0], [2000.0, 500.0]]), colored(3))
    assert ax.get_aspect() == 1.0
    bottom, top = ax.get_ylim()
    assert bottom > top
    assert [t.get_text() for t in ax.texts] == ["200"]
    bar = ax.lines[0].get_xdata()
    assert bar[1] - bar[0] == pytest.approx(200)


def test_sparsity_curves_are_cumulative_shares() -> None:
    ax = axes()
    _curves.sparsity_curves(ax, np.array([0.2, 0.4, np.nan]), np.array([0.5]), np.array([]))
    before, target = ax.lines
    assert before.get_xdata()[[0, -1]] == pytest.approx([0.2, 0.4])
    assert before.get_ydata()[[0, -1]] == pytest.approx([0, 100])
    assert set(target.get_xdata()) == {0.5}


def test_long_loss_curves_are_averaged_and_gaps_skipped() -> None:
    ax, steps = axes(), np.arange(10_000.0)
    sparse = np.where(steps % 100 == 0, 2.0, np.nan)
    _curves.loss_curves(ax, steps, {"total": steps, "validation": sparse}, most=100)
    total, validation = ax.lines
    assert len(total.get_xdata()) == 100
    assert total.get_ydata().mean() == pytest.approx(steps.mean())
    assert set(validation.get_ydata()) == {2.0}


@pytest.mark.parametrize(
    ("affinity", "end"),
    [(np.diag([5.0, 7.0]) + 0.5, 0.5), (np.zeros((2, 2)), 1e-9), (np.array([[3.0]]), 3.0)],
)
def test_affinities_are_centered_at_zero_whatever_their_range(affinity: np.ndarray, end: float) -> None:
    ax = axes()
    _heatmaps.affinity_map(ax, affinity)
    assert ax.images[0].get_clim() == (-end, end)


def test_the_curve_of_scores_falls_and_leaves_out_what_has_none() -> None:
    scores = pd.DataFrame({"score": [0.1, np.nan, 0.9, 0.4], "validated": [ACROSS, NOT, ACROSS, ACROSS]})
    ax = axes()
    _curves.score_curve(ax, scores)
    (points,) = ax.collections
    np.testing.assert_allclose(points.get_offsets(), [[1, 0.9], [2, 0.4], [3, 0.1]])
    ax = axes()
    _curves.score_curve(ax, scores.iloc[:0], min_score=0.1)
    assert not ax.collections
    assert ax.lines[0].get_ydata()[0] == 0.1


def test_confusion_shares_are_of_the_true_types() -> None:
    shares, rows, columns = _heatmaps.label_shares(
        np.array(["b", "b", "a", "c"]), np.array(["b", "unknown", "a", "a"])
    )
    assert (rows, columns) == (["a", "b", "c"], ["a", "b", "unknown"])
    np.testing.assert_allclose(shares, [[1, 0, 0], [0, 0.5, 0.5], [1, 0, 0]])
