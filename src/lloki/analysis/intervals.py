"""Intervals of imputed values, from the values that cells of the same predicted level turned out to have."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

COVERAGE = 0.9
LEVELS = 10  # at most; bins of equal numbers of cells
FEWEST = 50  # cells a level


@dataclass(frozen=True, eq=False)
class Intervals:
    """Where the values of one gene lie, by their predicted level.

    Attributes
    ----------
    edges
        (L - 1,) ascending predicted levels between the bins.
    lower, upper
        (L,) the shortest interval that holds the share ``COVERAGE`` of a bin's values.
    """

    edges: NDArray[np.float64]
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]

    @classmethod
    def fit(cls, predicted: NDArray[np.floating], measured: NDArray[np.floating]) -> Intervals | None:
        """Fit to (n,) predictions of values that were not used for them; None if there are too few.

        The shortest interval and not the one between two quantiles, because most values are often 0: an
        interval that starts there cannot be missed on that side, and would hold too many values.
        """
        good = np.isfinite(predicted)
        predicted, measured = predicted[good], measured[good]
        if len(predicted) < FEWEST:
            return None
        number = min(LEVELS, len(predicted) // FEWEST)
        edges = np.quantile(predicted, np.arange(1, number) / number)
        level = np.searchsorted(edges, predicted, side="right")
        bounds = [_shortest(np.sort(measured[level == i])) for i in range(number)]
        whole = _shortest(np.sort(measured))
        bounds = [whole if b is None else b for b in bounds]  # a level that ties left without cells
        lower, upper = np.array(bounds, dtype=np.float64).T
        return cls(edges, lower, upper)

    def of(self, predicted: NDArray[np.floating]) -> tuple[Floats, Floats]:
        """Lower and upper ends for (n,) predictions."""
        level = np.searchsorted(self.edges, predicted, side="right")
        return self.lower[level].astype(np.float32), self.upper[level].astype(np.float32)


def _shortest(values: NDArray[np.floating]) -> tuple[float, float] | None:
    """Shortest interval that holds a share ``COVERAGE`` of n + 1 sorted values, one of them unknown."""
    n = len(values)
    if n == 0:
        return None
    held = min(int(np.ceil(COVERAGE * (n + 1))), n)
    width = values[held - 1 :] - values[: n - held + 1]
    start = int(np.argmin(width))
    return float(values[start]), float(values[start + held - 1])
