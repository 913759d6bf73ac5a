"""Differential expression of each type, gene by gene, where the gene was measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse
from scipy.spatial import cKDTree

from lloki.compare.config import CompareConfig
from lloki.compare.counts import library_sizes, log_rates
from lloki.compare.design import Design
from lloki.compare.inputs import Cohort
from lloki.compare.linear import Compared, compare_conditions

Doubles = NDArray[np.float64]
_REMAINS = 0.5  # share of an effect that must remain away from the source type
_AMBIENT = (
    0.1  # share of a cell's transcripts that may come from the whole slice; platforms have a few percent
)


@dataclass(frozen=True, eq=False)
class Pseudobulk:
    """Sums of counts over the cells of each type in each observation.

    Attributes
    ----------
    genes
        (g,) the union of all panels.
    counts
        (t, n, g) sums.
    cells
        (t, n) numbers of cells.
    measured
        (n, g) where all slices of an observation measured a gene.
    """

    genes: tuple[str, ...]
    counts: Doubles
    cells: Doubles
    measured: NDArray[np.bool_]

    @classmethod
    def of(cls, cohort: Cohort, chosen: list[NDArray[np.bool_]] | None = None) -> Pseudobulk:
        """Sum the counts of all cells, or of those chosen in each slice (n,)."""
        genes = sorted({g for s in cohort.slices for g in s.genes})
        n, types = len(cohort.design.unit), len(cohort.types)
        counts, cells = np.zeros((types, n, len(genes))), np.zeros((types, n))
        measured = np.ones((n, len(genes)), bool)
        for i, (s, at, code) in enumerate(zip(cohort.slices, cohort.design.observation, cohort.codes)):
            columns = np.searchsorted(genes, s.genes)
            kept = np.flatnonzero((code >= 0) & (True if chosen is None else chosen[i]))
            member = sparse.csr_matrix(
                (np.ones(len(kept)), (code[kept], kept)), shape=(types, len(code)), dtype=float
            )
            counts[:, at, columns] += (member @ s.counts).toarray()
            cells[:, at] += np.bincount(code[kept], minlength=types)
            there = np.zeros(len(genes), bool)
            there[columns] = True
            measured[at] &= there
        return cls(tuple(genes), counts, cells, measured)


def compare_expression(cohort: Cohort, config: CompareConfig) -> Compared:
    """Compare the expression of every type.

    Counts are summed by unit and panel group over the cells of a type. Only genes that a panel measures are
    compared on it, never imputed values; a panel with one condition says nothing, unless donors that were
    measured on another panel too link it.

    Returns
    -------
    See :func:`lloki.compare.compare`. Empty where conditions and panels cannot be distinguished.
    """
    if not cohort.types:
        return Compared(pd.DataFrame(), {})
    bulk, parts = Pseudobulk.of(cohort), []
    for t, name in enumerate(cohort.types):
        found = _of_type(bulk, t, cohort, config, labels=cohort.labels)
        if len(found.table):
            found.table.insert(0, "type", name)
            found.table.insert(1, "gene", np.array(bulk.genes)[found.table["feature"]])
            parts.append(found)
    return Compared.join(parts)


def _of_type(
    bulk: Pseudobulk,
    t: int,
    cohort: Cohort,
    config: CompareConfig,
    labels: Mapping[str, NDArray[np.bool_]] | None = None,
) -> Compared:
    design, enough = cohort.design, bulk.cells[t] >= config.min_cells
    sizes = library_sizes(bulk.counts[t], bulk.measured, enough, design, min_count=config.min_count)
    measured = bulk.measured & enough[:, None] & ~_ambient(bulk, t, design)
    y, v, mask = log_rates(bulk.counts[t], sizes, measured, design, min_count=config.min_count)
    return compare_conditions(
        y, v, mask, design, min_units=config.min_units, limit_prior=False, labels=labels
    )


def _ambient(bulk: Pseudobulk, t: int, design: Design) -> NDArray[np.bool_]:
    """(n, g) genes of which ambient transcripts may be half of what a type has, on a panel group.

    They would show every change of another type. Conditions are not looked at. Rates are those of a cell, not
    of its transcripts: the fewer a cell has of its own, the more of them are ambient.
    """
    found = np.zeros(bulk.measured.shape, bool)
    for token in design.tokens:
        own = design.token == token
        rate = bulk.counts[t, own].sum(axis=0) / max(bulk.cells[t, own].sum(), 1.0)
        mixed = bulk.counts[:, own].sum(axis=(0, 1)) / max(bulk.cells[:, own].sum(), 1.0)
        found[own] = rate < 2 * _AMBIENT * mixed
    return found


def mark_spill_over(
    table: pd.DataFrame, cohort: Cohort, config: CompareConfig, findings: NDArray[np.bool_]
) -> pd.DataFrame:
    """Add the columns source, source_ratio, effect_away and spill_over to a table of expression.

    The source of a gene is the type that expresses it most, on the panels that were compared. Where that is
    another type than the one with the finding, transcripts of the source may be all there is to it:
    ``spill_over`` is

    ``"ambient"``
        if a tenth of the change of the whole slices would explain half of the effect or more;
    ``"neighbors"``
        if less than half of the effect remains when the comparison is repeated with the cells that have none
        of the source among their nearest in space;
    ``"unknown"``
        if too few cells are away from the source for that; else ``""``.
    """
    table = table.assign(source="", source_ratio=np.nan, effect_away=np.nan, spill_over="")
    if not findings.any():
        return table
    bulk, design = Pseudobulk.of(cohort), cohort.design
    near = nearest_cells(cohort, config.contact_neighbors)
    totals = bulk.counts.sum(axis=2)
    mixed = bulk.counts.sum(axis=0) / np.maximum(bulk.cells.sum(axis=0), 1)[:, None]
    rest: dict[int, Pseudobulk] = {}
    away: dict[tuple[int, int], pd.DataFrame] = {}
    for i in np.flatnonzero(findings):
        row = table.iloc[i]
        gene, t = row["feature"], cohort.types.index(row["type"])
        on = np.isin(design.token, row["panels"].split(";"))
        rate = bulk.counts[:, on, gene].sum(axis=1) / np.maximum(totals[:, on].sum(axis=1), 1)
        rate[bulk.cells[:, on].sum(axis=1) < config.min_cells] = 0.0
        source = int(rate.argmax())
        table.loc[i, ["source", "source_ratio"]] = cohort.types[source], rate[source] / max(rate[t], 1e-12)
        if source == t:
            continue
        sides = [on & (design.condition == c) for c in (design.control, row["condition"])]
        change = mixed[sides[1], gene].mean() - mixed[sides[0], gene].mean()
        own_rate = bulk.counts[t, on, gene].sum() / max(bulk.cells[t, on].sum(), 1.0)
        half = own_rate * (2.0 ** (row["effect"] / 2) - 1)
        if _AMBIENT * change * np.sign(row["effect"]) >= abs(half):
            table.loc[i, "spill_over"] = "ambient"
            continue
        if source not in rest:
            rest[source] = Pseudobulk.of(cohort, away_from(cohort, source, near))
        if (source, t) not in away:
            away[source, t] = _of_type(rest[source], t, cohort, config).table.set_index(
                ["feature", "condition"]
            )
        if (gene, row["condition"]) not in away[source, t].index:
            table.loc[i, "spill_over"] = "unknown"
            continue
        effect = float(away[source, t].loc[(gene, row["condition"]), "effect"])
        table.loc[i, "effect_away"] = effect
        if effect * np.sign(row["effect"]) < _REMAINS * abs(row["effect"]):
            table.loc[i, "spill_over"] = "neighbors"
    return table


def nearest_cells(cohort: Cohort, n_neighbors: int) -> list[NDArray[np.int64]]:
    """(n, k) of each slice: the nearest cells in space, the cell itself among them."""
    return [
        np.reshape(cKDTree(s.xy).query(s.xy, min(n_neighbors + 1, len(s.xy)))[1], (len(s.xy), -1))
        for s in cohort.slices
    ]


def away_from(cohort: Cohort, source: int, near: list[NDArray[np.int64]]) -> list[NDArray[np.bool_]]:
    """(n,) of each slice: cells that have none of a type among their nearest in space."""
    return [~(code == source)[own].any(axis=1) for code, own in zip(cohort.codes, near)]
