"""Deformations after the rigid step."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lloki.align import Warp, fit_warp


def bend(xy: np.ndarray) -> np.ndarray:
    """A gentle wave, at most 20 long."""
    return 20 * np.column_stack([np.sin(xy[:, 1] / 250), np.cos(xy[:, 0] / 250)])


def landmarks(seed: int = 0, noise: float = 15.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    xy = rng.uniform(0, 1000, (1500, 2))
    return xy, bend(xy) + rng.normal(0, noise, xy.shape), np.ones(len(xy))


def test_a_gentle_bend_is_undone():
    warp = fit_warp(*landmarks(), width=80, bound=60)
    at = np.random.default_rng(1).uniform(100, 900, (500, 2))
    left = np.linalg.norm(warp.displacement(at) - bend(at), axis=1)
    assert left.mean() < 0.35 * np.linalg.norm(bend(at), axis=1).mean()
    np.testing.assert_array_equal(warp.apply(at), at + warp.displacement(at))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 99), st.floats(1, 200), st.floats(0.02, 0.5), st.floats(20, 200))
def test_bounds_hold_for_any_landmarks(seed, bound, strain, width):
    rng = np.random.default_rng(seed)
    put = rng.uniform(0, 500, (200, 2))
    warp = fit_warp(
        put, rng.normal(0, 80, put.shape), rng.random(200), width=width, bound=bound, strain=strain
    )
    at = np.concatenate([put, rng.uniform(-100, 600, (300, 2))])
    assert np.linalg.norm(warp.displacement(at), axis=1).max() <= bound * (1 + 1e-9)
    assert warp.strain(at).max() <= strain * 1.5  # it was looked for in places, not everywhere


def test_nothing_moves_where_there_are_no_landmarks():
    warp = fit_warp(*landmarks(), width=80, bound=60)
    far = np.array([[5000.0, 5000.0], [-900.0, 0.0]])
    np.testing.assert_array_equal(warp.displacement(far), 0)
    none = fit_warp(np.empty((0, 2)), np.empty((0, 2)), np.empty(0), width=80, bound=60)
    np.testing.assert_array_equal(none.apply(far), far)
    assert none.strain(far).max() == 0


def test_wrong_matches_beyond_the_bound_are_left_out():
    put, off, confidence = landmarks()
    off[::3] += 500
    wild = fit_warp(put, off, confidence, width=80, bound=60)
    tame = fit_warp(
        np.delete(put, np.s_[::3], 0), np.delete(off, np.s_[::3], 0), np.ones(1000), width=80, bound=60
    )
    np.testing.assert_allclose(wild.displacement(put), tame.displacement(put))


def test_strain_is_that_of_a_known_stretch():
    """Residuals that grow by 5 % of x stretch by 5 %, where there are landmarks enough."""
    grid = np.stack(np.meshgrid(np.arange(0, 600, 5.0), np.arange(0, 600, 5.0)), -1).reshape(-1, 2)
    off = 0.05 * np.column_stack([grid[:, 0] - 300, np.zeros(len(grid))])
    warp = Warp(grid, off, np.ones(len(grid)), width=30)
    middle = grid[np.abs(grid - 300).max(1) < 100]
    assert warp.strain(middle) == pytest.approx(np.full(len(middle), 0.05), abs=0.01)
