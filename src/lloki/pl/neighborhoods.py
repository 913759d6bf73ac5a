"""Programs of a cell type near another."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lloki import keys
from lloki._keywords import keywords
from lloki.pl import _slots
from lloki.pl._figures import WIDTH, finish, new_axes, new_figure

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import anndata as ad
    from matplotlib.axes import Axes

_FIRST = "Run lloki.tl.neighborhood_program first."


@keywords
def neighborhood_program(
    adata: ad.AnnData,
    *,
    group: str = keys.SLICE,
    ax: Axes | None = None,
    show: bool | None = None,
    save: str | Path | None = None,
) -> Axes:
    """Draw the score of a neighborhood program against the share of the neighbor type.

    Parameters
    ----------
    adata
        As :func:`lloki.tl.neighborhood_program` left it.
    group
        Column of ``obs`` that names slices or data sets: medians are drawn for each.
    ax, show, save
        As in :func:`lloki.pl.umap`.

    Raises
    ------
    InputError
        A column is absent.
    """
    from lloki.pl._curves import score_against_share

    share, score = (
        _slots.column(adata, c, hint=_FIRST).to_numpy(float)
        for c in (keys.NEIGHBOR_SHARE, keys.NEIGHBORHOOD_SCORE)
    )
    groups = _slots.column(adata, group, hint="Set group.").astype(str).to_numpy()
    axes = new_axes(ax, (1.2 * WIDTH, WIDTH))
    score_against_share(axes, share, score, groups)
    finish(axes, given=ax is not None, show=show, save=save)
    return axes


@keywords
def neighborhood_program_map(
    adata: ad.AnnData,
    *,
    neighbor: str,
    label_key: str,
    slice: str | Sequence[str] | None = None,
    slice_key: str = keys.SLICE,
    unit: str | None = None,
    show: bool | None = None,
    save: str | Path | None = None,
) -> list[Axes]:
    """Draw the focal cells of slices by their score, and cells of the neighbor type in gray.

    Parameters
    ----------
    adata
        As :func:`lloki.tl.neighborhood_program` left it.
    neighbor, label_key
        Name of the type, and ``obs`` column of types.
    slice
        Name of one slice or of several; default all.
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
        A slot or the slice is absent.
    """
    from lloki.pl._coloring import Scale
    from lloki.pl._panels import panels_size, slice_panels

    score = _slots.column(adata, keys.NEIGHBORHOOD_SCORE, hint=_FIRST).to_numpy(float)
    types = _slots.column(adata, label_key, hint="Set label_key.").astype(str).to_numpy()
    shown, xy = np.isfinite(score) | (types == neighbor), _slots.in_space(adata, slice_key)
    rows = {s: r[shown[r]] for s, r in _slots.chosen_slices(adata, slice, slice_key).items()}
    scale = Scale.of(score, "score of the program", ends=score_ends(score))
    positions = {s: xy[r] for s, r in rows.items()}
    figure = new_figure(panels_size(positions, 0.9))
    units, shades = _slots.units(adata, rows, unit), {s: scale.part(r) for s, r in rows.items()}
    axes = slice_panels(figure, positions, shades, scale, units=units)
    finish(axes, given=False, show=show, save=save)
    return axes


def score_ends(score: np.ndarray) -> tuple[float, float]:
    """Find the ends of a color scale that hold all but 2 % of the scores at either side."""
    known = score[np.isfinite(score)]
    if not len(known):
        return 0.0, 1.0
    low, high = np.quantile(known, [0.02, 0.98])
    return float(low), float(high)
