"""Metagenes and spatial domains."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lloki import keys
from lloki._keywords import keywords
from lloki._metagene_tables import enrichment_by_slice, moran_by_slice
from lloki.errors import InputError
from lloki.pl import _slots
from lloki.pl._figures import finish, legend_height, legend_width, new_axes, new_figure

if TYPE_CHECKING:
    from pathlib import Path

    import anndata as ad
    from matplotlib.axes import Axes

    from lloki.pl._coloring import Shade


@keywords
def metagene(
    adata: ad.AnnData,
    metagene: int | str,
    *,
    slice_key: str = keys.SLICE,
    unit: str | None = None,
    show: bool | None = None,
    save: str | Path | None = None,
) -> list[Axes]:
    """Draw one metagene in space, in all slices side by side on one color scale.

    Parameters
    ----------
    adata
        As :func:`lloki.tl.metagenes` left it: all slices in one.
    metagene
        Which metagene, from 1, or its name in tables, such as ``"metagene1"``.
    slice_key
        Column of ``obs`` that names the slices.
    unit
        Unit of the positions, written beside the scale bars. Default: the one that a slice's file states.
    show, save
        As in :func:`lloki.pl.umap`.

    Raises
    ------
    InputError
        If there is no such metagene, or a slot is absent.
    """
    from lloki.pl._coloring import Scale

    states = _slots.obsm(adata, keys.METAGENES)
    digits = str(metagene).removeprefix("metagene")
    at = int(digits) if digits.isdecimal() else 0
    if not 1 <= at <= states.shape[1]:
        raise InputError(f"there is no metagene {metagene!r}", hint=f"There are {states.shape[1]}, from 1.")
    return _in_space(adata, Scale.of(states[:, at - 1], f"metagene {at}"), slice_key, unit, show, save)


@keywords
def enrichment(
    adata: ad.AnnData,
    label_key: str,
    *,
    slice_key: str = keys.SLICE,
    show: bool | None = None,
    save: str | Path | None = None,
) -> list[Axes]:
    """Draw which cell types use which metagenes, in each slice that has labels.

    Colors are the mean state of a type's cells that use the metagene at all, over the largest such mean of
    any slice: states are on one scale in all slices (a cell's add up to K on average), so a metagene whose
    type a slice lacks stays dark there.

    Parameters
    ----------
    adata
        As :func:`lloki.tl.metagenes` left it: all slices in one.
    label_key
        Column of ``obs`` with cell types; missing ones are left out.
    slice_key
        Column of ``obs`` that names the slices.
    show, save
        As in :func:`lloki.pl.umap`.

    Returns
    -------
    list of matplotlib.axes.Axes
        One for each slice.
    """
    from lloki.pl._heatmaps import enrichment_maps, enrichment_size

    tables = enrichment_by_slice(_slots.slices_of(adata, slice_key), label_key, slice_key=slice_key)
    axes = enrichment_maps(new_figure(enrichment_size(tables)), tables)
    finish(axes, given=False, show=show, save=save)
    return axes


@keywords
def moran(
    adata: ad.AnnData,
    *,
    slice_key: str = keys.SLICE,
    ax: Axes | None = None,
    show: bool | None = None,
    save: str | Path | None = None,
) -> Axes:
    """Draw Moran's I of all metagenes in each slice.

    Parameters
    ----------
    adata
        As :func:`lloki.tl.metagenes` left it: all slices in one.
    slice_key
        Column of ``obs`` that names the slices.
    ax, show, save
        As in :func:`lloki.pl.umap`.
    """
    from lloki.pl._curves import moran_boxes

    found = moran_by_slice(_slots.slices_of(adata, slice_key), slice_key=slice_key)
    axes = new_axes(ax, (1.5 + found.shape[1], 3.2))
    moran_boxes(axes, {"metagenes": {str(s): values.to_numpy() for s, values in found.items()}})
    finish(axes, given=ax is not None, show=show, save=save)
    return axes


@keywords
def affinity(
    adata: ad.AnnData, *, ax: Axes | None = None, show: bool | None = None, save: str | Path | None = None
) -> Axes:
    """Draw which metagenes are adjacent in space.

    Parameters
    ----------
    adata
        As :func:`lloki.tl.metagenes` left it.
    ax, show, save
        As in :func:`lloki.pl.umap`.

    Raises
    ------
    InputError
        If it has no metagenes.
    """
    from lloki.pl._heatmaps import affinity_map, affinity_size

    found = adata.uns.get(keys.UNS, {}).get("metagenes", {})
    if "affinity" not in found:
        slot = f"uns[{keys.UNS!r}]"
        raise InputError("holds no metagenes", slot=slot, hint="Run lloki.tl.metagenes first.")
    axes = new_axes(ax, affinity_size(len(found["affinity"])))
    affinity_map(axes, found["affinity"])
    finish(axes, given=ax is not None, show=show, save=save)
    return axes


@keywords
def domains(
    adata: ad.AnnData,
    *,
    slice_key: str = keys.SLICE,
    unit: str | None = None,
    show: bool | None = None,
    save: str | Path | None = None,
) -> list[Axes]:
    """Draw the spatial domains of all slices side by side; a domain has one color everywhere.

    Parameters
    ----------
    adata
        As :func:`lloki.tl.domains` left it: all slices in one.
    slice_key
        Column of ``obs`` that names the slices.
    unit
        Unit of the positions, written beside the scale bars. Default: the one that a slice's file states.
    show, save
        As in :func:`lloki.pl.umap`.

    Returns
    -------
    list of matplotlib.axes.Axes
        One for each slice.

    Raises
    ------
    InputError
        If there are no domains, or no positions.
    """
    _slots.column(adata, keys.DOMAIN, hint="Run lloki.tl.domains first.")
    return _in_space(adata, _slots.shade(adata, keys.DOMAIN), slice_key, unit, show, save)


def _in_space(
    adata: ad.AnnData,
    shade: Shade,
    slice_key: str,
    unit: str | None,
    show: bool | None,
    save: str | Path | None,
) -> list[Axes]:
    from lloki.pl._panels import panels_size, slice_panels

    xy, rows = _slots.in_space(adata, slice_key), _slots.by_slice(adata, slice_key)
    positions = {s: xy[r] for s, r in rows.items()}
    width, height = panels_size(positions, legend_width(shade))
    figure = new_figure((width, max(height, legend_height(shade))))
    units, shades = _slots.units(adata, rows, unit), {s: shade.part(r) for s, r in rows.items()}
    axes = slice_panels(figure, positions, shades, shade, units=units)
    finish(axes, given=False, show=show, save=save)
    return axes
