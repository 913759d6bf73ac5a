from __future__ import annotations

import sys
from collections.abc import Callable
from subprocess import run

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from lloki import pl
from lloki.analysis import UNKNOWN
from lloki.errors import InputError
from lloki.report import figures
from lloki.report.coloring import NOT_GIVEN, Coloring
from lloki.report.palette import MOST, OTHER, as_seen, distinct_colors


def rgb(colors: tuple[str, ...]) -> np.ndarray:
    return np.array([[int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)] for c in colors])


@pytest.mark.parametrize("n", [1, 2, 7, 30, MOST])
def test_colors_are_distinct_for_every_eye(n: int) -> None:
    colors = distinct_colors(n)
    assert len(set(colors)) == n
    assert OTHER not in colors
    seen = as_seen(rgb(colors))
    away = np.linalg.norm(seen[:, :, None] - seen[:, None], axis=-1) + 9 * np.eye(n)
    # In OKLab a difference of 0.02 is just noticeable.
    assert away.min() > (0.05 if n <= 12 else 0.02)


def test_more_colors_keep_the_first_ones() -> None:
    assert distinct_colors(40)[:15] == distinct_colors(15)


@pytest.mark.parametrize("background", ["#ffffff", "#14171b"])
def test_colors_show_on_light_and_dark_pages(background: str) -> None:
    seen = as_seen(rgb((*distinct_colors(MOST), OTHER, background)))[0]
    assert np.abs(seen[:-1, 0] - seen[-1, 0]).min() > 0.12


def test_coloring_follows_categories_and_natural_order() -> None:
    plain = Coloring.of(pd.Series(["c10", "c2", None, "c2"]))
    assert plain.names == ["c2", "c10", NOT_GIVEN]
    assert [count for _, _, count in plain.legend] == [2, 1, 1]
    assert plain.rows[1] == plain.rows[3] != plain.rows[0]
    assert plain.rows[2] == OTHER
    ordered = Coloring.of(pd.Series(pd.Categorical(["b", "a"], categories=["b", "unused", "a"])))
    assert ordered.names == ["b", "a"]
    assert Coloring.of(pd.Series([3.0, np.nan, 1.0])).names == ["1.0", "3.0", NOT_GIVEN]


@given(st.permutations(["Astro", "L2", "L10", "Sst", UNKNOWN]), st.integers(0, 5))
def test_a_name_has_one_color_in_whatever_order_names_stand(order: list[str], used: int) -> None:
    plain = Coloring.of(pd.Series(["Astro", "L2", "L10", "Sst", UNKNOWN, None]))
    other = Coloring.of(pd.Series(pd.Categorical(order[:used], categories=order)))
    colors = {name: color for name, color, _ in plain.legend}
    assert all(colors[name] == color for name, color, _ in other.legend)
    assert [n for n in other.names if n != UNKNOWN] == [n for n in order[:used] if n != UNKNOWN]
    assert len({c for c in colors.values() if c != OTHER}) == 4


def test_many_names_that_no_cell_has_do_not_take_the_colors() -> None:
    names = [f"k{i}" for i in range(MOST + 5)]
    few = Coloring.of(pd.Series(pd.Categorical(names[-2:], categories=names)))
    assert OTHER not in few.rows


def test_a_label_in_doubt_is_grey() -> None:
    told = pd.Series(pd.Categorical(["unknown", "a", None], categories=["unknown", "a"]))
    assert Coloring.of(told).names == ["a", UNKNOWN, NOT_GIVEN]
    assert list(Coloring.of(told).rows == OTHER) == [True, False, True]


def test_only_the_largest_categories_are_colored() -> None:
    values = pd.Series([f"k{i}" for i in range(MOST + 5) for _ in range(1 + (i >= 5))])
    coloring = Coloring.of(values)
    assert coloring.names[-1] == "5 smaller categories"
    assert "k0" not in coloring.names
    assert (coloring.rows == OTHER).sum() == 5


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
def test_points_of_any_kind_can_be_drawn(xy: np.ndarray) -> None:
    colors = np.full(len(xy), "#0072b2")
    for draw in (figures.embedding, figures.section):
        svg = figures.to_svg(draw(xy, colors), salt="s")
        assert svg.startswith("<svg")
        assert svg.endswith("</svg>")


