"""The page of gene programs."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd

from lloki import keys
from lloki.analysis import Programs
from lloki.pl import _heatmaps as heatmaps
from lloki.pl._coloring import Scale
from lloki.pl._curves import moran_boxes
from lloki.pl._panels import panels_size, slice_panels
from lloki.pl._slots import by_slice, category_shade, in_space
from lloki.pl._viewer import viewer_of
from lloki.report import words
from lloki.report.analysis_page import Section, build_analysis_page
from lloki.report.panels import Shown, maps
from lloki.report.svg import on_axes, on_figure
from lloki.report.table import Table

_GENES = 5  # of a metagene that are named
_PANEL, _DPI = 2.0, 110  # K times as many pictures as slices: smaller ones keep the page small


def build_programs_page(
    adata: ad.AnnData,
    found: Programs,
    *,
    moran: pd.DataFrame,
    enrichment: Mapping[str, pd.DataFrame] | None = None,
    loadings: pd.DataFrame | None = None,
    domains: bool = False,
    slice_key: str = keys.SLICE,
    out: str | Path,
) -> Path:
    """Write the page of metagenes.

    Parameters
    ----------
    adata
        All slices, with states in ``obsm["X_lloki_metagenes"]`` and positions.
    found
        The fit.
    moran
        Of :func:`lloki.tl.moran`.
    enrichment
        Of :func:`lloki.tl.enrichment`, where there are labels.
    loadings
        Of :func:`lloki.tl.gene_loadings`, where slices have counts.
    domains
        Show ``obs["lloki_domain"]`` as well.
    slice_key
        ``obs`` column that names the slices.
    out
        The file to write.

    Raises
    ------
    OutputError
        If the page cannot be written there.
    """
    sections = [
        _in_space(adata, found, enrichment, loadings, slice_key),
        _genes(loadings),
        _types(enrichment),
        _affinity(found),
        _order(moran),
        _domains(adata, slice_key) if domains else Section(""),
    ]
    slices = len(by_slice(adata, slice_key))
    best = [g for names in _named(loadings).values() for g in names]
    viewer = viewer_of(adata, genes=best, first="metagene1", slice_key=slice_key)
    summary = _summary(found, slices, adata.n_obs)
    return build_analysis_page("Gene programs", summary, sections, viewer=viewer, out=out)


def _summary(found: Programs, slices: int, cells: int) -> str:
    k = found.metagenes.shape[1]
    text = (
        f"{words.plural(k, 'gene program')} (metagenes) that {words.plural(slices, 'slice')} of "
        f"{words.plural(cells, 'cell')} share. The fit "
    )
    steps = words.plural(len(found.history), "iteration")
    text += (
        f"converged after {steps}." if found.converged else f"was stopped after {steps}, before it converged."
    )
    if found.unused:
        named = words.listed([str(i + 1) for i in found.unused], most=k)
        verb = "is" if len(found.unused) == 1 else "are"
        text += f" {words.plural(len(found.unused), 'program')} {verb} used by almost no cell: {named}."
    return text


def _in_space(
    adata: ad.AnnData,
    found: Programs,
    enrichment: Mapping[str, pd.DataFrame] | None,
    loadings: pd.DataFrame | None,
    slice_key: str,
) -> Section:
    states, xy = np.asarray(adata.obsm[keys.METAGENES]), in_space(adata, slice_key)
    rows = by_slice(adata, slice_key)
    genes, types = _named(loadings), _users(enrichment)
    positions = {s: xy[r] for s, r in rows.items()}
    size, shown = panels_size(positions, 0.9, panel=_PANEL), []
    for i in range(found.metagenes.shape[1]):
        scale = Scale.of(states[:, i], "state")
        shades = {s: scale.part(r) for s, r in rows.items()}
        draw = partial(slice_panels, positions=positions, shades=shades, whole=scale)
        figure = on_figure(size, draw)
        caption = f"Metagene {i + 1}."
        if i in found.unused:
            caption += " Used by almost no cell."
        name = f"metagene{i + 1}"  # in tables
        if name in types:
            caption += f" Used most by {types[name]}."
        if genes.get(name):
            caption += f" Genes: {', '.join(genes[name])}."
        alt = f"Cells of {words.plural(len(rows), 'slice')} colored by their state in metagene {i + 1}"
        shown.append(Shown.of(figure, f"metagene-{i + 1}", alt, caption, dpi=_DPI))
    text = (
        "The state of every cell in each program. All slices of a row share one color scale, so differences "
        "in brightness are real. Scale bars are in the units of the coordinates."
    )
    if genes:
        text += (
            " Genes listed are those most enriched in cells that use the program, by the mean over the "
            "slices that measured them."
        )
    width = "one" if len(rows) > 2 else "two"
    return Section("In space", [text], shown, width=width, pictures=True)


def _named(loadings: pd.DataFrame | None) -> dict[str, list[str]]:
    """Metagene → genes with the largest mean weights above 0."""
    if loadings is None:
        return {}
    mean = loadings.groupby(["metagene", "gene"], as_index=False)["weight"].mean()
    best = mean[mean["weight"] > 0].sort_values("weight", ascending=False, kind="stable")
    named: dict[str, list[str]] = {}
    for name, gene in zip(best["metagene"], best["gene"]):
        named.setdefault(name, []).append(str(gene))
    return {name: genes[:_GENES] for name, genes in named.items()}


def _users(enrichment: Mapping[str, pd.DataFrame] | None) -> dict[str, str]:
    """Metagene → the type that uses it most, by the mean over slices."""
    if not enrichment:
        return {}
    return {str(name): str(best) for name, best in heatmaps.mean_use(enrichment).idxmax().items()}


def _genes(loadings: pd.DataFrame | None) -> Section:
    if loadings is None:
        return Section("")
    best = loadings[loadings["weight"] > 0].groupby(["metagene", "slice"], sort=False).head(_GENES)
    lists = best.groupby(["metagene", "slice"], sort=False)["gene"].agg(", ".join).unstack().fillna("–")
    slices = list(dict.fromkeys(loadings["slice"]))
    order = [name for name in dict.fromkeys(loadings["metagene"]) if name in lists.index]
    frame = lists.reindex(index=order, columns=slices, fill_value="–").rename_axis("Metagene").reset_index()
    frame["Metagene"] = frame["Metagene"].str.removeprefix("metagene").astype(int)
    text = (
        f"The {_GENES} genes with the highest weights for each program in each slice, among the genes of its "
        "panel. Where panels share genes, the lists should agree. Weights of all genes are in genes.csv: "
        "the number of standard deviations by which a cell that uses this program alone exceeds the mean "
        "cell."
    )
    return Section("Genes", [text], tables=[Table.of(frame.astype(object))])


def _types(enrichment: Mapping[str, pd.DataFrame] | None) -> Section:
    if not enrichment:
        return Section("")
    size = heatmaps.enrichment_size(enrichment)
    figure = on_figure(size, lambda f: heatmaps.enrichment_maps(f, enrichment))
    text = (
        "Which cell types use which programs: the mean state of the cells that use a program at all, "
        "divided by the largest such mean of any slice. The order of programs is the same in all slices, so "
        "slices with the same pattern agree. Types with too few cells in a slice are blank there."
    )
    alt = f"Heat maps of cell types by metagenes in {words.listed(list(enrichment))}"
    shown = Shown.of(figure, "enrichment", alt, f"Slices with labels: {words.listed(list(enrichment))}.")
    return Section("Cell types", [text], [shown], width="one" if len(enrichment) > 1 else "two")


def _affinity(found: Programs) -> Section:
    size = heatmaps.affinity_size(len(found.affinity))
    figure = on_axes(size, lambda ax: heatmaps.affinity_map(ax, found.affinity))
    text = (
        "Which programs are adjacent in the tissue. Below 0, cells of the two are neighbors more often than "
        "by chance; above 0, less often. Values along the diagonal show whether cells of one program "
        "cluster together; most are far beyond the scale, which is set by pairs of different programs."
    )
    shown = Shown.of(
        figure, "affinity", "Heat map of affinities of metagenes", "Affinities of all pairs of programs."
    )
    return Section("Adjacency", [text], [shown])


def _order(moran: pd.DataFrame) -> Section:
    found = {str(name): column.to_numpy() for name, column in moran.items()}
    figure = on_axes((1.5 + len(found), 3.2), lambda ax: moran_boxes(ax, {"metagenes": found}))
    medians = [f"{name} {np.nanmedian(v):.2f}" for name, v in found.items() if np.isfinite(v).any()]
    text = (
        "Spatial autocorrelation of each program (Moran's I): 0 if its cells are scattered at random, 1 if "
        "it forms smooth regions. Programs of scattered cell types are expected to be low. A box spans the "
        "interquartile range of the programs of a slice; the line is their median."
    )
    medians_text = f"Medians: {words.listed(medians, most=12)}."
    shown = Shown.of(figure, "moran", f"Box plots of Moran's I of metagenes. {medians_text}", medians_text)
    return Section("Spatial order", [text], [shown])


def _domains(adata: ad.AnnData, slice_key: str) -> Section:
    coloring = category_shade(adata, keys.DOMAIN)
    text = (
        "Regions with similar neighborhoods in the embedding, found in all slices together: a name and its "
        "color mean the same kind of region everywhere. D1 is the largest."
    )
    shown = maps(adata, coloring, slice_key=slice_key, title="domain", about={})
    return Section("Domains", [text], shown, legend=coloring.legend, width="", pictures=True)
