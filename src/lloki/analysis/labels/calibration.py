"""Calibration: from scores to probabilities, and how well these agree with the truth."""

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
    def fit(cls, scores: Doubles, correct: NDArray[np.bool_]) -> Calibration:
        """Fit to predictions that are known to be correct or not, by isotonic regression.

        One correct and one wrong prediction are added at either end, so that a few cells never give
        certainty.
        """
        from sklearn.isotonic import IsotonicRegression

        x = np.concatenate([scores, [0.0, 0.0, 1.0, 1.0]])
        y = np.concatenate([correct.astype(float), [0.0, 1.0, 0.0, 1.0]])
        model = IsotonicRegression(y_min=0, y_max=1).fit(x, y)
        return cls(model.X_thresholds_, model.y_thresholds_)

    def predict(self, scores: Doubles) -> Doubles:
        """(n,) probabilities of scores."""
        return np.interp(scores, self.scores, self.probabilities)


class Widening:
    r"""Confidence fitted to steps between slices of other data, where left-out cells do not show the step.

    .. math:: P = \sigma(a + b \, \mathrm{logit}(p))

    with p the probability by the average of the heads. Its heads read different views of a cell and err
    differently between slices, so where a step makes them disagree, p falls. Each head alone, or p
    calibrated on cells left out of the source, is too sure. Fitted by ``benchmarks/widening.py``.

    Where slices were left out, the confidence is the mean of this curve and theirs: a cell of a left-out
    slice is labeled from one source fewer than a cell of the target, so their curve alone is off in the
    one direction or the other, most so with two sources.

    Attributes
    ----------
    error
        Expected calibration error on tasks that were not fitted, averaged over pairs of slices.
    """

    intercept, slope = 0.14, 1.17
    error = 0.05

    @classmethod
    def predict(cls, scores: Doubles) -> Doubles:
        """(m,) probabilities of scores p."""
        p = np.clip(scores, 1e-3, 1 - 1e-3)
        return np.asarray(1 / (1 + np.exp(-cls.intercept - cls.slope * np.log(p / (1 - p)))))


def reliability(confidence: Doubles, correct: NDArray[np.bool_], *, bins: int = 10) -> pd.DataFrame:
    """Tabulate accuracy against confidence.

    Parameters
    ----------
    confidence, correct
        (n,) probability, and whether the prediction was correct.
    bins
        Number of bins of equal width over [0, 1]; empty bins are left out.

    Returns
    -------
    pandas.DataFrame
        One row per bin: confidence (mean), accuracy, n_cells.
    """
    which = np.minimum((np.asarray(confidence) * bins).astype(int), bins - 1)
    frame = pd.DataFrame({"bin": which, "confidence": confidence, "accuracy": np.asarray(correct, float)})
    grouped = frame.groupby("bin")
    return grouped.mean().assign(n_cells=grouped.size()).reset_index(drop=True)


def expected_error(curve: pd.DataFrame) -> float:
    """Compute the expected calibration error: the mean gap of confidence and accuracy; NaN without cells."""
    if not len(curve):
        return float("nan")
    return float(np.average((curve["confidence"] - curve["accuracy"]).abs(), weights=curve["n_cells"]))


def cross_calibrated(scores: Doubles, correct: NDArray[np.bool_], groups: NDArray | None) -> Doubles:
    """Calibrate the scores of each group on the other groups.

    Parameters
    ----------
    scores, correct
        (n,).
    groups
        (n,) such as slices; ``None``, or a single group, makes five groups of interleaved cells.

    Returns
    -------
    (n,) probabilities, none of which depends on its own outcome.
    """
    if groups is None or len(np.unique(groups)) < 2:
        groups = np.arange(len(scores)) % 5
    confidence = np.empty(len(scores))
    for name in np.unique(groups):
        held = groups == name
        confidence[held] = Calibration.fit(scores[~held], correct[~held]).predict(scores[held])
    return confidence
