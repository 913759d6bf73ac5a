"""The spatial graph of a slice."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lloki.analysis import spatial_neighbors
from lloki.errors import ConfigError, InputError


@settings(max_examples=60, deadline=None)
@given(
    arrays(np.float64, st.tuples(st.integers(0, 30), st.just(2)), elements=st.integers(0, 6).map(float)),
    st.sampled_from([None, 1, 3]),
)
def test_graphs_are_symmetric_ones_for_any_positions(xy, k):
    graph = spatial_neighbors(xy, n_neighbors=k)
    assert graph.shape == (len(xy), len(xy))
    assert (graph != graph.T).nnz == 0
    assert not graph.diagonal().any()
    assert (graph.data == 1).all()
    if k is not None and len(xy) > k + 1 and len(np.unique(xy, axis=0)) == len(xy):
        assert np.diff(graph.indptr).min() >= k


def test_a_grid_is_joined_to_its_sides_and_a_hole_is_not_bridged():
    xy = np.stack(np.meshgrid(np.arange(10.0), np.arange(10.0)), -1).reshape(-1, 2)
    graph = spatial_neighbors(xy, longest=100)
    assert graph[0, 1] == graph[0, 10] == 1
    assert graph[0, 5] == 0
    apart = np.concatenate([xy, xy + np.array([40.0, 0.0])])
    apart += np.random.default_rng(0).normal(0, 0.05, apart.shape)
    assert spatial_neighbors(apart, longest=94.5)[:100, 100:].nnz == 0


def test_duplicates_and_lines_are_joined():
    rng = np.random.default_rng(0)
    xy = rng.random((40, 2)) * 1e-3 + 1e6  # far from 0, close together
    xy[1] = xy[0]
    graph = spatial_neighbors(xy, longest=100)
    assert np.diff(graph.indptr).min() >= 1
    line = np.stack([np.arange(6.0), np.zeros(6)], axis=1)
    assert spatial_neighbors(line)[2, 3] == 1
    assert spatial_neighbors(line[:1]).nnz == 0


def test_three_dimensions():
    assert spatial_neighbors(np.random.default_rng(0).random((50, 3)))[0].nnz > 2


def test_bad_positions_are_rejected():
    with pytest.raises(InputError, match="NaN"):
        spatial_neighbors([[0.0, np.nan]])
    with pytest.raises(ConfigError, match="longest"):
        spatial_neighbors([[0.0, 1.0]], longest=0)
    with pytest.raises(ConfigError, match="n_neighbors must"):
        spatial_neighbors([[0.0, 1.0]], n_neighbors=0)
