"""Composition: how many cells each condition has of a type or domain, relative to the others."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from lloki.compare.config import CompareConfig
from lloki.compare.counts import log_rates
from lloki.compare.design import Design, Identified
from lloki.compare.inputs import Cohort, coded
from lloki.compare.linear import compare_conditions

Doubles = NDArray[np.float64]


def compare_composition(cohort: Cohort, identified: list[Identified], config: CompareConfig) -> pd.DataFrame:
    """Compare the composition of types, and of domains where there are some.

    Returns
    -------
    See :func:`lloki.compare.compare`. ``effect`` is the log2 ratio of a group's share, relative to the median
    group; ``p_share`` that of the share itself.
    """
    design, tables = cohort.design, []
    kinds = {"type": (list(cohort.types), cohort.codes)}
    domains = sorted(
        {str(t) for s in cohort.slices if s.domains is not None for t in np.unique(s.domains)} - {""}
    )
    kinds["domain"] = (domains, tuple(coded(s.domains, domains, len(s.xy)) for s in cohort.slices))
    for kind, (names, codes) in kinds.items():
        if len(names) < 2:
            continue
        counts = np.zeros((len(design.unit), len(names)))
        for at, own in zip(design.observation, codes):
            counts[at] += np.bincount(own[own >= 0], minlength=len(names))
        found = relative_abundance(counts, counts.sum(axis=1), design, identified, config)
        if len(found):
            shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
            found.insert(0, "group", np.array(names)[found["feature"]])
            found["grouping"] = kind
            in_control = shares[design.condition == design.control].mean(axis=0)
            found["share_control"] = in_control[found["feature"]]
            found["share_condition"] = [
                shares[design.condition == c, f].mean() for c, f in zip(found["condition"], found["feature"])
            ]
            tables.append(found)
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def relative_abundance(
    counts: Doubles, totals: Doubles, design: Design, identified: list[Identified], config: CompareConfig
) -> pd.DataFrame:
    """Compare counts (n, f) of cells out of totals (n,), relative to the median feature.

    Shares sum to one: if one type grows, all others shrink. Most are taken not to change, and what the
    median type seems to change is subtracted from all (Zhou et al. 2022, LinDA), with its standard error
    added. ``p_share`` is the test without that.
    """
    measured = np.repeat(totals[:, None] > 0, counts.shape[1], axis=1)
    y, v, mask = log_rates(counts, totals, measured, design, min_count=config.min_count)
    found = differences(y, v, mask, design, identified, config)
    found["p_share"] = found["p_value"]
    for _, rows in found.groupby("condition").groups.items():
        own = found.loc[rows]
        center = own["effect"].median()
        found.loc[rows, ["effect", "low", "high"]] -= center
        if own["se"].isna().all():
            continue
        # variance of a median of m estimates, as of a normal distribution
        extra = np.pi / 2 * (own["se"] ** 2).median() / len(own)
        se = np.sqrt(own["se"] ** 2 + extra)
        effect = found.loc[rows, "effect"]
        reach = stats.t.ppf(0.975, own["df"]) * se
        found.loc[rows, "se"] = se
        found.loc[rows, "p_value"] = 2 * stats.t.sf(np.abs(effect) / se, own["df"])
        found.loc[rows, "low"], found.loc[rows, "high"] = effect - reach, effect + reach
    return found


def differences(
    y: Doubles,
    v: Doubles,
    mask: NDArray[np.bool_],
    design: Design,
    identified: list[Identified],
    config: CompareConfig,
) -> pd.DataFrame:
    """Compare what is relative within slices: within panels for conditions that share some, else across."""
    tables = []
    for adjust in (True, False):
        names = [i.condition for i in identified if i.apart == adjust]
        if names:
            table = compare_conditions(y, v, mask, design, adjust=adjust, min_units=config.min_units)
            table = table[table["condition"].isin(names)]
            tables.append(table.assign(confounded=not adjust))
    found = pd.concat(tables, ignore_index=True) if len(tables) > 1 else tables[0]
    return found.sort_values(["feature", "condition"], ignore_index=True)
