"""Cells in the embedding and in space."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, overload

import numpy as np

from lloki import keys
from lloki._keywords import keywords
from lloki.errors import ConfigError
from lloki.pl import _slots
from lloki.pl._figures import WIDTH, explain, finish, legend_height, legend_width, new_figure

if TYPE_CHECKING:
    from pathlib import Path

    import anndata as ad
    from matplotlib.axes import Axes

    from lloki.pl._coloring import Shade
    from lloki.pl._palette import Palette

_ACROSS = 4  # panels side by side


@overload
def umap(
    adata: ad.AnnData,
    *,
    color: str = ...,
    basis: str = ...,
    layer: str | None = ...,
    slice_key: str = ...,
    groups: str | Sequence[str] | None = ...,
    palette: Palette | None = ...,
    size: float | None = ...,
    legend: bool = ...,
    seed: int = ...,
    ax: Axes | None = ...,
    show: bool | None = ...,
    save: str | Path | None = ...,
) -> Axes: ...
@overload
def umap(
    adata: ad.AnnData,
    *,
    color: list[str] | tuple[str, ...],
    basis: str = ...,
    layer: str | None = ...,
    slice_key: str = ...,
    groups: str | Sequence[str] | None = ...,
    palette: Palette | None = ...,
    size: float | None = ...,
    legend: bool = ...,
    seed: int = ...,
    ax: None = ...,
    show: bool | None = ...,
    save: str | Path | None = ...,
) -> list[Axes]: ...
@keywords
def umap(
    adata: ad.AnnData,
    *,
    color: str | list[str] | tuple[str, ...] = keys.CLUSTER,
    basis: str = keys.UMAP,
    layer: str | None = None,
    slice_key: str = keys.SLICE,
    groups: str | Sequence[str] | None = None,
    palette: Palette | None = None,
    size: float | None = None,
    legend: bool = True,
    seed: int = 0,
    ax: Axes | None = None,
    show: bool | None = None,
    save: str | Path | None = None,
) -> Axes | list[Axes]:
    """Draw a two-dimensional embedding of all cells.

    Parameters
    ----------
    adata
        Has ``obsm[basis]``, of which the first two columns are drawn.
    color
        Column of ``obs`` (categories, or numbers on a color bar), a gene, or a list of them: a panel each. A
        gene is drawn as log(1 + counts scaled to the median total of its slice), or as it is where ``X`` does
        not hold counts; cells of slices that did not measure it are gray.
    basis
        Key of ``obsm``.
    layer
        Layer to draw genes from, as it is.
    slice_key
        Column of ``obs`` that names the slices, in which genes were measured or not.
    groups
        Color these categories only; all others are gray.
    palette
        For categories: colors in their order, category → color, or the name of a color map. For numbers: the
        name of a color map. Default ``uns["<column>_colors"]``, if it is there; colors of a categorical
        column are written there.
    size
        Area of a point in square points; default by their number.
    legend
        Draw a legend or color bar at the right.
    seed
        Random seed of the order of drawing, so that no category covers the others; gray cells lie beneath.
    ax
        Draw on these Axes, where there is a single panel.
    show
        Show the figure now; by default where matplotlib is interactive and neither ``ax`` nor ``save`` is
        given.
    save
        Save the figure as this file.

    Returns
    -------
    matplotlib.axes.Axes
        A list of them if ``color`` is a list.

    Raises
    ------
    InputError
        ``obsm`` lacks the key, or ``color`` is neither a column nor a gene.
    ConfigError
        ``groups`` or ``palette`` do not fit, or ``ax`` is given for several panels.
    """
    colors = _slots.colors_of(color, size)
    given = ax is not None
    if given and len(colors) > 1:
        raise ConfigError("ax= takes one panel. Give a single color, or leave ax out.")
    xy = _slots.obsm(adata, basis)[:, :2]
    shades = [
        _slots.shade(adata, c, groups=groups, palette=palette, layer=layer, slice_key=slice_key)
        for c in colors
    ]
    columns, rows = min(len(colors), _ACROSS), -(-len(colors) // _ACROSS)
    beside = sum(sorted(map(legend_width, shades))[-columns:]) if legend else 0.0
    where = [ax]
    if ax is None:
        figure = new_figure((WIDTH * columns + beside, (WIDTH + 0.2) * rows))
        where = list(np.ravel(figure.subplots(rows, columns, squeeze=False)))
    axes = _embeddings(where, xy, dict(zip(colors, shades)), size=size, legend=legend, seed=seed)
    finish(axes, given=given, show=show, save=save)
    return axes[0] if isinstance(color, str) else axes


def _embeddings(
    where: Sequence[Axes | None],
    xy: np.ndarray,
    shades: dict[str, Shade],
    *,
    size: float | None,
    legend: bool,
    seed: int,
) -> list[Axes]:
    from lloki.pl._points import embedding

    axes = [ax for ax in where if ax is not None]
    for ax in axes[len(shades) :]:
        ax.remove()
    for ax, (name, shade) in zip(axes, shades.items()):
        embedding(ax, xy, shade, size=size, seed=seed)
        ax.set_title(name, fontsize=10, parse_math=False)
        if legend:
            explain(ax, shade)
    return axes[: len(shades)]


@overload
def spatial(
    adata: ad.AnnData,
    *,
    color: str = ...,
    slice: str,
    slice_key: str = ...,
    unit: str | None = ...,
    layer: str | None = ...,
    groups: str | Sequence[str] | None = ...,
    palette: Palette | None = ...,
    size: float | None = ...,
    legend: bool = ...,
    basis: str = ...,
    ax: Axes | None = ...,
    show: bool | None = ...,
    save: str | Path | None = ...,
) -> Axes: ...
@overload
def spatial(
    adata: ad.AnnData,
    *,
    color: str | list[str] | tuple[str, ...] = ...,
    slice: list[str] | tuple[str, ...] | None = ...,
    slice_key: str = ...,
    unit: str | None = ...,
    layer: str | None = ...,
    groups: str | Sequence[str] | None = ...,
    palette: Palette | None = ...,
    size: float | None = ...,
    legend: bool = ...,
    basis: str = ...,
    ax: Axes | None = ...,
    show: bool | None = ...,
    save: str | Path | None = ...,
) -> list[Axes]: ...
@overload
def spatial(
    adata: ad.AnnData,
    *,
    color: list[str] | tuple[str, ...],
    slice: str,
    slice_key: str = ...,
    unit: str | None = ...,
    layer: str | None = ...,
    groups: str | Sequence[str] | None = ...,
    palette: Palette | None = ...,
    size: float | None = ...,
    legend: bool = ...,
    basis: str = ...,
    ax: Axes | None = ...,
    show: bool | None = ...,
    save: str | Path | None = ...,
) -> list[Axes]: ...
@keywords
def spatial(
    adata: ad.AnnData,
    *,
    color: str | list[str] | tuple[str, ...] = keys.CLUSTER,
    slice: str | list[str] | tuple[str, ...] | None = None,
    slice_key: str = keys.SLICE,
    unit: str | None = None,
    layer: str | None = None,
    groups: str | Sequence[str] | None = None,
    palette: Palette | None = None,
    size: float | None = None,
    legend: bool = True,
    basis: str = keys.SPATIAL,
    ax: Axes | None = None,
    show: bool | None = None,
    save: str | Path | None = None,
) -> Axes | list[Axes]:
    """Draw the cells of every slice where they lie, a panel each, with scale bars.

    Colors are the same in all slices. Platforms find different shares of the molecules that are there, and a
    total is over the genes of a panel: compare expression within a slice, and patterns between slices, rather
    than heights between slices.

    Parameters
    ----------
    adata
        Has ``obsm[basis]``; y runs downwards, as on a microscope's screen.
    color, layer, groups, palette, size, legend, show, save
        As in :func:`lloki.pl.umap`. Several colors are rows of panels.
    slice
        Name of one slice or of several; default all.
    slice_key
        Column of ``obs`` that names the slices.
    unit
        Unit of the positions, written beside the scale bars. Default: the one that a slice's file states.
    basis
        Key of ``obsm``, such as ``"spatial_aligned"``.
    ax
        Draw on these Axes, where there is a single panel.

    Returns
    -------
    matplotlib.axes.Axes
        If ``slice`` and ``color`` each name one; else a list of them.

    Raises
    ------
    InputError
        A key or the slice is absent, or ``color`` is neither a column nor a gene.
    ConfigError
        ``groups`` or ``palette`` do not fit, or ``ax`` is given for several panels.
    """
    from lloki.pl._panels import panels_size, slice_panels
    from lloki.pl._points import section

    xy, colors = _slots.in_space(adata, slice_key, basis), _slots.colors_of(color, size)
    rows = _slots.chosen_slices(adata, slice, slice_key)
    positions = {name: xy[r] for name, r in rows.items()}
    units = _slots.units(adata, rows, unit)
    shades = [
        _slots.shade(adata, c, groups=groups, palette=palette, layer=layer, slice_key=slice_key)
        for c in colors
    ]
    if ax is not None:
        if len(rows) * len(colors) > 1:
            raise ConfigError("ax= takes one panel. Name one slice and one color, or leave ax out.")
        (name, r), shade = next(iter(rows.items())), shades[0]
        section(ax, xy[r], shade.part(r), size=size, unit=units[name], title=name)
        if legend:
            explain(ax, shade)
        axes = [ax]
    else:
        width, height = panels_size(positions, max(map(legend_width, shades)) if legend else 0.0)
        height = max(height, *map(legend_height, shades)) if legend else height
        title = 0.25 * (len(colors) > 1)
        figure = new_figure((width, (height + title) * len(colors)))
        parts = figure.subfigures(len(colors), 1, squeeze=False)[:, 0] if len(colors) > 1 else [figure]
        axes = []
        for part, name, shade in zip(parts, colors, shades):
            of = {s: shade.part(r) for s, r in rows.items() if _slots.has_values(shade, r)}
            absent = "no values" if name in adata.obs else "not measured"
            axes += slice_panels(
                part, positions, of, shade, size=size, units=units, legend=legend, absent=absent
            )
            part.suptitle(name, fontsize=10, parse_math=False)
    finish(axes, given=ax is not None, show=show, save=save)
    return axes[0] if isinstance(slice, str) and isinstance(color, str) else axes
