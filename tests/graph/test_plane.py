"""Three coordinates of one section are taken in its plane, whichever axis is flat or tilted."""

from __future__ import annotations

import numpy as np
import pytest

from lloki.analysis import spatial_neighbors
from lloki.graph import in_plane

N = 400


def section(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, 1000, (N, 2))


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("at", [0.0, 7400.5])
def test_a_flat_axis_is_dropped(axis: int, at: float) -> None:
    xy = section()
    xyz = np.insert(xy, axis, at, axis=1)
    found = in_plane(xyz)
    np.testing.assert_array_equal(found[:, :2], xy)
    np.testing.assert_array_equal(found[:, 2], at)
    assert (spatial_neighbors(xyz) != spatial_neighbors(xy)).nnz == 0


@pytest.mark.parametrize("degrees", [0.0, 3.0, 40.0])
@pytest.mark.parametrize("thick", [0.0, 8.0])
def test_thin_tilted_sections_have_the_neighbors_of_the_plane(degrees: float, thick: float) -> None:
    xy, angle = section(), np.radians(degrees)
    z = np.random.default_rng(1).uniform(0, thick, N)
    turn = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    xyz = np.column_stack([xy, z]) @ turn.T
    expected, found = spatial_neighbors(xy), spatial_neighbors(xyz)
    assert found.multiply(expected).nnz > 0.98 * expected.nnz
    assert found.nnz < 1.02 * expected.nnz


def test_a_volume_stays_one() -> None:
    xyz = np.random.default_rng(0).uniform(0, 1000, (N, 3)) * [1, 1, 0.3]
    assert in_plane(xyz) is None
    assert in_plane(section()) is None
    assert spatial_neighbors(xyz).sum(axis=1).mean() > 8


def test_a_line_and_a_point_are_no_plane() -> None:
    line = np.arange(10.0)[:, None] * [1.0, 2.0, 3.0]
    assert in_plane(line) is None
    assert spatial_neighbors(line).nnz > 0
    assert spatial_neighbors(np.zeros((5, 3))).shape == (5, 5)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_slots_give_the_plane_of_each_slice(axis: int) -> None:
    from anndata import AnnData

    from lloki.pl._slots import in_space
    from lloki.tl._sections import read_sections

    xy = np.concatenate([section(0), section(1)])
    names = np.repeat(["a", "b"], N)
    adata = AnnData(np.zeros((2 * N, 1), np.float32))
    adata.obs["slice"] = names
    adata.obsm["spatial"] = np.insert(xy, axis, np.where(names == "a", 10.0, 20.0), axis=1)
    adata.obsm["X_lloki"] = np.zeros((2 * N, 2))
    np.testing.assert_array_equal(in_space(adata, "slice")[:, :2], xy)
    found = read_sections(adata, use_rep="X_lloki", slice_key="slice")
    np.testing.assert_array_equal(np.concatenate([s.xy[:, :2] for s in found]), xy)
    assert [set(s.xy[:, 2]) for s in found] == [{10.0}, {20.0}]
