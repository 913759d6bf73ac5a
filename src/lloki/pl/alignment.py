"""Slices aligned in one frame."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lloki._keywords import keywords
from lloki.errors import InputError
from lloki.pl._figures import WIDTH, explain, finish, legend_width, new_axes, new_figure

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes

    from lloki.align import Alignment, AlignResult


@keywords
def overlay(
    alignment: Alignment,
    moving: str | None = None,
    *,
    unit: str = "",
    show: bool | None = None,
    save: str | Path | None = None,
) -> list[Axes]:
    """Draw a slice on the one that it was aligned with, before and after.

    Parameters
    ----------
    alignment
        As :func:`lloki.tl.align_slices` returned it.
    moving
        Name of the slice; may be left out where only one was aligned. In a stack, a pair ``"FIXED MOVING"``
        is drawn as it was aligned by itself.
    unit
        Unit of the positions, such as ``"µm"``, written beside the scale bars; an alignment does not know it.
    show, save
        As in :func:`lloki.pl.umap`.

    Returns
    -------
    list of matplotlib.axes.Axes
        Before and after.

    Raises
    ------
    InputError
        No such slice was aligned, or several were and none is named.
    """
    from lloki.pl import _alignment

    (fixed, name), result = _aligned_pair(alignment, moving)
    moved = result.moved
    if name in alignment.warps:
        moved = alignment.warps[name].apply(moved)
    clouds = (alignment.positions[fixed], alignment.positions[name], moved)
    figure = new_figure(_alignment.overlay_size(*clouds))
    axes = _alignment.overlay(figure, *clouds, result.in_overlap, unit=unit)
    finish(axes, given=False, show=show, save=save)
    return axes


@keywords
def residuals(
    alignment: Alignment,
    moving: str | None = None,
    *,
    unit: str = "",
    ax: Axes | None = None,
    show: bool | None = None,
    save: str | Path | None = None,
) -> Axes:
    """Draw the matched cells of an alignment and their distances.

    Parameters
    ----------
    alignment, moving, unit
        As in :func:`lloki.pl.overlay`.
    ax, show, save
        As in :func:`lloki.pl.umap`.
    """
    from lloki.pl import _alignment

    result = _aligned_pair(alignment, moving)[1]
    axes = new_axes(ax, _size(result.moved))
    _alignment.residuals(axes, result, unit=unit)
    finish(axes, given=ax is not None, show=show, save=save)
    return axes


@keywords
def rotations(
    alignment: Alignment,
    moving: str | None = None,
    *,
    ax: Axes | None = None,
    show: bool | None = None,
    save: str | Path | None = None,
) -> Axes:
    """Draw the agreement of two slices at every rotation.

    Parameters
    ----------
    alignment, moving
        As in :func:`lloki.pl.overlay`.
    ax, show, save
        As in :func:`lloki.pl.umap`.
    """
    from lloki.pl import _alignment

    axes = new_axes(ax, (WIDTH, WIDTH * 0.72))
    _alignment.rotation_curve(axes, _aligned_pair(alignment, moving)[1])
    finish(axes, given=ax is not None, show=show, save=save)
    return axes


@keywords
def deformation(
    alignment: Alignment,
    moving: str | None = None,
    *,
    unit: str = "",
    ax: Axes | None = None,
    show: bool | None = None,
    save: str | Path | None = None,
) -> Axes:
    """Draw the deformation that followed the rigid step.

    Parameters
    ----------
    alignment, moving, unit
        As in :func:`lloki.pl.overlay`.
    ax, show, save
        As in :func:`lloki.pl.umap`.

    Raises
    ------
    InputError
        The slice was not deformed.
    """
    from lloki.pl import _alignment

    (_, name), result = _aligned_pair(alignment, moving)
    if name not in alignment.warps:
        raise InputError("was not deformed", where=name, hint="Align with nonrigid=BOUND.")
    warp, moved = alignment.warps[name], result.moved
    axes = new_axes(ax, _size(moved))
    _alignment.deformation(axes, moved, warp.displacement(moved), warp.strain(moved), unit=unit)
    finish(axes, given=ax is not None, show=show, save=save)
    return axes


@keywords
def aligned(
    alignment: Alignment,
    *,
    unit: str = "",
    ax: Axes | None = None,
    show: bool | None = None,
    save: str | Path | None = None,
) -> Axes:
    """Draw all slices that have a place in the common frame, colored by slice.

    Parameters
    ----------
    alignment, unit
        As in :func:`lloki.pl.overlay`.
    ax, show, save
        As in :func:`lloki.pl.umap`.
    """
    from lloki.pl._alignment import placed_cells
    from lloki.pl._points import section

    xy, coloring = placed_cells(alignment.placed)
    axes = new_axes(ax, _size(xy, legend_width(coloring)))
    section(axes, xy, coloring, unit=unit)
    explain(axes, coloring)
    finish(axes, given=ax is not None, show=show, save=save)
    return axes


def _size(xy: np.ndarray, beside: float = 0.9) -> tuple[float, float]:
    from lloki.pl._points import section_ratio

    return WIDTH + beside, WIDTH * section_ratio(xy) + 0.2


def _aligned_pair(alignment: Alignment, moving: str | None) -> tuple[tuple[str, str], AlignResult]:
    known = {(f"{f} {m}" if alignment.stack is not None else m): (f, m) for f, m in alignment.results}
    if moving is None and len(known) == 1:
        moving = next(iter(known))
    if moving not in known:
        text = "several slices were aligned" if moving is None else f"{moving!r} was not aligned"
        raise InputError(text, hint=f"Name one of: {', '.join(known)}.")
    pair = known[moving]
    return pair, alignment.results[pair]
