"""The comparison of conditions: all tables, and what they amount to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lloki.compare.abundance import compare_abundance
from lloki.compare.composition import compare_composition
from lloki.compare.config import CompareConfig
from lloki.compare.design import Design, Identified, identify
from lloki.compare.evidence import rank_evidence
from lloki.compare.expression import compare_expression, mark_spill_over
from lloki.compare.inputs import Cohort, ConditionSlice
from lloki.compare.multiplicity import adjust_tables
from lloki.compare.neighborhood import compare_neighborhood

Doubles = NDArray[np.float64]
_SHARED = ("effect", "low", "high", "q_value", "n_units")
_MORE = (
    *("condition", "p_value", "n_control", "n_condition", "panels", "panel_effects", "heterogeneity_p"),
    "confounded",
)
COLUMNS = {
    "composition": (
        *("group", *_SHARED, "grouping", *_MORE),
        *("share_control", "share_condition", "p_share"),
    ),
    "expression": (
        *("type", "gene", *_SHARED, "panels", *(c for c in _MORE if c not in ("panels", "confounded"))),
        *("source", "source_ratio", "effect_away", "spill_over"),
    ),
    "abundance": (
        *("neighborhood", *_SHARED, "type", "type_share", "slice", "cell", "n_cells", *_MORE, "p_share"),
    ),
    "neighborhood": ("kind", "type", "neighbor", *_SHARED, *_MORE),
}


@dataclass(frozen=True, eq=False)
class Comparison:
    """Result of a comparison of conditions.

    Attributes
    ----------
    design
        Condition, technology, panel, n_units, n_slices, n_cells, role and units of each group of slices.
    identified
        What the design can distinguish, of each condition.
    composition, expression, abundance, neighborhood
        Tables of differences to the control. All have: effect (log2), low and high (95 % interval), q_value
        (NaN without a test), n_units, condition, p_value, n_control and n_condition (units on either side),
        panels that inform it, panel_effects and heterogeneity_p (whether these agree).
    evidence
        Findings, the best supported first: strength, table, statement, effect, low, high, q_value, n_units,
        panels, technologies (numbers) and what would refute it.
    cell_effect
        (N,) effect of the neighborhoods that a cell is in, slices in the order of ``slices``.
    slices
        Names of the slices.
    relabeled
        Table → condition → (r, f) p-values of all its tests under r labelings of the units, the first of
        which is the observed one; NaN without a test.
    """

    design: pd.DataFrame
    identified: tuple[Identified, ...]
    composition: pd.DataFrame
    expression: pd.DataFrame
    abundance: pd.DataFrame
    neighborhood: pd.DataFrame
    evidence: pd.DataFrame
    cell_effect: Doubles
    slices: tuple[str, ...]
    relabeled: Mapping[str, Mapping[str, Doubles]]

    @property
    def tables(self) -> dict[str, pd.DataFrame]:
        """The four tables of differences by name."""
        return {name: getattr(self, name) for name in COLUMNS}


def compare(
    slices: Sequence[ConditionSlice],
    control: str,
    config: CompareConfig | None = None,
    *,
    advance: Callable[[int], object] | None = None,
) -> Comparison:
    """Compare the conditions of slices, with donors as replicates.

    Parameters
    ----------
    slices
        In any order; with conditions, counts of their own panels, positions and a joint embedding.
    control
        The condition that all others are compared with.
    config
        Parameters.
    advance
        Called with 1 after each of the four tables.

    Raises
    ------
    InputError
        If a slice has no condition, there is no control or nothing else, or a donor is in two conditions.

    Notes
    -----
    Time grows with cells x types for distances, cells x neighborhoods for abundance, and stored counts.
    Memory: the embedding as float32, and types x units x genes.
    """
    config, done = config or CompareConfig(), advance or (lambda _: None)
    design = Design.of([s.facts for s in slices], control)
    by_name = {s.facts.name: s for s in slices}
    most, seed = config.n_relabelings, config.seed
    identified = identify(design, config.min_units, alpha=config.alpha, n_relabelings=most, seed=seed)
    labels = {
        i.condition: design.relabel(i.condition, adjust=i.apart, most=most, seed=seed) for i in identified
    }
    cohort = Cohort(design, tuple(by_name[facts.name] for facts in design.slices), labels)
    raw = {"composition": compare_composition(cohort, identified, config)}
    done(1)
    raw["expression"] = compare_expression(cohort, config)
    done(1)
    raw["abundance"], cell_effect = compare_abundance(cohort, identified, config)
    done(1)
    raw["neighborhood"] = compare_neighborhood(cohort, identified, config)
    done(1)
    tables = adjust_tables(raw, config.alpha, {i.condition: i.smallest_q for i in identified})
    expressed = tables["expression"]
    if len(expressed):
        tables["expression"] = mark_spill_over(
            expressed, cohort, config, (expressed["q_value"] <= config.alpha).to_numpy()
        )
    technologies = {s.token: s.technology for s in design.slices}
    evidence = rank_evidence(tables, config.alpha, technologies)
    cells = np.array([len(s.xy) for s in cohort.slices])
    ordered = {name: _ordered(table, COLUMNS[name]) for name, table in tables.items()}
    return Comparison(
        design=design.table(cells),
        identified=tuple(identified),
        evidence=evidence,
        cell_effect=cell_effect,
        slices=tuple(f.name for f in design.slices),
        relabeled={name: each.relabeled for name, each in raw.items()},
        **ordered,
    )


def _ordered(table: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    if not len(table):
        return pd.DataFrame(columns=list(columns))
    table = table[list(columns)].assign(unsure=table["p_value"].isna())
    table = table.sort_values(["unsure", "p_value"], kind="stable", ignore_index=True)
    return table.drop(columns="unsure")
