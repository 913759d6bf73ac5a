"""The figures as the page shows them: drawn, captioned, and described for those who cannot see them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import anndata as ad
import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy import sparse

from lloki import keys
from lloki._parts import row_blocks
from lloki.pl._coloring import Coloring, Legend
from lloki.pl._curves import loss_curves, sparsity_curves
from lloki.pl._figures import WIDTH
from lloki.pl._points import embedding, section, section_ratio
from lloki.pl._slots import by_slice, category_shade, in_space, unit_of
from lloki.pl._violins import violins
from lloki.report import words
from lloki.report.svg import on_axes, to_svg

MOST_POINTS = 60_000  # drawn in one figure: more cannot be distinguished at this size


_CURVES = (WIDTH, WIDTH * 0.72)


@dataclass(frozen=True)
class Shown:
    """A figure on the page."""

    svg: Markup
    alt: str
    caption: str

    @classmethod
    def of(cls, figure: Figure, name: str, alt: str, caption: str, *, dpi: int = 200) -> Shown:
        """Turn a figure into a part of a page, on which no other has its name."""
        return cls(Markup(to_svg(figure, salt=name, dpi=dpi)), alt, caption)


def colorings(joint: ad.AnnData, label_key: str | None) -> dict[str, Coloring]:
    """Color all cells by slice, technology, cluster and label, as far as ``obs`` has them.

    Technologies are left out where each slice has its own: the two figures would be the same.
    """
    wanted = [k for k in (keys.SLICE, keys.TECHNOLOGY, keys.CLUSTER, label_key) if k is not None]
    there = [k for k in wanted if k in joint.obs]
    if keys.SLICE in there and keys.TECHNOLOGY in there:
        pairs = joint.obs[[keys.SLICE, keys.TECHNOLOGY]].astype(str).drop_duplicates()
        if len(pairs) == pairs[keys.SLICE].nunique() == pairs[keys.TECHNOLOGY].nunique():
            there.remove(keys.TECHNOLOGY)
    return {k: category_shade(joint, k) for k in there}


def umaps(joint: ad.AnnData, by: Mapping[str, Coloring], label_key: str | None) -> list[tuple[Shown, Legend]]:
    """Draw the joint embedding once per coloring, each with its legend."""
    if keys.UMAP not in joint.obsm:
        return []
    xy = np.asarray(joint.obsm[keys.UMAP])
    rows, left_out = _drawn(len(xy))
    shown = []
    for key, coloring in by.items():
        title = _title(key, label_key)
        alt = f"Scatter plot of the joint embedding, {len(rows):,} cells colored by {title}: "
        figure = Shown.of(
            _embedding(xy[rows], coloring.part(rows)),
            f"umap-{key}",
            alt + words.listed(coloring.names, most=12),
            f"Colored by {title}.{left_out}",
        )
        shown.append((figure, coloring.legend))
    return shown


def sections(
    joint: ad.AnnData, by: Mapping[str, Coloring], label_key: str | None
) -> list[tuple[str, str, list[Shown]]]:
    """Map every slice: its name, a few words about it, and a figure per coloring."""
    if keys.SPATIAL not in joint.obsm or keys.SLICE not in joint.obs or not by:
        return []
    xy, names = in_space(joint, keys.SLICE), joint.obs[keys.SLICE].astype(str).to_numpy()
    technology = joint.obs[keys.TECHNOLOGY].astype(str).to_numpy() if keys.TECHNOLOGY in joint.obs else None
    flat = " The third coordinate is not drawn." if xy.shape[1] > 2 else ""
    shown = []
    for name in dict.fromkeys(names):
        cells = np.flatnonzero(names == name)
        drawn, left_out = _drawn(len(cells))
        rows = cells[drawn]
        maps = [
            Shown.of(
                section_figure(xy[rows], coloring.part(rows), unit_of(joint, name)),
                f"section-{name}-{key}",
                f"Map of {len(rows):,} cells of slice {name}, colored by {_title(key, label_key)}",
                f"By {_title(key, label_key)}.{flat}{left_out}",
            )
            for key, coloring in by.items()
        ]
        about = words.plural(len(cells), "cell")
        if technology is not None:
            about = f"{technology[cells[0]]}, {about}"
        shown.append((name, about, maps))
    return shown


def maps(
    adata: ad.AnnData, coloring: Coloring, *, slice_key: str, title: str, about: Mapping[str, str]
) -> list[Shown]:
    """Map every slice in one coloring, called ``title``; ``about`` is what else the captions contain."""
    xy = in_space(adata, slice_key)
    shown = []
    for name, cells in by_slice(adata, slice_key).items():
        drawn, left_out = _drawn(len(cells))
        rows = cells[drawn]
        caption = f"{name}: {about.get(name, words.plural(len(cells), 'cell'))}.{left_out}".lstrip(": ")
        alt = f"Map of {len(rows):,} cells of slice {name}, colored by {title}"
        figure = section_figure(xy[rows], coloring.part(rows), unit_of(adata, name))
        shown.append(Shown.of(figure, f"map-{name}-{title}", alt, caption))
    return shown


def quality_control(joint: ad.AnnData, by: Mapping[str, Coloring]) -> list[Shown]:
    """Draw counts and detected genes of the cells of every slice, if there are counts."""
    if joint.X is None or not joint.n_vars or keys.SLICE not in by:
        return []
    blocks = list(map(_per_cell, row_blocks(joint.layers.get(keys.COUNTS, joint.X))))
    totals, detected = (np.concatenate(parts) for parts in zip(*blocks))
    rows, colors = by_slice(joint, keys.SLICE), {n: c for n, c, _ in by[keys.SLICE].legend}
    size = (WIDTH * 1.4, 0.8 + 0.42 * len(rows))
    shown = []
    for name, what, values in (
        ("counts", "Counts per cell", totals),
        ("genes", "Genes detected per cell", detected),
    ):
        of = {s: values[r] for s, r in rows.items()}
        medians = words.listed([f"{s} {np.median(v):,.0f}" for s, v in of.items()], most=8)
        draw = partial(violins, values=of, colors=colors, label=what, log=True)
        alt = f"Violins of {what.lower()} in every slice. Medians: {medians}"
        shown.append(Shown.of(on_axes(size, draw), f"qc-{name}", alt, f"{what}; lines are medians."))
    return shown


def _per_cell(x: sparse.csr_matrix) -> tuple[NDArray, NDArray]:
    """Count the transcripts and the detected genes of cells (n, g): (n,) and (n,)."""
    return np.asarray(x.sum(axis=1)).ravel(), np.diff(x.indptr)


def sparsity(by_slice: Mapping[str, Mapping[str, NDArray]]) -> list[Shown]:
    """Draw the sparsity per cell of every slice: before, target and after."""
    shown = []
    for name, given in by_slice.items():
        values = {k: np.asarray(given.get(k, ()), dtype=float) for k in ("before", "target", "after")}
        means = ", ".join(f"{k} {np.nanmean(v):.2f}" for k, v in values.items() if np.isfinite(v).any())
        shown.append(
            Shown.of(
                on_axes(
                    _CURVES,
                    partial(
                        sparsity_curves,
                        before=values["before"],
                        target=values["target"],
                        after=values["after"],
                    ),
                ),
                f"sparsity-{name}",
                f"Cumulative curves of sparsity per cell in slice {name}. Means: {means}",
                f"{name}. Means: {means}.",
            )
        )
    return shown


def losses(table: pd.DataFrame) -> list[Shown]:
    """Draw total and validation loss together, the weighted parts together, and each bare part by itself.

    What follows from ``monitor_`` columns is among the run's messages.
    """
    table = table.rename(columns=lambda c: str(c).replace("weighted_", "weighted "))
    columns = [
        c for c in table.columns if c != "step" and not c.startswith("monitor_") and table[c].notna().any()
    ]
    if table.empty or not columns:
        return []
    steps = table["step"].to_numpy(float) if "step" in table else np.arange(len(table), dtype=float)
    together = [
        [c for c in columns if c in ("total", "validation")],
        [c for c in columns if c.startswith("weighted ")],
    ]
    alone = [[c] for c in columns if not any(c in group for group in together)]
    groups = [group for group in together if group] + alone
    shown = []
    for group in groups:
        series = {c: table[c].to_numpy(float) for c in group}
        ends = ", ".join(f"{c} {words.number(float(table[c].dropna().iloc[-1]))}" for c in group)
        shown.append(
            Shown.of(
                on_axes(_CURVES, partial(loss_curves, steps=steps, series=series)),
                f"loss-{group[0]}".replace(" ", "-"),
                f"Curve of {words.listed(group)} loss over {int(steps.max()):,} optimizer steps",
                f"{words.listed(group).capitalize()} loss. At the end: {ends}.",
            )
        )
    return shown


def section_figure(xy: NDArray, coloring: Coloring, unit: str = "") -> Figure:
    """Draw a slice without a legend, which the page has beside it; the scale bar has the unit, if known."""
    size = (WIDTH, WIDTH * section_ratio(xy) + 0.2)
    return on_axes(size, lambda ax: section(ax, xy, coloring, unit=unit))


def _embedding(xy: NDArray, coloring: Coloring) -> Figure:
    return on_axes((WIDTH, WIDTH), lambda ax: embedding(ax, xy, coloring))


def _drawn(n: int) -> tuple[NDArray, str]:
    """Rows to draw of ``n``, and the words for what was left out."""
    if n <= MOST_POINTS:
        return np.arange(n), ""
    rows = np.sort(np.random.default_rng(0).choice(n, MOST_POINTS, replace=False))
    return rows, f" {MOST_POINTS:,} of {n:,} cells are drawn, chosen at random."


def _title(key: str, label_key: str | None) -> str:
    """Name a coloring in a caption."""
    if key == keys.CLUSTER:
        return "cluster"
    return f"label ({key})" if key == label_key else key
