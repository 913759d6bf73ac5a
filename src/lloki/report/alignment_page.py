"""The page of an alignment: one HTML file that holds everything it shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from anndata import AnnData
from numpy.typing import NDArray

from lloki import keys
from lloki.align import AlignResult, Warp
from lloki.pl import _alignment as drawing
from lloki.pl._figures import WIDTH
from lloki.pl._points import section_ratio
from lloki.pl._slots import unit_of
from lloki.pl._viewer import COMMON_FRAME, TISSUE, viewer_of
from lloki.report import words
from lloki.report.page import write_page
from lloki.report.panels import Shown, section_figure
from lloki.report.svg import on_axes, on_figure

_GRADES = {"aligned": "good", "ambiguous": "fair", "failed": "poor"}


@dataclass(frozen=True, eq=False)
class Pair:
    """Two slices and their alignment.

    Attributes
    ----------
    fixed_xy, moving_xy
        (n, 2) and (m, 2), as given.
    result
        Of :func:`lloki.align.align`.
    warp
        Deformation after it, if there was one.
    """

    fixed_xy: NDArray
    moving_xy: NDArray
    result: AlignResult
    warp: Warp | None = None


def build_alignment_page(
    pairs: Mapping[tuple[str, str], Pair],
    *,
    placed: Mapping[str, NDArray],
    summary: str,
    cells: AnnData | None = None,
    slice_key: str = keys.SLICE,
    out: str | Path,
) -> Path:
    """Write ``alignment.html``, a page without links to anything outside it.

    Parameters
    ----------
    pairs
        (name of the fixed slice, name of the moving one) → their alignment.
    placed
        Slice → (n, 2) its cells in the common frame: all that have a place there.
    summary
        A sentence or two to begin with.
    cells
        All cells, with positions in the common frame: for the viewer, and the unit of the slices.
    slice_key
        ``obs`` column that names the slices.
    out
        The file to write.

    Raises
    ------
    OutputError
        If the page cannot be written there.
    """
    units = {s: "" if cells is None else unit_of(cells, s) for s in placed}
    shown = [
        {
            "fixed": fixed,
            "moving": moving,
            "word": pair.result.verdict.word,
            "grade": _GRADES[pair.result.verdict.word],
            "reason": pair.result.verdict.reason,
            "figures": _figures(f"{fixed}-{moving}", pair, units.get(fixed, "")),
            "rows": _rows(pair.result, units.get(fixed, "")),
        }
        for (fixed, moving), pair in pairs.items()
    ]
    xy, coloring = drawing.placed_cells(placed)
    stated = set(units.values())
    figure = section_figure(xy, coloring, stated.pop() if len(stated) == 1 else "")
    everything = Shown.of(figure, "whole", "All slices in the common frame", "Each slice has its color.")
    viewer = None
    if cells is not None:
        frames = (COMMON_FRAME, TISSUE)
        viewer = viewer_of(cells, first=slice_key, panels=frames, slice_key=slice_key)
    return write_page(
        "alignment.html.j2",
        out,
        summary=summary,
        pairs=shown,
        whole=everything,
        legend=coloring.legend,
        viewer=viewer,
    )


def _figures(salt: str, pair: Pair, unit: str) -> list[Shown]:
    result = pair.result
    moved = result.moved if pair.warp is None else pair.warp.apply(result.moved)
    clouds = (pair.fixed_xy, pair.moving_xy, moved)
    size = (WIDTH * 1.2, WIDTH * section_ratio(moved) + 0.2)
    made = [
        (
            on_figure(
                drawing.overlay_size(*clouds),
                lambda figure: drawing.overlay(figure, *clouds, result.in_overlap, unit=unit),
            ),
            "Both slices drawn on one another, before and after",
            "The fixed slice is blue, the moving one orange; gray cells lie outside the fixed tissue.",
        ),
        (
            on_axes((WIDTH, WIDTH * 0.72), lambda ax: drawing.rotation_curve(ax, result)),
            "Agreement at the best translation of every rotation",
            "Agreement at every rotation, at its best translation, on the coarse images of the search. A "
            "reliable alignment has a single, isolated peak.",
        ),
        (
            on_axes(size, lambda ax: drawing.residuals(ax, result, unit=unit)),
            "Matched cells and how far apart they are",
            f"{len(result.landmarks):,} matched pairs of cells; the more confident half is drawn, with a "
            f"line from the moved to the fixed cell. Median distance {_number(result.residual, unit)}.",
        ),
    ]
    if pair.warp is not None:
        at, (move, strain) = (
            result.moved,
            (pair.warp.displacement(result.moved), pair.warp.strain(result.moved)),
        )
        made.append(
            (
                on_axes(size, lambda ax: drawing.deformation(ax, at, move, strain, unit=unit)),
                "Displacement and strain after the rigid step",
                "The deformation that followed the rigid step: displacement as lines, strain in color.",
            )
        )
    return [Shown.of(f, f"{salt}-{i}", alt, caption) for i, (f, alt, caption) in enumerate(made)]


def _rows(result: AlignResult, unit: str) -> list[tuple[str, str]]:
    t, error = result.transform, result.precision
    return [
        ("rotation", f"{t.degrees:.2f}° ± {_number(error.degrees)}°{', mirrored' if t.reflected else ''}"),
        ("translation", f"{' and '.join(_number(v) for v in t.translation)} {unit}".strip()),
        ("scale", f"{t.scale:.4g}"),
        ("standard error of a cell's place", _number(error.distance, unit)),
        ("spacing of cells, fixed and moving", " and ".join(_number(s) for s in result.spacing)),
        ("share of moving cells in fixed tissue", f"{result.overlap[0]:.0%}"),
        ("share of fixed cells in moving tissue", f"{result.overlap[1]:.0%}"),
        ("agreement (z)", f"{result.verdict.z:.1f}"),
        ("above any other pose", f"{result.verdict.margin:.1f}"),
        *(("next best" if i == 0 else "then", str(r)) for i, r in enumerate(result.verdict.rivals[:3])),
    ]


def _number(value: float, unit: str = "") -> str:
    return f"{words.number(float(value))} {unit}".strip() if np.isfinite(value) else "unknown"
