"""Parameters of a comparison of conditions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

from lloki._config import Config


@dataclass(frozen=True)
class CompareConfig(Config):
    """Parameters of a comparison of conditions.

    Attributes
    ----------
    alpha
        False discovery rate at which a difference is a finding.
    min_units
        Minimum number of donors (or slices) of either condition for a test; with fewer, only effect sizes are
        given. With two on a side the spread between donors is hardly known; findings need four, see
        ``n_relabelings``.
    min_cells
        Minimum cells of a type in a donor for its expression and neighborhoods to be compared.
    min_count
        Minimum mean count per donor, on a panel, for a gene, type or neighborhood to be compared there: below
        about 10 the logarithm of a count is biased.
    n_neighborhoods
        Number of neighborhoods in the joint space whose abundance is compared, drawn evenly from all slices.
    n_neighbors
        Cells of a neighborhood; by default 20 times the number of donors, so that most donors reach
        ``min_count``, and at most a tenth of the cells.
    contact_neighbors
        Nearest cells in space that count as being beside a cell.
    n_relabelings
        Number of other ways to divide the units that a finding must stand against; all, if there are fewer.
        0 relies on the model alone, with more false findings where units come in groups.
    seed
        Random seed, of the choice of neighborhoods and of other divisions of the units.
    """

    alpha: float = 0.05
    min_units: int = 3
    min_cells: int = 10
    min_count: float = 10.0
    n_neighborhoods: int = 200
    n_neighbors: int | None = None
    contact_neighbors: int = 10
    n_relabelings: int = 199
    seed: int = 0

    def __post_init__(self) -> None:
        self._share("alpha")
        self._above_zero("alpha", "min_count", "n_neighbors", "n_neighborhoods", "contact_neighbors")
        self._at_least(min_units=2, min_cells=1, n_relabelings=0, seed=0)


class CompareOptions(TypedDict, total=False):
    """Fields of :class:`CompareConfig`, as keywords."""

    alpha: float
    min_units: int
    min_cells: int
    min_count: float
    n_neighborhoods: int
    n_neighbors: int | None
    contact_neighbors: int
    n_relabelings: int
    seed: int
