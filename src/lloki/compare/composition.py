"""Composition: how many cells each condition has of a type or domain, relative to the others."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lloki.compare.config import CompareConfig
from lloki.compare.counts import log_rates
from lloki.compare.design import Identified
from lloki.compare.inputs import Cohort, coded
from lloki.compare.linear import Compared, compare_conditions

Doubles = NDArray[np.float64]


def compare_composition(cohort: Cohort, identified: list[Identified], config: CompareConfig) -> Compared:
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
        compared = relative_abundance(counts, counts.sum(axis=1), cohort, identified, config)
        found = compared.table
        if len(found):
            shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
            found.insert(0, "group", np.array(names)[found["feature"]])
            found["grouping"] = kind
            in_control = shares[design.condition == design.control].mean(axis=0)
            found["share_control"] = in_control[found["feature"]]
            found["share_condition"] = [
                shares[design.condition == c, f].mean() for c, f in zip(found["condition"], found["feature"])
            ]
        tables.append(compared)
    return Compared.join(tables)


def relative_abundance(
    counts: Doubles,
    totals: Doubles,
    cohort: Cohort,
    identified: list[Identified],
    config: CompareConfig,
    *,
    across: bool = True,
) -> Compared:
    """Compare counts (n, f) of cells out of totals (n,), relative to the median feature.

    Shares sum to one: if one type grows, all others shrink. Most are taken not to change, and what the
    median type seems to change is subtracted from all (Zhou et al. 2022, LinDA), with its standard error
    added. ``p_share`` is the test without that. ``across`` is as for `differences`.
    """
    measured = np.repeat(totals[:, None] > 0, counts.shape[1], axis=1)
    y, v, mask = log_rates(counts, totals, measured, cohort.design, min_count=config.min_count)
    return differences(y, v, mask, cohort, identified, config, relative=True, across=across)


def differences(
    y: Doubles,
    v: Doubles,
    mask: NDArray[np.bool_],
    cohort: Cohort,
    identified: list[Identified],
    config: CompareConfig,
    *,
    relative: bool = False,
    across: bool = True,
) -> Compared:
    """Compare what is relative within slices: within panels for conditions that share some, else across.

    Without ``across``, differences across panels are given, and not tested.
    """
    no_test = len(cohort.design.unit) + 1
    parts = []
    for adjust in (True, False):
        found = compare_conditions(
            y,
            v,
            mask,
            cohort.design,
            conditions=[i.condition for i in identified if i.apart == adjust],
            adjust=adjust,
            min_units=config.min_units if adjust or across else no_test,
            relative=relative,
            labels=cohort.labels,
        )
        parts.append(Compared(found.table.assign(confounded=not adjust), found.relabeled))
    return Compared.join(parts)
