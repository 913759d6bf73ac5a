"""Calibration of scores as probabilities."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lloki.analysis import Calibration, expected_error, reliability
from lloki.analysis.labels.calibration import cross_calibrated

SHARES = hnp.arrays(np.float64, st.integers(1, 60), elements=st.floats(0, 1))


@settings(max_examples=20, deadline=None)
@given(SHARES, st.integers(0, 2**32 - 1))
def test_a_calibration_is_monotone_and_a_probability(scores, seed):
    correct = np.random.default_rng(seed).random(len(scores)) < 0.5
    predicted = Calibration.fit(scores, correct).predict(np.linspace(0, 1, 50))
    assert (np.diff(predicted) >= -1e-12).all()
    assert predicted.min() >= 0
    assert predicted.max() <= 1


def test_it_recovers_the_probability_of_being_correct():
    rng = np.random.default_rng(0)
    scores = rng.random(20_000)
    correct = rng.random(20_000) < scores**2
    predicted = Calibration.fit(scores, correct).predict(scores)
    assert np.abs(predicted - scores**2).mean() < 0.02
    crossed = cross_calibrated(scores, correct, None)
    assert expected_error(reliability(crossed, correct)) < 0.02
    assert expected_error(reliability(scores, correct)) == pytest.approx(1 / 6, abs=0.01)


def test_a_few_correct_predictions_give_no_certainty():
    assert Calibration.fit(np.array([0.9, 0.95]), np.array([True, True])).predict(np.array([1.0]))[0] < 0.9


def test_reliability_is_a_table_of_bins():
    table = reliability(np.array([0.05, 0.95, 1.0, 0.97]), np.array([False, True, True, False]))
    assert list(table["n_cells"]) == [1, 3]
    assert table["accuracy"].iloc[1] == pytest.approx(2 / 3)
    gaps = np.abs(table["confidence"] - table["accuracy"])
    assert expected_error(table) == pytest.approx(np.average(gaps, weights=table["n_cells"]))
    assert np.isnan(expected_error(pd.DataFrame(columns=["confidence", "accuracy", "n_cells"])))


def test_no_probability_depends_on_its_own_outcome():
    rng = np.random.default_rng(1)
    scores, groups = rng.random(300), np.repeat(["a", "b", "c"], 100)
    correct = rng.random(300) < scores
    turned = np.where(groups == "a", ~correct, correct)
    before, after = (cross_calibrated(scores, r, groups) for r in (correct, turned))
    np.testing.assert_array_equal(before[groups == "a"], after[groups == "a"])
    assert (before[groups != "a"] != after[groups != "a"]).any()
    alone = cross_calibrated(scores, correct, np.zeros(300))
    assert np.isfinite(alone).all()
