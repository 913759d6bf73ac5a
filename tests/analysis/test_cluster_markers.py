from __future__ import annotations

import numpy as np
from scipy import sparse

from lloki.analysis.cluster_markers import top_markers


def test_markers_are_compared_within_the_slices_that_measured_them():
    rng = np.random.default_rng(0)
    codes = [np.repeat([0, 1], 50), np.repeat([0, 1], 50)]
    one, two = rng.random((100, 3)) * 0.1, rng.random((100, 2)) * 0.1 + 5  # a platform with higher values
    one[:50, 0] += 2  # A marks cluster 0, in slice one alone
    one[50:, 1] += 2  # B marks cluster 1 in both
    two[50:, 1] += 2
    found = top_markers(
        [sparse.csr_matrix(one), sparse.csr_matrix(two)], [["A", "B", "C"], ["C", "B"]], codes, n_clusters=2
    )
    first = found.groupby("cluster").first()
    assert list(first["gene"]) == ["A", "B"]
    assert list(first["n_slices"]) == [1, 2]


def test_small_clusters_and_unassigned_cells_are_not_compared():
    x = sparse.csr_matrix(np.eye(60, 4) + 1.0)
    codes = np.array([0] * 5 + [1] * 45 + [-1] * 10)
    found = top_markers([x], [list("abcd")], [codes], n_clusters=3)
    assert found.empty or set(found["cluster"]) == set()


def test_the_effect_is_the_difference_over_the_spread():
    rng = np.random.default_rng(1)
    x, codes = rng.gamma(1.0, 1.0, (80, 1)), np.repeat([0, 1], 40)
    x[:40] += 1
    found = top_markers([sparse.csr_matrix(x)], [["g"]], [codes], n_clusters=2)
    expected = (x[:40].mean() - x[40:].mean()) / (0.1 + x.std())
    np.testing.assert_allclose(found["effect"], [expected])
