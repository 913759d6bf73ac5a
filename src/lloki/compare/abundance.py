"""Differential abundance without labels, over neighborhoods of the joint space."""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray

from lloki.compare.composition import relative_abundance
from lloki.compare.config import CompareConfig
from lloki.compare.design import Identified
from lloki.compare.inputs import Cohort
from lloki.compare.linear import Compared

Doubles = NDArray[np.float64]
_CHUNK = 25  # neighborhoods whose similarities to all cells are in memory at a time


def compare_abundance(
    cohort: Cohort, identified: list[Identified], config: CompareConfig
) -> tuple[Compared, Doubles]:
    """Compare the numbers of cells in neighborhoods of the joint space (Dann et al. 2022, Milo).

    Neighborhoods are the cells nearest, by cosine similarity, to index cells that are drawn evenly from all
    slices. Each is counted by unit, and the counts are compared as those of types are. Where condition and
    instrument are confounded there is no test: what the integration left of the instruments moves cells in
    the joint space, and so their numbers in neighborhoods.

    Returns
    -------
    Table, and (N,) the mean effect of the neighborhoods that each cell is in, slice after slice in the order
    of the design: NaN in none, or with several conditions.

    Notes
    -----
    Time grows with cells x neighborhoods x width of the embedding.
    """
    design = cohort.design
    sizes = [len(s.xy) for s in cohort.slices]
    n, starts = sum(sizes), np.concatenate([[0], np.cumsum(sizes)])
    k = config.n_neighbors or min(20 * len(design.unit), n // 10)
    k = min(max(k, 1), n)
    each = -(-config.n_neighborhoods // len(sizes))
    chosen = []
    for s, start in zip(cohort.slices, starts):
        rng = np.random.default_rng([config.seed, zlib.crc32(s.facts.name.encode())])
        # by position, so that the order of cells in a file is no matter
        order = np.lexsort(np.asarray(s.xy).T)
        chosen.append(start + order[np.sort(rng.choice(len(order), min(each, len(order)), replace=False))])
    index = np.concatenate(chosen)
    unit = np.repeat(design.observation, sizes)
    totals = np.bincount(unit, minlength=len(design.unit)).astype(float)
    code = np.concatenate(cohort.codes)
    x = np.concatenate([np.asarray(s.embedding, np.float32) for s in cohort.slices])
    x /= np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    counts = np.zeros((len(design.unit), len(index)))
    kinds = np.zeros((len(index), len(cohort.types)))
    members = np.empty((len(index), k), np.int64)
    for at in range(0, len(index), _CHUNK):
        similar = x[index[at : at + _CHUNK]] @ x.T
        members[at : at + len(similar)] = np.argpartition(-similar, k - 1, axis=1)[:, :k]
    for i, own in enumerate(members):
        counts[:, i] = np.bincount(unit[own], minlength=len(design.unit))
        known = code[own][code[own] >= 0]
        kinds[i] = np.bincount(known, minlength=len(cohort.types))
    compared = relative_abundance(counts, totals, cohort, identified, config, across=False)
    found, effects = compared.table, np.full(n, np.nan)
    if not len(found):
        return compared, effects
    row = found["feature"].to_numpy()
    found.insert(0, "neighborhood", row)
    names = np.array([*cohort.types, ""])
    main = (
        np.where(kinds.sum(axis=1) > 0, kinds.argmax(axis=1), -1) if cohort.types else np.full(len(index), -1)
    )
    found["type"] = names[main[row]]
    found["type_share"] = (kinds.max(axis=1, initial=0.0) / np.maximum(kinds.sum(axis=1), 1))[row]
    found["slice"] = np.array([s.facts.name for s in cohort.slices])[
        np.searchsorted(starts, index[row], side="right") - 1
    ]
    found["cell"] = (index - starts[np.searchsorted(starts, index, side="right") - 1])[row]
    found["n_cells"] = k
    if len(design.others) == 1:
        total, times = np.zeros(n), np.zeros(n)
        for i, effect in zip(row, found["effect"]):
            total[members[i]] += effect
            times[members[i]] += 1
        effects = np.where(times > 0, total / np.maximum(times, 1), np.nan)
    return compared, effects
