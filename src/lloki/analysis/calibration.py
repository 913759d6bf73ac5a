"""Scores made into probabilities, and how well they keep their word."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Doubles = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Calibration:
    """A monotone, piecewise linear curve from scores in [0, 1] to probabilities.

    Attributes
    ----------
    scores, probabilities
        (j,) its corners, ascending.
    """

    scores: Doubles
    probabilities: Doubles

    @classmethod
    def fit(cls, scores: Doubles, right: NDArray[np.bool_]) -> Calibration:
        """Fit to answers of which it is known whether they were right, by isotonic regression.

        Two answers at every end, one right and one wrong, are added: a few cells must not make a certainty.
        """
        from sklearn.isotonic import IsotonicRegression

        x = np.concatenate([scores, [0.0, 0.0, 1.0, 1.0]])
        y = np.concatenate([right.astype(float), [0.0, 1.0, 0.0, 1.0]])
        model = IsotonicRegression(y_min=0, y_max=1).fit(x, y)
        return cls(model.X_thresholds_, model.y_thresholds_)

    def predict(self, scores: Doubles) -> Doubles:
        """(n,) probabilities of scores."""
        return np.interp(scores, self.scores, self.probabilities)


def reliability(confidence: Doubles, right: NDArray[np.bool_], *, bins: int = 10) -> pd.DataFrame:
    """How often answers of a confidence are right.

    Parameters
    ----------
    confidence, right
        (n,).
    bins
        Of equal width over [0, 1]; empty ones are left out.

    Returns
    -------
    pandas.DataFrame
        One row a bin: mean confidence, accuracy, cells.
    """
    which = np.minimum((np.asarray(confidence) * bins).astype(int), bins - 1)
    frame = pd.DataFrame({"bin": which, "confidence": confidence, "accuracy": np.asarray(right, float)})
    grouped = frame.groupby("bin")
    return grouped.mean().assign(cells=grouped.size()).reset_index(drop=True)


def expected_error(curve: pd.DataFrame) -> float:
    """Mean gap between confidence and accuracy over the cells of a reliability table; NaN if it is empty."""
    if not len(curve):
        return float("nan")
    return float(np.average((curve["confidence"] - curve["accuracy"]).abs(), weights=curve["cells"]))


def cross_calibrated(scores: Doubles, right: NDArray[np.bool_], groups: NDArray | None) -> Doubles:
    """Turn the scores of each group of answers into probabilities by what the other groups teach.

    Parameters
    ----------
    scores, right
        (n,).
    groups
        (n,) such as slices; ``None``, or a single one, makes five of interleaved cells.

    Returns
    -------
    (n,) probabilities, none of which has seen its own answer.
    """
    if groups is None or len(np.unique(groups)) < 2:
        groups = np.arange(len(scores)) % 5
    confidence = np.empty(len(scores))
    for name in np.unique(groups):
        held = groups == name
        confidence[held] = Calibration.fit(scores[~held], right[~held]).predict(scores[held])
    return confidence
