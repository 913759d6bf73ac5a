"""Means, deviations and differences, worked out by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from lloki.benchmark.tables import differences, scaled, summary, with_aggregates
from lloki.evaluate import METRICS


def scores() -> pd.DataFrame:
    rows = [
        ("method", "lloki", "LLOKI", 0, 0.6),
        ("method", "lloki", "LLOKI", 1, 0.8),
        ("method", "pca", "PCA", 0, 0.5),
        ("ablation", "no-x", "no x", 0, 0.5),
        ("ablation", "no-x", "no x", 1, 0.6),
        ("ablation", "once", "once", 1, 0.9),
    ]
    table = pd.DataFrame(rows, columns=["kind", "name", "title", "repeat", "value"])
    for metric in (*METRICS, "transfer_accuracy", "transfer_macro_f1"):
        table[metric] = table["value"]
    return with_aggregates(table.drop(columns="value"))


def test_a_summary_has_means_and_deviations_in_the_order_of_methods():
    out = summary(scores(), "method").set_index("method")
    assert list(out.index) == ["LLOKI", "PCA"]
    assert list(out["repeats"]) == [2, 1]
    assert out.loc["LLOKI", "total"] == pytest.approx(0.7)
    assert out.loc["LLOKI", "total_sd"] == pytest.approx(np.std([0.6, 0.8], ddof=1))
    assert np.isnan(out.loc["PCA", "total_sd"])


def test_differences_are_taken_repeat_by_repeat():
    out = differences(scores(), "lloki").set_index("ablation")
    assert list(out.index) == ["LLOKI (its values)", "no x", "once"]
    assert out.loc["LLOKI (its values)", "bio"] == pytest.approx(0.7)
    assert out.loc["no x", "total"] == pytest.approx(np.mean([0.5 - 0.6, 0.6 - 0.8]))
    assert out.loc["no x", "total_sd"] == pytest.approx(np.std([-0.1, -0.2], ddof=1))
    assert out.loc["once", "total"] == pytest.approx(0.1)  # against the same repeat
    assert out.loc["once", "repeats"] == 1


def test_scaled_values_lie_between_worst_and_best():
    table = scores()
    table.loc[table["name"] == "pca", "clisi"] = 0.7  # as LLOKI has on average: no difference, no scale
    out = scaled(summary(table, "method")).set_index("method")
    assert out["clisi"].isna().all()
    assert (out.loc["PCA", ["bio", "batch", "total"]] == 0).all()
    assert (out.loc["LLOKI", ["bio", "batch", "total"]] == 1).all()
