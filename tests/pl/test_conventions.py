"""What users of scanpy expect of ``lloki.pl``: Axes, colors in ``uns``, groups, palettes, files."""

from __future__ import annotations

from pathlib import Path
from subprocess import run
from sys import executable

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from pictures import PICTURES, SLICES, TYPES, joint
from scipy import sparse

from lloki import keys, pl
from lloki.analysis import UNKNOWN
from lloki.errors import ConfigError, InputError, OutputError
from lloki.fp import log_normalize
from lloki.pl._coloring import NOT_GIVEN, Coloring, Scale
from lloki.pl._palette import COLORS, MOST, OTHER


@pytest.fixture(autouse=True)
def _quiet():
    plt.switch_backend("agg")
    yield
    plt.close("all")


@pytest.fixture
def adata() -> AnnData:
    return joint()


def colors(ax: Axes) -> list[str]:
    """Colors of the cells, as drawn."""
    return [to_hex(c) for c in ax.collections[0].get_facecolors()]


def legend(ax: Axes) -> dict[str, str]:
    """Name → color in the legend of the Axes or of their figure."""
    found = ax.get_legend() or ax.figure.legends[0]
    texts = [t.get_text() for t in found.get_texts()]
    return dict(zip(texts, (to_hex(h.get_color()) for h in found.legend_handles)))


def bars(ax: Axes) -> list[Axes]:
    """Axes of color bars in the figure."""
    return [a for a in ax.figure.axes if a.get_label() == "<colorbar>"]


def test_numbers_have_a_color_bar_and_categories_a_legend(adata: AnnData) -> None:
    ax = pl.umap(adata, color="score")
    assert len(bars(ax)) == 1
    assert ax.get_legend() is None
    drawn = np.sort(np.asarray(ax.collections[0].get_array()))
    np.testing.assert_allclose(drawn, np.sort(adata.obs["score"]))
    ax = pl.umap(adata, color="cell_type")
    assert not bars(ax)
    assert list(legend(ax)) == TYPES
    adata.obs["flag"] = adata.obs["score"] > 0
    assert list(legend(pl.umap(adata, color="flag"))) == ["False", "True"]


def test_a_list_gives_a_panel_each(adata: AnnData) -> None:
    axes = pl.umap(adata, color=["cell_type", "score", "Gad1"])
    assert [ax.get_title() for ax in axes] == ["cell_type", "score", "Gad1"]
    assert len({ax.figure for ax in axes}) == 1
    axes = pl.spatial(adata, color=["cell_type", "score"])
    assert [ax.get_title() for ax in axes] == 2 * list(SLICES)


def test_given_axes_are_drawn_on(adata: AnnData) -> None:
    figure, (left, right) = plt.subplots(1, 2)
    assert pl.umap(adata, color="cell_type", ax=left) is left
    assert pl.spatial(adata, color="cell_type", slice="Xenium", ax=right) is right
    assert plt.get_fignums() == [figure.number]
    with pytest.raises(ConfigError, match="one panel"):
        pl.umap(adata, color=["cell_type", "score"], ax=left)
    with pytest.raises(ConfigError, match="one panel"):
        pl.spatial(adata, color="cell_type", ax=left)


def test_colors_are_written_in_the_order_of_the_categories(adata: AnnData) -> None:
    shown = legend(pl.umap(adata, color="cell_type"))
    written = list(adata.uns["cell_type_colors"])
    assert written == [shown[c] for c in adata.obs["cell_type"].cat.categories]
    adata.obs["plain"] = adata.obs["cell_type"].astype(str)
    pl.umap(adata, color="plain")
    assert "plain_colors" not in adata.uns


def test_colors_are_read_from_uns(adata: AnnData) -> None:
    adata.uns["cell_type_colors"] = ["red", "#00ff00", "blue", "black", "#123456"]
    shown = legend(pl.spatial(adata, color="cell_type", slice="Xenium"))
    assert shown == dict(zip(TYPES, ["#ff0000", "#00ff00", "#0000ff", "#000000", "#123456"]))
    adata.uns["cell_type_colors"] = ["red"]  # of fewer categories: as scanpy, others are chosen
    assert legend(pl.umap(adata, color="cell_type"))["Astro"] == COLORS[0]