def test_cells_without_a_category_lie_beneath_the_others() -> None:
    colors = np.array([OTHER, "#0072b2"] * 50)
    (points,) = figures.embedding(np.random.default_rng(0).normal(size=(100, 2)), colors).axes[0].collections
    gray = (points.get_facecolors() == to_rgba(OTHER)).all(axis=1)
    assert gray[:50].all()
    assert not gray[50:].any()


def test_sections_keep_their_proportions_and_run_downwards() -> None:
    xy = np.array([[0.0, 0.0], [2000.0, 0.0], [2000.0, 500.0]])
    ax = figures.section(xy, ["#0072b2"] * 3).axes[0]
    assert ax.get_aspect() == 1.0
    bottom, top = ax.get_ylim()
    assert bottom > top
    assert [t.get_text() for t in ax.texts] == ["200"]
    bar = ax.lines[0].get_xdata()
    assert bar[1] - bar[0] == pytest.approx(200)


def test_svg_takes_the_text_color_of_the_page() -> None:
    curve = figures.sparsity_curves(*np.random.default_rng(0).random((3, 50)))
    svg = figures.to_svg(curve, salt="s")
    assert "currentColor" in svg
    assert figures.INK not in svg
    assert svg == figures.to_svg(curve, salt="s")


def test_sparsity_curves_are_cumulative_shares() -> None:
    ax = figures.sparsity_curves(np.array([0.2, 0.4, np.nan]), np.array([0.5]), np.array([])).axes[0]
    before, target = ax.lines
    assert before.get_xdata()[[0, -1]] == pytest.approx([0.2, 0.4])
    assert before.get_ydata()[[0, -1]] == pytest.approx([0, 100])
    assert set(target.get_xdata()) == {0.5}


def test_long_loss_curves_are_averaged_and_gaps_skipped() -> None:
    steps = np.arange(10_000.0)
    sparse = np.where(steps % 100 == 0, 2.0, np.nan)
    ax = figures.loss_curves(steps, {"total": steps, "validation": sparse}, most=100).axes[0]
    total, validation = ax.lines
    assert len(total.get_xdata()) == 100
    assert total.get_ydata().mean() == pytest.approx(steps.mean())
    assert set(validation.get_ydata()) == {2.0}


def test_pl_draws_from_anndata(inputs: Callable[..., dict]) -> None:
    given = inputs()
    joint = given["joint"]
    joint.obs["cell_type"] = "a $x$ b"
    drawn = [
        pl.umap(joint, color="cell_type"),
        pl.spatial(joint, color="cell_type", slice="one"),
        pl.sparsity(**given["sparsity"]["one"]),
        pl.losses(given["losses"]),
    ]
    for figure in drawn:
        assert isinstance(figure, Figure)
        figure.canvas.draw()
    assert [t.get_text() for t in drawn[0].legends[0].get_texts()] == ["a $x$ b"]
    assert len(drawn[1].axes[0].collections[0].get_offsets()) == 40


def test_pl_colors_agree_between_slices(inputs: Callable[..., dict]) -> None:
    joint = inputs()["joint"]
    shown = [pl.spatial(joint, color="cell_type", slice=s).legends[0] for s in ("one", "two")]
    handles = [[h.get_color() for h in legend.legend_handles] for legend in shown]
    assert handles[0] == handles[1]


def test_pl_says_what_is_missing(inputs: Callable[..., dict]) -> None:
    joint = inputs()["joint"]
    with pytest.raises(InputError, match="cell_type"):
        pl.umap(joint, color="no such column")
    with pytest.raises(InputError, match="X_umap"):
        pl.umap(joint, basis="X_none")
    with pytest.raises(InputError, match="one"):
        pl.spatial(joint)
    with pytest.raises(InputError, match="one"):
        pl.spatial(joint, slice="three")
    with pytest.raises(InputError, match="slice_key"):
        pl.spatial(joint, slice="one", slice_key="none")
    with pytest.raises(InputError, match="step"):
        pl.losses(pd.DataFrame({"total": [1.0]}))


def test_pl_leaves_pyplot_alone() -> None:
    code = "import lloki.pl, lloki.report, sys; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert run([sys.executable, "-c", code]).returncode == 0
