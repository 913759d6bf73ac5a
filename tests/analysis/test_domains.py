"""Spatial domains of slices with planted ones."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse
from sklearn.metrics import adjusted_rand_score

from lloki.analysis import DomainConfig, find_domains, spatial_neighbors
from lloki.errors import ConfigError, InputError


def layers(seed: int, n: int = 250) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Three layers that differ in the mixture of two kinds of cells, not in kinds."""
    rng = np.random.default_rng(seed)
    xy = rng.random((n, 2)) * 100
    layer = np.minimum((xy[:, 1] / 34).astype(int), 2)
    kind = rng.random(n) < np.array([0.05, 0.5, 0.95])[layer]
    x = rng.normal(size=(n, 6)) * 0.3
    x[:, 0] += 2.0 * kind
    return x, xy, layer


@pytest.mark.parametrize("method", ["mixture", "leiden"])
def test_layers_are_found_in_all_slices_under_one_name(method):
    made = [layers(0), layers(1)]
    found = find_domains(
        [m[0] for m in made],
        [spatial_neighbors(m[1]) for m in made],
        config=DomainConfig(method=method, n_domains=3, scales=(2, 5), n_components=4),
    )
    assert found.stability is None
    labels, truth = np.concatenate(found.labels), np.concatenate([m[2] for m in made])
    assert adjusted_rand_score(truth, labels) > (0.5 if method == "mixture" else 0.35)
    assert np.bincount(labels).argmax() == 0
    assert all(((c >= 0) & (c <= 1)).all() for c in found.confidence)
    cells_alone = (made[0][0][:, 0] > 1).astype(int)
    assert adjusted_rand_score(truth, labels) > adjusted_rand_score(made[0][2], cells_alone)


def test_the_number_is_the_most_stable_and_results_repeat():
    x, xy, _ = layers(2)
    graph = spatial_neighbors(xy)
    config = DomainConfig(candidates=(2, 3, 5), repeats=2, scales=(3,), n_components=3)
    found, again = (find_domains([x], [graph], config=config) for _ in range(2))
    assert found.stability is not None
    assert len(set(found.labels[0])) <= found.stability.idxmax()
    np.testing.assert_array_equal(found.labels[0], again.labels[0])
    sampled = find_domains([x], [graph], config=DomainConfig(n_domains=3, sample=120))
    assert len(sampled.labels[0]) == 250


def test_what_cannot_be_clustered_is_named():
    x, xy, _ = layers(0, n=40)
    graph = spatial_neighbors(xy)
    for embedding, g, text in (
        (np.full_like(x, np.nan), graph, "here: the embedding holds NaN"),
        (x, sparse.csr_matrix((40, 40)), "here: no cell has a spatial neighbor"),
        (x, graph[:5, :5], "its graph has shape"),
        (x, graph, "40 cells are too few for 12 domains"),
    ):
        with pytest.raises(InputError, match=text):
            find_domains([embedding], [g], names=["here"])
    with pytest.raises(InputError, match="0 slices"):
        find_domains([], [])
    for bad in ({"method": "x"}, {"n_domains": 1}, {"scales": ()}, {"candidates": (1,)}, {"repeats": 1}):
        with pytest.raises(ConfigError):
            DomainConfig(**bad)
    with pytest.raises(ConfigError, match="has no field 'numbers'"):
        DomainConfig.from_dict({"numbers": 3})
