"""Metagenes and spatial domains."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lloki import keys
from lloki._metagene_tables import enrichment_by_slice, moran_by_slice
from lloki.errors import InputError
from lloki.pl._slots import coloring, obsm, slices_of

if TYPE_CHECKING:
    import anndata as ad
    from matplotlib.figure import Figure


def metagene(adata: ad.AnnData, number: int | str, *, slice_key: str = keys.SLICE) -> Figure:
    """Draw one metagene in space, in all slices side by side on one color scale.

    Parameters
    ----------
    adata
        As :func:`lloki.tl.metagenes` left it: all slices in one.
    number
        Which metagene, from 1, or its name in tables, such as ``"metagene1"``.
    slice_key
        Column of ``obs`` that names the slices.

    Raises
    ------
    InputError
        If there is no such metagene, or a slot is absent.
    """
    from lloki.report import metagenes as figures
    from lloki.report.panels import by_slice

    states, xy = obsm(adata, keys.METAGENES), obsm(adata, keys.SPATIAL)
    digits = str(number).removeprefix("metagene")
    at = int(digits) if digits.isdecimal() else 0
    if not 1 <= at <= states.shape[1]:
        raise InputError(f"there is no metagene {number!r}", hint=f"There are {states.shape[1]}, from 1.")
    rows = by_slice(adata, slice_key)
    return figures.in_space(
        {s: xy[r] for s, r in rows.items()},
        {s: states[r, at - 1] for s, r in rows.items()},
        label=f"metagene {at}",
    )


def enrichment(adata: ad.AnnData, label_key: str, *, slice_key: str = keys.SLICE) -> Figure:
    """Draw which types use which metagenes in each slice that has labels.

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
    """
    from lloki.report import metagenes as figures

    tables = enrichment_by_slice(slices_of(adata, slice_key), label_key, slice_key=slice_key)
    return figures.enrichment_maps(tables)


def moran(adata: ad.AnnData, *, slice_key: str = keys.SLICE) -> Figure:
    """Draw Moran's I of all metagenes in each slice; parameters as for `metagene`."""
    from lloki.report import metagenes as figures

    found = moran_by_slice(slices_of(adata, slice_key), slice_key=slice_key)
    return figures.moran_boxes({"metagenes": {str(s): column.to_numpy() for s, column in found.items()}})


def affinity(adata: ad.AnnData) -> Figure:
    """Draw which metagenes lie side by side in space, of an AnnData as :func:`lloki.tl.metagenes` left it.

    Raises
    ------
    InputError
        If it has no metagenes.
    """
    from lloki.report import metagenes as figures

    said = adata.uns.get(keys.UNS, {}).get("metagenes", {})
    if "affinity" not in said:
        slot = f"uns[{keys.UNS!r}]"
        raise InputError("holds no metagenes", slot=slot, hint="Run lloki.tl.metagenes first.")
    return figures.affinity_map(said["affinity"])


def domains(adata: ad.AnnData, *, slice_key: str = keys.SLICE) -> Figure:
    """Draw the spatial domains of all slices side by side; a domain has one color everywhere.

    Parameters
    ----------
    adata
        As :func:`lloki.tl.domains` left it: all slices in one.
    slice_key
        Column of ``obs`` that names the slices.
    """
    from lloki.report import metagenes as figures
    from lloki.report.panels import by_slice

    colored, rows = coloring(adata, keys.DOMAIN), by_slice(adata, slice_key)
    xy = obsm(adata, keys.SPATIAL)
    colors = np.asarray(colored.rows)
    figure = figures.in_space(
        {s: xy[r] for s, r in rows.items()}, {}, label="", colors={s: colors[r] for s, r in rows.items()}
    )
    handles = [
        figure.axes[0].scatter([], [], color=color, s=25, label=name) for name, color, _ in colored.legend
    ]
    figure.legend(
        handles=handles, loc="outside lower center", ncols=min(len(handles), 12), frameon=False, fontsize=8
    )
    return figure