def test_a_view_is_left_alone(adata: AnnData) -> None:
    view = adata[: adata.n_obs // 2]
    pl.umap(view, color="cell_type")
    assert view.is_view


def test_groups_leave_the_others_gray(adata: AnnData) -> None:
    ax = pl.umap(adata, color="cell_type", groups=["L5", "Oligo"])
    assert list(legend(ax)) == ["L5", "Oligo", "other"]
    others = ~adata.obs["cell_type"].isin(["L5", "Oligo"])
    assert colors(ax).count(OTHER) == others.sum()
    assert OTHER not in adata.uns["cell_type_colors"]
    with pytest.raises(InputError, match=r"'L55'.*Did you mean 'L5'"):
        pl.umap(adata, color="cell_type", groups="L55")
    with pytest.raises(ConfigError, match="numbers"):
        pl.umap(adata, color="score", groups="L5")


@pytest.mark.parametrize(
    ("palette", "first"),
    [
        (["red", "blue"], "#ff0000"),
        ({"Astro": "red"}, "#ff0000"),
        ("tab10", "#1f77b4"),
        ("viridis", "#440154"),
    ],
)
def test_palettes(adata: AnnData, palette: object, first: str) -> None:
    shown = legend(pl.umap(adata, color="cell_type", palette=palette))
    assert shown["Astro"] == first == adata.uns["cell_type_colors"][0]
    assert len(set(shown.values())) > 1


def test_a_palette_that_does_not_exist(adata: AnnData) -> None:
    for color in ("cell_type", "score"):
        with pytest.raises(ConfigError, match="viridis"):
            pl.umap(adata, color=color, palette="viridsi")
    with pytest.raises(ConfigError, match="no color"):
        pl.umap(adata, color="cell_type", palette=["reddish"])
    assert pl.umap(adata, color="score", palette="magma").collections[0].get_cmap().name == "magma"


def test_a_file_is_saved_and_its_figure_closed(adata: AnnData, tmp_path: Path) -> None:
    pl.umap(adata, color="cell_type", save=tmp_path / "a.png")
    pl.spatial(adata, color="cell_type", save=str(tmp_path / "b.pdf"))
    assert (tmp_path / "a.png").read_bytes()[1:4] == b"PNG"
    assert (tmp_path / "b.pdf").read_bytes()[:4] == b"%PDF"
    assert plt.get_fignums() == []


def test_show(adata: AnnData, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    shown: list[int] = []
    monkeypatch.setattr(plt, "show", lambda: shown.append(1))
    pl.umap(adata, color="cell_type")
    assert not shown  # matplotlib is not interactive
    pl.umap(adata, color="cell_type", show=True)
    assert len(shown) == 1
    with plt.ion():
        pl.umap(adata, color="cell_type")
        assert len(shown) == 2
        pl.umap(adata, color="cell_type", show=False)
        pl.umap(adata, color="cell_type", save=tmp_path / "a.png")
        assert len(shown) == 2


def test_a_misspelled_option_names_the_nearest(adata: AnnData) -> None:
    with pytest.raises(ConfigError, match=r"'colour'.*Did you mean 'color'"):
        pl.umap(adata, colour="score")


@pytest.mark.parametrize("name", sorted(PICTURES))
def test_every_function_returns_axes(name: str) -> None:
    drawn = PICTURES[name]()
    if name != "benchmark_table":
        assert all(isinstance(ax, Axes) for ax in (drawn if isinstance(drawn, list) else [drawn]))


def test_slices_have_panels_with_scale_bars_in_their_unit(adata: AnnData) -> None:
    axes = pl.spatial(adata, color="cell_type", unit="px")
    assert [ax.get_title() for ax in axes] == list(SLICES)
    for ax, n in zip(axes, SLICES.values()):
        assert len(ax.collections[0].get_offsets()) == n
        (text,) = ax.texts
        length, unit = text.get_text().split()
        assert unit == "px"
        assert np.ptp(ax.lines[0].get_xdata()) == pytest.approx(float(length))
        bottom, top = ax.get_ylim()
        assert bottom > top
        assert ax.get_aspect() == 1.0
    assert pl.spatial(adata, color="cell_type", slice="Xenium").texts[0].get_text() == "200 µm"
    del adata.uns["spatial_unit"]  # nobody states it
    assert pl.spatial(adata, color="cell_type", slice="Xenium").texts[0].get_text() == "200"
    adata.uns["lloki"] = {"slices": list(SLICES), "units": ["micrometre", "pixel", ""]}
    axes = pl.spatial(adata, color="cell_type")
    assert [ax.texts[0].get_text().partition(" ")[2] for ax in axes] == ["µm", "pixel", ""]
    assert len(pl.spatial(adata, color="cell_type", slice=["Xenium", "MERFISH"])) == 2


def test_what_cannot_be_drawn(adata: AnnData) -> None:
    with pytest.raises(InputError, match=r"'cell_typ' is neither.*Did you mean 'cell_type'"):
        pl.umap(adata, color="cell_typ")
    with pytest.raises(InputError, match=r"'GAD1' is neither.*Did you mean 'Gad1'"):
        pl.umap(adata, color="GAD1")
    with pytest.raises(InputError, match="X_umap"):
        pl.umap(adata, basis="X_none")
    with pytest.raises(InputError, match=r"Xenon.*Did you mean 'Xenium'"):
        pl.spatial(adata, slice="Xenon")
    with pytest.raises(InputError, match="slice_key"):
        pl.spatial(adata, slice="Xenium", slice_key="none")
    with pytest.raises(InputError, match="step"):
        pl.losses(pd.DataFrame({"total": [1.0]}))


def test_a_gene_is_drawn_normalized_by_slice_and_gray_where_not_measured(adata: AnnData) -> None:
    axes = pl.spatial(adata, color="Gad1")
    assert [ax.get_title() for ax in axes] == ["MERFISH", "Xenium", "Slide-tags\nnot measured"]
    for ax, name in zip(axes[:2], SLICES):
        rows = adata[(adata.obs[keys.SLICE] == name).to_numpy()]
        expected = log_normalize(rows.X)[:, [0]].toarray().ravel()
        np.testing.assert_allclose(np.sort(expected), ax.collections[0].get_array(), rtol=1e-5)
    assert axes[0].collections[0].get_clim() == axes[1].collections[0].get_clim()
    assert set(colors(axes[2])) == {OTHER}
    drawn = np.ma.getdata(pl.umap(adata, color="Gad1").collections[0].get_array())
    assert np.isnan(drawn).sum() == SLICES["Slide-tags"]


def test_the_place_of_a_value_is_its_cell(adata: AnnData) -> None:
    adata = adata[(adata.obs[keys.SLICE] == "Xenium").to_numpy()].copy()
    adata.X = sparse.csr_matrix(np.ones(adata.shape, np.float32) + 5 * np.eye(*adata.shape, dtype=np.float32))
    points = pl.spatial(adata, color="Gad1", slice="Xenium").collections[0]
    np.testing.assert_allclose(
        points.get_offsets()[int(np.argmax(points.get_array()))], adata.obsm["spatial"][0]
    )


def test_layers_and_values_that_are_no_counts_are_drawn_as_they_are(adata: AnnData) -> None:
    adata.layers["doubled"] = adata.X * 2
    drawn = pl.umap(adata, color="Mbp", layer="doubled").collections[0].get_array()
    np.testing.assert_allclose(np.sort(drawn), np.sort(adata.X[:, 2].toarray().ravel() * 2))
    adata.X = adata.X * 0.3
    drawn = pl.umap(adata, color="Mbp").collections[0].get_array()
    np.testing.assert_allclose(np.sort(drawn), np.sort(adata.X[:, 2].toarray().ravel()), rtol=1e-6)


def test_a_gene_that_no_slice_measured(adata: AnnData) -> None:
    adata.varm[keys.MEASURED][0] = False
    with pytest.raises(InputError, match=r"no slice here measured 'Gad1'.*impute"):
        pl.umap(adata, color="Gad1")


def test_the_ends_of_a_scale() -> None:
    few = np.r_[np.zeros(500), 4.0]
    assert (Scale.of(few, "").low, Scale.of(few, "").high) == (0.0, 4.0)  # not dark by its many zeros
    many = np.r_[np.linspace(0, 1, 1000), 50.0]
    assert Scale.of(many, "").high < 1.1
    assert Scale.of(many, "").extend == "max"
    assert Scale.of(-many, "").low > -1.1
    assert Scale.of(np.full(3, np.nan), "").high == 1.0


def test_coloring_follows_categories_and_natural_order() -> None:
    plain = Coloring.of(pd.Series(["c10", "c2", None, "c2"]))
    assert plain.names == ["c2", "c10", NOT_GIVEN]
    assert [count for _, _, count in plain.legend] == [2, 1, 1]
    assert plain.rows[1] == plain.rows[3] != plain.rows[0]
    assert plain.rows[2] == OTHER
    ordered = Coloring.of(pd.Series(pd.Categorical(["b", "a"], categories=["b", "unused", "a"])))
    assert ordered.names == ["b", "a"]


@given(st.permutations(["Astro", "L2", "L10", "Sst", UNKNOWN]), st.integers(0, 5))
def test_a_name_has_one_color_in_whatever_order_names_stand(order: list[str], used: int) -> None:
    plain = Coloring.of(pd.Series(["Astro", "L2", "L10", "Sst", UNKNOWN, None]))
    other = Coloring.of(pd.Series(pd.Categorical(order[:used], categories=order)))
    found = {name: color for name, color, _ in plain.legend}
    assert all(found[name] == color for name, color, _ in other.legend)
    assert [n for n in other.names if n != UNKNOWN] == [n for n in order[:used] if n != UNKNOWN]
    assert len({c for c in found.values() if c != OTHER}) == 4


def test_many_names_that_no_cell_has_do_not_take_the_colors() -> None:
    names = [f"k{i}" for i in range(MOST + 5)]
    few = Coloring.of(pd.Series(pd.Categorical(names[-2:], categories=names)))
    assert OTHER not in few.rows


def test_an_uncertain_label_is_gray() -> None:
    labels = pd.Series(pd.Categorical(["unknown", "a", None], categories=["unknown", "a"]))
    assert Coloring.of(labels).names == ["a", UNKNOWN, NOT_GIVEN]
    assert list(Coloring.of(labels).rows == OTHER) == [True, False, True]


def test_only_the_largest_categories_are_colored(adata: AnnData) -> None:
    values = pd.Series([f"k{i}" for i in range(MOST + 5) for _ in range(1 + (i >= 5))])
    coloring = Coloring.of(values)
    assert coloring.names[-1] == "5 smaller categories"
    assert "k0" not in coloring.names
    assert (coloring.rows == OTHER).sum() == 5
    adata.obs["many"] = pd.Categorical([f"k{i % (MOST + 5)}" for i in range(adata.n_obs)])
    pl.umap(adata, color="many")
    assert len(adata.uns["many_colors"]) == MOST + 5
    pl.umap(adata, color="many")


def test_the_palette_shows_on_light_and_dark_pages() -> None:
    assert len(set(COLORS)) == MOST
    assert OTHER not in COLORS
    rgb = np.array([[int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)] for c in COLORS])
    luminance = (rgb**2.2) @ [0.2126, 0.7152, 0.0722]
    contrast = (1.05 / (luminance + 0.05), (luminance + 0.05) / 0.058)
    assert min(c.min() for c in contrast) > 1.4


def test_importing_leaves_pyplot_alone() -> None:
    code = "import lloki.pl, lloki.report, sys; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert run([executable, "-c", code]).returncode == 0


@pytest.mark.parametrize("draw", [pl.umap, pl.spatial])
def test_what_cannot_be_drawn_or_written_is_refused_in_words(draw, adata: AnnData, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="empty list"):
        draw(adata, color=[])
    with pytest.raises(ConfigError, match="size must be above 0"):
        draw(adata, size=-1)
    before = plt.get_fignums()
    for place in (tmp_path / "none" / "x.png", tmp_path / "x.nonsense"):
        with pytest.raises(OutputError, match=f"{place.name}: the figure cannot be written"):
            draw(adata, save=place)
    assert plt.get_fignums() == before
