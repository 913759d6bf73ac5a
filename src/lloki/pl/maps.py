"""Cells in the embedding and in space; what the stages did to them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lloki import keys
from lloki.errors import InputError
from lloki.pl._slots import INK, coloring, obs_slot, obsm, with_legend

if TYPE_CHECKING:
    import anndata as ad
    import pandas as pd
    from matplotlib.figure import Figure
    from numpy.typing import NDArray


def umap(adata: ad.AnnData, *, color: str = keys.CLUSTER, basis: str = keys.UMAP, seed: int = 0) -> Figure:
    """Draw the two-dimensional embedding of all cells, with a legend.

    Parameters
    ----------
    adata
        Has ``obsm[basis]``, of which the first two columns are drawn.
    color
        Column of ``obs``: categories.
    basis
        Key of ``obsm``.
    seed
        Shuffles the order of drawing, so that no category covers the others; cells without one lie beneath.

    Raises
    ------
    InputError
        ``obsm`` or ``obs`` lacks the key.
    """
    from lloki.report import figures

    colored = coloring(adata, color)
    figure = figures.embedding(obsm(adata, basis)[:, :2], colored.rows, seed=seed)
    return with_legend(figure, colored.legend, color)


def spatial(
    adata: ad.AnnData, *, color: str = keys.CLUSTER, slice: str | None = None, slice_key: str = keys.SLICE
) -> Figure:
    """Draw the cells of one slice where they lie, with a scale bar and a legend.

    Colors are assigned over all of ``adata``, so they agree between the slices of a joint object.

    Parameters
    ----------
    adata
        Has ``obsm["spatial"]``; y runs downwards, as on a microscope's screen.
    color
        Column of ``obs``: categories.
    slice
        Which slice; may be left out where ``adata`` holds a single one.
    slice_key
        Column of ``obs`` that names the slices.

    Raises
    ------
    InputError
        A key or the slice is absent, or ``adata`` holds several slices and none is named.
    """
    from lloki.report import figures

    colored, xy = coloring(adata, color), obsm(adata, keys.SPATIAL)
    rows = np.ones(adata.n_obs, dtype=bool)
    if slice_key in adata.obs:
        names = adata.obs[slice_key].astype(str)
        known = list(dict.fromkeys(names))
        if slice is None and len(known) > 1:
            raise InputError(
                f"{len(known)} slices and none chosen", slot=obs_slot(slice_key), hint=f"Name one: {known}"
            )
        if slice is not None:
            rows = (names == slice).to_numpy()
    elif slice is not None:
        raise InputError(
            "the column is absent", slot=obs_slot(slice_key), hint="Set slice_key, or leave slice out"
        )
    if not rows.any():
        raise InputError(f"no cell of slice {slice!r}", slot=obs_slot(slice_key), hint=f"Name one: {known}")
    figure = figures.section(xy[rows], colored.rows[rows], ink=INK)
    return with_legend(figure, colored.legend, color)


def sparsity(before: NDArray, target: NDArray, after: NDArray) -> Figure:
    """Draw sparsity per cell (n,) before LLOKI-FP, as aimed for, and after, as cumulative curves."""
    from lloki.report import figures

    return figures.sparsity_curves(before, target, after, ink=INK)


def losses(frame: pd.DataFrame) -> Figure:
    """Draw the training's losses: column ``step`` and one column per loss, NaN where it was not computed."""
    from lloki.report import figures

    if "step" not in frame:
        raise InputError("the column is absent", slot="step", hint="Give the table that training returned")
    series = {str(c): frame[c].to_numpy(float) for c in frame.columns if c != "step"}
    return figures.loss_curves(frame["step"].to_numpy(float), series, ink=INK)
