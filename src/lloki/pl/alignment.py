"""Slices brought into one frame."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lloki.errors import InputError
from lloki.pl._slots import INK, with_legend

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from lloki.align import Alignment, AlignResult


def overlay(alignment: Alignment, moving: str | None = None) -> Figure:
    """Draw a slice on the one that it was aligned with, before and after.

    Parameters
    ----------
    alignment
        As :func:`lloki.tl.align_slices` returned it.
    moving
        Name of the slice; may be left out where only one was aligned. In a stack, a pair ``"FIXED MOVING"``
        is drawn as it was aligned by itself.

    Raises
    ------
    InputError
        No such slice was aligned, or several were and none is named.
    """
    from lloki.report import alignment as figures

    (fixed, name), result = _aligned_pair(alignment, moving)
    moved = result.moved
    if name in alignment.warps:
        moved = alignment.warps[name].apply(moved)
    positions = alignment.positions
    return figures.overlay(positions[fixed], positions[name], moved, result.in_overlap, ink=INK)


def residuals(alignment: Alignment, moving: str | None = None) -> Figure:
    """Draw the matched cells of an alignment and how far apart they are; parameters as for `overlay`."""
    from lloki.report import alignment as figures

    return figures.residuals(_aligned_pair(alignment, moving)[1], ink=INK)


def rotations(alignment: Alignment, moving: str | None = None) -> Figure:
    """Draw how well two slices agree at every rotation; parameters as for `overlay`."""
    from lloki.report import alignment as figures

    return figures.rotation_curve(_aligned_pair(alignment, moving)[1], ink=INK)


def deformation(alignment: Alignment, moving: str | None = None) -> Figure:
    """Draw the deformation that followed the rigid step; parameters as for `overlay`."""
    from lloki.report import alignment as figures

    (_, name), result = _aligned_pair(alignment, moving)
    if name not in alignment.warps:
        raise InputError("was not deformed", where=name, hint="Align with nonrigid=BOUND.")
    warp = alignment.warps[name]
    moved = result.moved
    return figures.deformation(moved, warp.displacement(moved), warp.strain(moved), ink=INK)


def aligned(alignment: Alignment) -> Figure:
    """Draw all slices that have a place in the common frame, colored by slice, with a legend."""
    from lloki.report.alignment_page import all_placed

    figure, legend = all_placed(alignment.placed, ink=INK)
    return with_legend(figure, legend, "slice")


def _aligned_pair(alignment: Alignment, moving: str | None) -> tuple[tuple[str, str], AlignResult]:
    known = {(f"{f} {m}" if alignment.stack is not None else m): (f, m) for f, m in alignment.results}
    if moving is None and len(known) == 1:
        moving = next(iter(known))
    if moving not in known:
        said = "several slices were aligned" if moving is None else f"{moving!r} was not aligned"
        raise InputError(said, hint=f"Name one of: {', '.join(known)}.")
    pair = known[moving]
    return pair, alignment.results[pair]
