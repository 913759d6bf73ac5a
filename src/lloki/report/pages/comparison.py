"""The page of a comparison of conditions."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd

from lloki import keys
from lloki.compare import Comparison
from lloki.pl._comparison import (
    ROW,
    contact_map,
    design_grid,
    effect_map,
    forest,
    neighborhoods_by_type,
)
from lloki.pl._figures import WIDTH
from lloki.report import words
from lloki.report.analysis_page import Answer, Section, build_analysis_page
from lloki.report.panels import MOST_POINTS, Shown
from lloki.report.svg import on_axes
from lloki.report.table import Table

_EVIDENCE = {
    "strength": "Evidence",
    "statement": "Finding",
    "effect": "Effect (log2)",
    "interval": "95 % interval",
    "q_value": "FDR (q)",
    "n_units": "Units",
    "panels": "Panels",
    "technologies": "Technologies",
    "would_refute": "What would refute it",
}
_COMPARED = {
    **{"name": "", "effect": "Effect (log2)", "interval": "95 % interval", "q_value": "FDR (q)"},
    **{"n_units": "Units", "n_panels": "Panels"},
}
_LISTED, _DRAWN = 30, 25  # rows of a table and of a figure; all are in the CSV files


def build_comparison_page(
    adata: ad.AnnData,
    found: Comparison,
    *,
    control: str,
    alpha: float,
    min_units: int,
    key_added: str = keys.COMPARE,
    out: str | Path,
) -> Path:
    """Write the page of a comparison of conditions.

    Parameters
    ----------
    adata
        All slices, as :func:`lloki.tl.compare` left them.
    found
        What it returned.
    control, alpha, min_units
        As there.
    key_added
        Prefix of the ``obs`` column.
    out
        The file to write.

    Raises
    ------
    OutputError
        If the page cannot be written there.
    """
    others = sorted(set(found.design["condition"]) - {control})
    units = set(";".join(found.design["units"]).split(";"))
    slices, donors = words.plural(len(found.slices), "slice"), words.plural(len(units), "donor")
    alone = units == set(found.slices)
    which = f"{slices}, each counted as a donor (a unit)" if alone else f"{slices} of {donors} (the units)"
    summary = (
        f"What differs in {words.listed(others)} from {control}? Compared in {which}. Cells are no "
        "replicates; genes are compared only where they were measured."
    )
    label = f"log2 difference to {control}"
    sections = [
        _findings(found),
        _design(found, control),
        _composition(found, alpha, label),
        _expression(found, alpha, label),
        _abundance(adata, found, alpha, label, key_added),
        _neighborhood(found, alpha, label),
    ]
    title = f"{words.listed(others)} against {control}"
    return build_analysis_page(title, summary, sections, answer=_answer(found, min_units, alpha), out=out)


def _answer(found: Comparison, min_units: int, alpha: float) -> Answer:
    untested = [i for i in found.identified if min(i.n_control, i.n_condition) < min_units]
    if len(untested) == len(found.identified):
        reason = " ".join(i.text for i in untested)
        return Answer("Too few units for a test", "poor", reason)
    if all(i.smallest_q > alpha for i in found.identified):
        return Answer("Too few units for a finding", "poor", " ".join(i.text for i in found.identified))
    number = found.evidence["strength"].value_counts()
    confounded = [i.text for i in found.identified if not i.apart]
    if not len(found.evidence):
        reason = "No difference is significant. That is no proof that there is none: see the intervals."
        return Answer("No difference was found", "fair", " ".join([reason, *confounded]))
    by_strength = [f"{number[s]} {s}" for s in ("strong", "moderate", "weak") if s in number]
    text = f"{words.plural(len(found.evidence), 'finding')}: {words.listed(by_strength)}."
    grade = "fair" if confounded or set(number.index) == {"weak"} else "good"
    return Answer("Differences were found", grade, " ".join([text, *confounded]))


def _findings(found: Comparison) -> Section:
    text = (
        "In order of evidence. Strong: with two technologies or more, which agree in direction, and nothing "
        "against it. Weak: the last column names the doubt. The false discovery rate is controlled within "
        "each table and "
        "over all of them, and no finding is listed that other divisions of the same units into two groups "
        "would give as easily: q is at least the share of those that do."
    )
    if not len(found.evidence):
        return Section("Findings", ["None."])
    shown = _with_interval(found.evidence.head(_LISTED))
    table = Table.of(
        shown[list(_EVIDENCE)],
        _EVIDENCE,
        hundredths=("effect",),
        note=words.further(len(found.evidence) - _LISTED, "finding", "evidence.csv"),
    )
    return Section("Findings", [text], tables=[table])


def _design(found: Comparison, control: str) -> Section:
    design = found.design
    panels = len(design.groupby(["technology", "panel"]))
    size = (1.6 + 1.1 * design["condition"].nunique(), 0.5 + 0.45 * panels)
    figure = on_axes(size, lambda ax: design_grid(ax, design, control))
    alt = "Grid of panels and conditions with the number of units of each, and whether it can be compared"
    caption = (
        "Blue: compared with another condition on the same panel. Green: a bridge, whose donors link panels. "
        "Gray: says nothing of the difference in expression."
    )
    headings = {
        **{"condition": "Condition", "technology": "Technology", "panel": "Panel", "n_units": "Units"},
        **{"n_slices": "Slices", "n_cells": "Cells", "role": "Role", "units": "Names"},
    }
    return Section(
        "Design",
        [each.text for each in found.identified],
        [Shown.of(figure, "design", alt, caption)],
        [Table.of(design.assign(units=design["units"].str.replace(";", ", ")), headings)],
    )


def _composition(found: Comparison, alpha: float, label: str) -> Section:
    table = found.composition
    text = (
        "How many cells of each type (and domain), relative to the median type: shares add up to one, "
        "so that "
        "one type that grows makes all others shrink. Points are effects, lines 95 % intervals, findings are "
        "in color."
    )
    return _forest_section("Composition", text, table, table.get("group"), alpha, label, "composition.csv")


def _expression(found: Comparison, alpha: float, label: str) -> Section:
    table = found.expression
    if not len(table):
        return Section("Expression", [_no_expression(found)])
    text = (
        "Counts of each type summed by unit, gene by gene, on the panels that measure it; rings are the "
        "effects "
        "on each panel. Findings first."
    )
    names = table["gene"] + " in " + table["type"] + _conditions(table)
    return _forest_section("Expression", text, table, names, alpha, label, "expression.csv", by_panel=True)


def _no_expression(found: Comparison) -> str:
    if any(i.apart for i in found.identified):
        return "No type has enough cells and counts in enough units."
    return "Not compared: conditions and instruments cannot be distinguished. See the design."


def _abundance(adata: ad.AnnData, found: Comparison, alpha: float, label: str, key_added: str) -> Section:
    table, column = found.abundance, f"{key_added}_abundance"
    if not len(table):
        return Section("")
    text = (
        "The number of cells in neighborhoods of the joint space, without labels; each point is one, in "
        "the row "
        "of the type that most of its cells have."
    )
    if table["confounded"].any():
        text += " Not tested where conditions and instruments cannot be distinguished."
    n = table["type"].nunique()
    shown = []
    for condition, own in table.groupby("condition"):
        draw = partial(neighborhoods_by_type, table=own.reset_index(drop=True), alpha=alpha, label=label)
        figure = on_axes((WIDTH * 1.2, max(ROW * n + 0.6, 1.6)), draw)
        alt = f"Change in abundance of {len(own)} neighborhoods by type, {condition}"
        hits = words.plural(int((own["q_value"] <= alpha).sum()), "finding")
        caption = f"{condition}: {len(own)} neighborhoods, {hits}."
        shown.append(Shown.of(figure, f"abundance-{condition}", alt, caption))
    if keys.UMAP in adata.obsm and column in adata.obs and adata.obs[column].notna().any():
        rows = np.arange(adata.n_obs)
        if len(rows) > MOST_POINTS:
            rows = np.sort(np.random.default_rng(0).choice(len(rows), MOST_POINTS, replace=False))
        xy, effect = np.asarray(adata.obsm[keys.UMAP])[rows], adata.obs[column].to_numpy(float)[rows]
        figure = on_axes((WIDTH * 1.2, WIDTH), lambda ax: effect_map(ax, xy, effect, label=label))
        alt = "UMAP of the joint embedding, colored by the change in abundance"
        shown.append(
            Shown.of(figure, "abundance-umap", alt, "Cells by the mean effect of their neighborhoods.")
        )
    return Section("Abundance without labels", [text], shown)


def _neighborhood(found: Comparison, alpha: float, label: str) -> Section:
    table = found.neighborhood
    if not len(table):
        return Section("")
    text = (
        "Contacts: pairs of neighboring cells of two types, over those expected if the types of the "
        "slice were "
        "shuffled. Distances: from one type to the nearest cell of another, relative to all cells."
    )
    shown = []
    for condition, own in table[table["kind"] == "contact"].groupby("condition"):
        draw = partial(contact_map, contacts=own, alpha=alpha, label=label)
        figure = on_axes((WIDTH * 1.3, WIDTH * 1.1), draw)
        alt = f"Matrix of the change of contacts between types, {condition}"
        caption = f"{condition}: change of contacts. Findings have a dot; blank pairs have too few contacts."
        shown.append(Shown.of(figure, f"contacts-{condition}", alt, caption))
    names = table["kind"] + ": " + table["type"] + " – " + table["neighbor"] + _conditions(table)
    section = _forest_section("Neighborhoods", text, table, names, alpha, label, "neighborhood.csv")
    return Section("Neighborhoods", [text], [*shown, *section.figures], section.tables)


def _conditions(table: pd.DataFrame) -> pd.Series | str:
    return " (" + table["condition"] + ")" if table["condition"].nunique() > 1 else ""


def _forest_section(
    heading: str,
    text: str,
    table: pd.DataFrame,
    names: pd.Series | None,
    alpha: float,
    label: str,
    file: str,
    *,
    by_panel: bool = False,
) -> Section:
    if names is None or not len(table):
        return Section("")
    drawn = table.head(_DRAWN)
    if heading == "Composition":
        names = names + _conditions(table)
    shown_names = [str(n) for n in names.head(_DRAWN)]
    figure = on_axes(
        (WIDTH * 1.4, ROW * len(drawn) + 0.7),
        lambda ax: forest(ax, shown_names, drawn, alpha, label=label, by_panel=by_panel),
    )
    alt = f"{heading}: effects and intervals of the {len(drawn)} differences with the smallest p-values"
    listed = _with_interval(table.head(_LISTED).assign(name=names.head(_LISTED)))
    listed["n_panels"] = listed["panels"].str.count(";") + 1
    listed_table = Table.of(
        listed[list(_COMPARED)],
        {**_COMPARED, "name": heading},
        hundredths=("effect",),
        note=words.further(len(table) - len(listed), "row", file),
    )
    order = ", smallest p first" if drawn["p_value"].notna().any() else ""
    caption = f"{words.plural(len(drawn), 'difference')} of {len(table):,}{order}."
    return Section(heading, [text], [Shown.of(figure, heading.lower(), alt, caption)], [listed_table])


def _with_interval(table: pd.DataFrame) -> pd.DataFrame:
    """Add the interval as text."""
    pairs = zip(table["low"].astype(float), table["high"].astype(float))
    return table.assign(interval=[f"{a:.2f} to {b:.2f}" if np.isfinite(a) else "–" for a, b in pairs])
