"""The page of gene programs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd

from lloki import keys
from lloki.analysis import Programs
from lloki.report import metagenes as figures
from lloki.report import words
from lloki.report.analysis_page import Section, build_analysis_page
from lloki.report.coloring import Coloring
from lloki.report.figures import INK
from lloki.report.panels import Shown, by_slice, maps
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
    return build_analysis_page("Gene programs", _summary(found, slices, adata.n_obs), sections, out=out)


def _summary(found: Programs, slices: int, cells: int) -> str:
    k = found.metagenes.shape[1]
    text = (
        f"{words.plural(k, 'gene program')} (metagenes) that {words.plural(slices, 'slice')} of "
        f"{words.plural(cells, 'cell')} share. The fit "
    )
    steps = words.plural(len(found.history), "iteration")
    text += f"settled after {steps}." if found.converged else f"was ended after {steps}, before it settled."
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
    states, xy = np.asarray(adata.obsm[keys.METAGENES]), np.asarray(adata.obsm[keys.SPATIAL])
    rows = by_slice(adata, slice_key)
    genes, types = _named(loadings), _users(enrichment)
    shown = []
    for i in range(found.metagenes.shape[1]):
        figure = figures.in_space(
            {s: xy[r] for s, r in rows.items()},
            {s: states[r, i] for s, r in rows.items()},
            label="how much of it",
            panel=_PANEL,
            ink=INK,
        )
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
        "How much of each program a cell has, where it lies. All slices of a row have one color scale, so "
        "what is bright in one and dark in another does differ. Bars give lengths in the units of the "
        "coordinates."
    )
    if genes:
        text += (
            " Genes are those that cells with the program have more of than others, by the mean over the "
            "slices that measured them."
        )
    return Section("In space", [text], shown, width="one" if len(rows) > 2 else "two")


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
    return {str(name): str(best) for name, best in figures.mean_use(enrichment).idxmax().items()}


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
        f"The {_GENES} genes of each program that stand out most in each slice, out of those that its panel "
        "has. Where panels have the same genes, the same ones should come up. Weights of all genes are in "
        "genes.csv: standard deviations of the gene by which a cell that uses this program alone lies above "
        "the mean cell."
    )
    return Section("Genes", [text], tables=[Table.of(frame.astype(object))])


def _types(enrichment: Mapping[str, pd.DataFrame] | None) -> Section:
    if not enrichment:
        return Section("")
    figure = figures.enrichment_maps(enrichment, ink=INK)
    text = (
        "Which cell types use which programs: the mean state of cells that use it at all, over the largest "
        "of any slice. Programs stand in one order for all slices, so that the same pattern means that "
        "slices agree. Types with too few cells in a slice are blank there."
    )
    alt = f"Heat maps of cell types by metagenes in {words.listed(list(enrichment))}"
    shown = Shown.of(figure, "enrichment", alt, f"Slices with labels: {words.listed(list(enrichment))}.")
    return Section("Cell types", [text], [shown], width="one" if len(enrichment) > 1 else "two")


def _affinity(found: Programs) -> Section:
    figure = figures.affinity_map(found.affinity, ink=INK)
    text = (
        "Which programs lie next to which in the tissue. Below 0, cells of the two are neighbors more often "
        "than by chance; above 0, less often. Values along the diagonal tell whether cells of one program "
        "keep together; they are mostly far beyond the scale, which is set by pairs of different programs."
    )
    shown = Shown.of(
        figure, "affinity", "Heat map of affinities of metagenes", "Affinities of all pairs of programs."
    )
    return Section("Side by side", [text], [shown])


def _order(moran: pd.DataFrame) -> Section:
    found = {str(name): column.to_numpy() for name, column in moran.items()}
    figure = figures.moran_boxes({"metagenes": found}, ink=INK)
    medians = [f"{name} {np.nanmedian(v):.2f}" for name, v in found.items() if np.isfinite(v).any()]
    text = (
        "How far neighboring cells have like states (Moran's I): 0 if a program is strewn about at random, "
        "1 if it lies in smooth regions. Programs of scattered cell types are low without anything being "
        "wrong. A box holds the middle half of the programs of a slice, the line is their median."
    )
    said = f"Medians: {words.listed(medians, most=12)}."
    shown = Shown.of(figure, "moran", f"Box plots of Moran's I of metagenes. {said}", said)
    return Section("Spatial order", [text], [shown])


def _domains(adata: ad.AnnData, slice_key: str) -> Section:
    coloring = Coloring.of(adata.obs[keys.DOMAIN])
    text = (
        "Regions whose surroundings are alike in the embedding, found in all slices together: one name and "
        "color is the same kind of region everywhere. D1 is the largest."
    )
    shown = maps(adata, coloring, slice_key=slice_key, title="domain", about={})
    return Section("Domains", [text], shown, legend=coloring.legend, width="")
