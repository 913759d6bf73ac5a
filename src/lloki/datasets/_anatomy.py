"""Where the cells of a made-up cortex lie, and what they are. Arrays only.

Positions are written in the tissue's own frame: µm, pia at the top (small y), white matter at the bottom,
as on a microscope's screen.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lloki.datasets._genes import MARKERS

CELL_TYPES: tuple[str, ...] = tuple(MARKERS)
LAYERS: tuple[str, ...] = ("L1", "L2/3", "L4", "L5", "L6", "WM")

UM2_PER_CELL = 330.0  # one cell per 330 µm² of section, about 3,000 per mm²: a 10 µm section of mouse cortex
_ASPECT = 1.6  # mean width over thickness
_ARC = np.deg2rad(64)  # how far the cortex bends from one end of the section to the other

# Share of each cell type in each layer (columns as LAYERS); every column is scaled to 1.
_COMPOSITION: dict[str, tuple[float, ...]] = {
    "L2/3 IT": (0.01, 0.56, 0.03, 0, 0, 0),
    "L4 IT": (0, 0.02, 0.62, 0.02, 0, 0),
    "L5 IT": (0, 0, 0.02, 0.34, 0.03, 0),
    "L5 ET": (0, 0, 0, 0.20, 0.01, 0),
    "L6 CT": (0, 0, 0, 0.03, 0.60, 0.02),
    "Pvalb": (0, 0.05, 0.07, 0.08, 0.04, 0),
    "Sst": (0, 0.03, 0.04, 0.07, 0.05, 0.01),
    "Vip": (0.03, 0.06, 0.02, 0.01, 0.01, 0),
    "Lamp5": (0.24, 0.04, 0.01, 0.02, 0.03, 0),
    "Astro": (0.42, 0.10, 0.08, 0.09, 0.08, 0.14),
    "Oligo": (0.02, 0.01, 0.02, 0.05, 0.07, 0.66),
    "OPC": (0.08, 0.03, 0.03, 0.03, 0.03, 0.08),
    "Micro": (0.12, 0.05, 0.05, 0.05, 0.05, 0.07),
    "Endo": (0.08, 0.03, 0.03, 0.03, 0.03, 0.02),
}


def section(
    n: int, rng: np.random.Generator, factors: NDArray | None = None
) -> tuple[NDArray, NDArray, NDArray[np.intp], NDArray[np.intp]]:
    """Cut one section: positions, depths, layers and cell types of ``n`` cells.

    ``factors`` multiply the share of each type in all layers.

    The cortex is a bent sheet. Its layers follow the depth below the pia; layer 4 thins out toward one end
    (as from sensory to motor cortex), so the section has a left and a right and can be aligned without
    guessing at reflections. Layers waver a little from section to section, and capillaries (radial lines of
    endothelium) lie elsewhere in each.

    Returns
    -------
    xy (n, 2) in µm; depth (n,) from 0 at the pia to 1; layer (n,) index into `LAYERS`; cell type (n,) index
    into `CELL_TYPES`.
    """
    thickness = np.sqrt(n * UM2_PER_CELL / _ASPECT)
    xy, across, depth = _bent_sheet(n, thickness, rng)
    waver = 0.015 * np.sin(2 * np.pi * (across * rng.uniform(1, 3) + rng.uniform()))
    layer = _layer(across, depth + waver + rng.normal(0, 0.012, n))
    shares = np.array([_COMPOSITION[t] for t in CELL_TYPES])
    if factors is not None:
        shares = shares * factors[:, None]
    cumulative = np.cumsum(shares / shares.sum(axis=0), axis=0)
    kind = (rng.random(n)[:, None] > cumulative.T[layer]).sum(axis=1)
    vessels = rng.uniform(size=max(1, round(_ASPECT * thickness / 160)))
    near = (np.abs(across[:, None] - vessels) * _ASPECT * thickness).min(axis=1) < 9.0
    kind[near & (rng.random(n) < 0.6)] = CELL_TYPES.index("Endo")
    return xy, depth, layer, np.minimum(kind, len(CELL_TYPES) - 1)


def _bent_sheet(n: int, thickness: float, rng: np.random.Generator) -> tuple[NDArray, NDArray, NDArray]:
    """Positions (n, 2), place along the sheet in [0, 1] and depth in [0, 1], at even density."""
    inner = _ASPECT * thickness / _ARC - thickness / 2  # radius of the white-matter side
    outer = inner + thickness
    half = outer * np.sin(_ARC / 2)
    low = inner * np.cos(_ARC / 2)
    area = _ARC / 2 * (outer**2 - inner**2)
    # A jittered grid, slightly too fine, then thinned to n: cells keep their distance, as real ones do.
    step = np.sqrt(area / (n * 1.05 + 20))
    while True:
        x, y = np.meshgrid(np.arange(-half, half, step), np.arange(low, outer, step))
        points = np.column_stack([x.ravel(), y.ravel()]) + rng.uniform(-0.4, 0.4, (x.size, 2)) * step
        radius, angle = np.hypot(*points.T), np.arctan2(points[:, 0], points[:, 1])
        inside = np.flatnonzero((radius >= inner) & (radius < outer) & (np.abs(angle) < _ARC / 2))
        if inside.size >= n:
            break
        step *= 0.97
    keep = np.sort(rng.choice(inside, n, replace=False))
    xy = np.column_stack([points[keep, 0], outer - points[keep, 1]])
    return xy, angle[keep] / _ARC + 0.5, (outer - radius[keep]) / thickness


def _layer(across: NDArray, depth: NDArray) -> NDArray[np.intp]:
    """Layer of every cell; layer 4 gives way to layers 2/3 and 5 between 55 % and 95 % of the width."""
    t = np.clip((across - 0.55) / 0.4, 0, 1)
    half_l4 = 0.075 * (1 - t * t * (3 - 2 * t))
    bounds = np.column_stack(
        [
            np.full_like(depth, 0.09),
            0.41 - half_l4,
            0.41 + half_l4,
            np.full_like(depth, 0.68),
            np.full_like(depth, 0.9),
        ]
    )
    return (depth[:, None] >= bounds).sum(axis=1)
