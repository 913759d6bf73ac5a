"""Slices as a comparison reads them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from lloki.compare.design import Design, SliceFacts

Doubles = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ConditionSlice:
    """A slice of n cells.

    Attributes
    ----------
    facts
        Name, donor, condition and instrument.
    counts
        (n, g) raw counts of the genes that this slice measured, and of no others.
    genes
        (g,) names.
    xy
        (n, 2 or 3), in any unit.
    embedding
        (n, d) in the joint space.
    labels
        (n,) cell types or clusters whose composition, expression and neighborhoods are compared; ``""`` where
        a cell has none. None: there are none, and only abundance in the joint space is compared.
    domains
        (n,) spatial domains, whose extent is compared; or None.
    scores
        (n,) score of a neighborhood program, NaN where a cell has none; or None.
    """

    facts: SliceFacts
    counts: sparse.csr_matrix
    genes: tuple[str, ...]
    xy: Doubles
    embedding: NDArray[np.floating]
    labels: NDArray[np.str_] | None = None
    domains: NDArray[np.str_] | None = None
    scores: Doubles | None = None


@dataclass(frozen=True, eq=False)
class Cohort:
    """All slices, in the order of the design, and the names of their types.

    Attributes
    ----------
    design
        Of the slices.
    slices
        In its order.
    labels
        Condition → (r, n) ways to divide the units, the observed one first: :meth:`Design.relabel`.
    types
        Names of the types.
    codes
        Of each slice (n,): which type a cell is, -1 for none.
    """

    design: Design
    slices: tuple[ConditionSlice, ...]
    labels: Mapping[str, NDArray[np.bool_]]
    types: tuple[str, ...] = field(init=False)
    codes: tuple[NDArray[np.int64], ...] = field(init=False)

    def __post_init__(self) -> None:
        known = sorted(
            {str(t) for s in self.slices if s.labels is not None for t in np.unique(s.labels)} - {""}
        )
        object.__setattr__(self, "types", tuple(known))
        object.__setattr__(self, "codes", tuple(coded(s.labels, known, len(s.xy)) for s in self.slices))


def coded(labels: NDArray[np.str_] | None, names: list[str], n: int) -> NDArray[np.int64]:
    """(n,) index of each label among sorted names, -1 where it is none of them."""
    if labels is None or not names:
        return np.full(n, -1)
    at = np.searchsorted(names, labels).clip(0, len(names) - 1)
    return np.where(np.array(names)[at] == labels, at, -1)
