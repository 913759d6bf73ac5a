"""Transforms of the plane and the Kabsch algorithm."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lloki.align import Rigid, kabsch, robust_kabsch
from lloki.align.rigid import displacement, stand_ins
from lloki.errors import InputError

degrees = st.floats(-180, 180)
shifts = st.tuples(st.floats(-1e4, 1e4), st.floats(-1e4, 1e4))
scales = st.floats(0.05, 20)
poses = st.builds(
    lambda d, t, r, s: Rigid.make(d, t, reflected=r, scale=s), degrees, shifts, st.booleans(), scales
)
clouds = st.builds(
    lambda n, seed: np.random.default_rng(seed).normal(0, 300, (n, 2)), st.integers(3, 40), st.integers(0, 99)
)


@given(clouds, poses)
def test_kabsch_recovers_any_pose_exactly(xy, truth):
    found = kabsch(xy, truth.apply(xy), reflected=truth.reflected, scale=True)
    assert displacement(found, truth, xy) < 1e-6 * truth.scale * 1e3
    assert found.reflected == truth.reflected
    assert found.scale == pytest.approx(truth.scale)
    either = kabsch(xy, truth.apply(xy), reflected=None, scale=True)
    assert either.reflected == truth.reflected


@given(clouds, poses, poses)
def test_poses_are_a_group(xy, a, b):
    np.testing.assert_allclose(a.inverse().apply(a.apply(xy)), xy, atol=1e-6)
    np.testing.assert_allclose(a.after(b).apply(xy), a.apply(b.apply(xy)), rtol=1e-9, atol=1e-5)
    ones = np.column_stack([xy, np.ones(len(xy))])
    np.testing.assert_allclose((ones @ a.matrix.T)[:, :2], a.apply(xy), rtol=1e-9, atol=1e-6)
    np.testing.assert_allclose(a.inverse().matrix @ a.matrix, np.eye(3), atol=1e-6)


@given(degrees, st.booleans())
def test_degrees_are_those_it_was_made_with(angle, reflected):
    made = Rigid.make(angle, reflected=reflected)
    assert abs((made.degrees - angle + 180) % 360 - 180) < 1e-6
    assert -180 < made.degrees <= 180
    assert made.reflected == reflected


@given(clouds, poses, st.integers(0, 99))
def test_kabsch_is_the_least_squares_answer(xy, truth, seed):
    """No pose nearby is better, where there is no exact answer."""
    rng = np.random.default_rng(seed)
    target = truth.apply(xy) + rng.normal(0, 50 * truth.scale, xy.shape)
    weights = rng.random(len(xy)) + 0.1
    found = kabsch(xy * truth.scale, target, weights, reflected=truth.reflected)

    def loss(pose):
        return (weights * ((pose.apply(xy * truth.scale) - target) ** 2).sum(1)).sum()

    for other in (Rigid.make(0.1), Rigid.make(-0.1), Rigid.make(0, (1, 0)), Rigid.make(0, (0, -1))):
        assert loss(found) <= loss(found.after(other)) * (1 + 1e-12)


@given(clouds, poses, poses)
def test_three_points_stand_in_for_all(xy, a, b):
    assert displacement(a, b, stand_ins(xy)) == pytest.approx(displacement(a, b, xy), rel=1e-4, abs=1e-3)


def test_pairs_without_weight_have_no_say():
    rng = np.random.default_rng(0)
    xy, truth = rng.normal(0, 100, (20, 2)), Rigid.make(40, (5, 6))
    target, weights = truth.apply(xy), np.ones(20)
    target[:8] += 1000
    weights[:8] = 0
    assert displacement(kabsch(xy, target, weights), truth, xy) < 1e-9


def test_a_line_fixes_the_rotation_but_no_mirror():
    line = np.column_stack([np.arange(10.0), np.zeros(10)])
    truth = Rigid.make(30, (1, 2))
    found = kabsch(line, truth.apply(line), reflected=None)
    assert not found.reflected
    assert displacement(found, truth, line) < 1e-9


@pytest.mark.parametrize(
    ("moving", "fixed", "message"),
    [
        (np.zeros((2, 2)), np.ones((2, 2)), "2 landmark pairs"),
        (np.zeros((0, 2)), np.zeros((0, 2)), "0 landmark pairs"),
        (np.zeros((5, 2)), np.ones((5, 2)), "one place"),
        (np.zeros((5, 3)), np.ones((5, 3)), "shapes"),
        (np.zeros((5, 2)), np.ones((4, 2)), "shapes"),
    ],
)
def test_what_fixes_no_transform_is_refused(moving, fixed, message):
    with pytest.raises(InputError, match=message):
        kabsch(moving, fixed)


@pytest.mark.parametrize("scale", [False, True])
def test_wrong_pairs_do_not_pull_the_robust_estimate(scale):
    rng = np.random.default_rng(1)
    xy, truth = rng.uniform(0, 1000, (300, 2)), Rigid.make(25, (30, -10), reflected=True, scale=2.0)
    target = truth.apply(xy) + rng.normal(0, 4, xy.shape)
    wrong = np.arange(300) < 120
    target[wrong] += rng.uniform(100, 300, (120, 2))  # all to one side
    start = Rigid.make(29, truth.translation + 30, reflected=True, scale=2.0 if not scale else 2.05)
    found, kept = robust_kabsch(xy, target, np.ones(300), start, width=10.0, scale=scale)
    assert displacement(found, truth, xy) < 2.0
    assert displacement(kabsch(2 * xy, target, reflected=True), truth, xy / 2) > 20
    assert kept[wrong].max() < 0.1 * np.median(kept[~wrong])
    assert found.scale == pytest.approx(2.0, abs=0.01 if scale else 0)
