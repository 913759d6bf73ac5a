"""The measures of an alignment, and the protocol that tests one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from lloki.align import Rigid
from lloki.errors import ConfigError
from lloki.evaluate.alignment import (
    alignment_quality,
    nearest_cells,
    overlap_panels,
    pose_error,
    random_pose,
    row_correlation,
)

GENES = [f"g{i}" for i in range(97)]


def grid(n: int = 12) -> np.ndarray:
    return np.stack(np.meshgrid(np.arange(n, dtype=float), np.arange(n, dtype=float)), -1).reshape(-1, 2) * 10


def test_a_perfect_alignment_has_perfect_measures():
    xy = grid()
    rng = np.random.default_rng(0)
    expression = sparse.csr_matrix(rng.poisson(1.0, (len(xy), 20)).astype(float))
    labels = rng.choice(["a", "b", "c"], len(xy))
    quality = alignment_quality(
        xy, xy + 1, truth=(xy, xy), expression=(expression, expression), labels=(labels, labels)
    )
    assert quality.to_dict() == pytest.approx({"distance": 0.0, "correlation": 1.0, "agreement": 1.0})


def test_measures_fall_with_a_wrong_alignment():
    xy = grid()
    labels = np.where(xy[:, 0] < 55, "left", "right")
    expression = sparse.csr_matrix(np.column_stack([labels == "left", labels == "right", labels != ""]) * 2.0)
    turned = Rigid.about(Rigid.make(180), xy.mean(0), xy.mean(0)).apply(xy)
    quality = alignment_quality(
        xy, turned, truth=(xy, xy), expression=(expression, expression), labels=(labels, labels)
    )
    assert quality.agreement == 0
    assert quality.correlation == pytest.approx(-0.5)
    assert quality.distance == pytest.approx(np.linalg.norm(xy - turned, axis=1).mean())


def test_what_is_not_given_is_not_measured():
    xy = grid(3)
    quality = alignment_quality(xy, xy, labels=(np.full(9, ""), np.full(9, "a")))
    assert all(np.isnan(v) for v in quality.to_dict().values())


def test_cells_without_a_label_do_not_count():
    xy = grid(2)
    quality = alignment_quality(
        xy, xy, labels=(np.array(["a", "", "b", "b"]), np.array(["a", "a", "b", "c"]))
    )
    assert quality.agreement == pytest.approx(2 / 3)


@given(st.integers(0, 999), st.integers(2, 30))
def test_row_correlation_is_pearsons(seed, g):
    rng = np.random.default_rng(seed)
    a, b = (rng.poisson(0.7, (6, g)).astype(float) for _ in range(2))
    a[0] = 3.0  # constant
    r = row_correlation(sparse.csr_matrix(a), sparse.csr_matrix(b))
    for i in range(6):
        if np.ptp(a[i]) == 0 or np.ptp(b[i]) == 0:
            assert np.isnan(r[i])
        else:
            assert r[i] == pytest.approx(np.corrcoef(a[i], b[i])[0, 1])


def test_nearest_cells():
    near = nearest_cells(np.array([[0.0, 0], [10, 0]]), np.array([[1.0, 0], [9, 0], [100, 100]]))
    np.testing.assert_array_equal(near, [0, 1, 1])


@given(st.floats(0, 1), st.integers(0, 99))
def test_panels_share_what_they_should(overlap, seed):
    first, second = overlap_panels(GENES, overlap, seed=seed)
    assert len(set(first) & set(second)) == round(overlap * len(GENES))
    assert set(first) | set(second) == set(GENES)
    assert abs(len(first) - len(second)) <= 1
    assert [g for g in GENES if g in set(first)] == first
    assert overlap_panels(GENES, overlap, seed=seed) == (first, second)


def test_panels_cannot_share_more_than_everything():
    with pytest.raises(ConfigError, match="overlap"):
        overlap_panels(GENES, 1.1, seed=0)


@given(st.integers(0, 999), st.booleans())
def test_a_random_pose_and_its_error(seed, mirrored):
    xy = grid() + 500
    pose = random_pose(xy, seed=seed, mirrored=mirrored)
    assert pose.reflected == mirrored
    moved = pose.apply(xy)
    assert np.abs(moved.mean(0) - xy.mean(0)).max() <= np.ptp(xy, axis=0).max() + 1e-9
    degrees, displacement = pose_error(pose.inverse(), pose.inverse(), moved)
    assert degrees == pytest.approx(0, abs=1e-6)
    assert displacement == pytest.approx(0, abs=1e-6)
    off = Rigid.about(Rigid.make(7.0), xy.mean(0), xy.mean(0) + np.array([3, 4])).after(pose.inverse())
    degrees, displacement = pose_error(off, pose.inverse(), moved)
    assert degrees == pytest.approx(7.0, abs=1e-6)
    assert displacement > 4
    wrong = Rigid.make(0, reflected=True).after(pose.inverse())
    assert pose_error(wrong, pose.inverse(), moved)[0] == 180
