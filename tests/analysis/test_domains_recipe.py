"""Spatial domains against their recipe, and on regions that were planted."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture

from lloki.analysis import DomainConfig, find_domains, spatial_neighbors


def regions(seed: int, n: int = 240, centers: int = 3) -> tuple[np.ndarray, sparse.csr_matrix, np.ndarray]:
    """Stripes; a cell's embedding says little of its stripe, its surroundings say much."""
    rng = np.random.default_rng(seed)
    xy = rng.random((n, 2)) * 100
    region = np.minimum((xy[:, 0] / 100 * centers).astype(int), centers - 1)
    x = 1.6 * np.eye(centers, 5)[region] + rng.normal(0, 0.8, (n, 5))
    return x, spatial_neighbors(xy), region


def surroundings(
    xs: list[np.ndarray], graphs: list[sparse.csr_matrix], scales: tuple[int, ...]
) -> np.ndarray:
    """Means over a cell and its neighbors, taken again at every step, each scale of the same weight."""
    blocks = []
    for scale in scales:
        parts = []
        for x, graph in zip(xs, graphs):
            for _ in range(scale):
                rows = [np.append(graph[[i]].indices, i) for i in range(len(x))]
                x = np.array([x[r].mean(0) for r in rows])
            parts.append(x)
        joined = np.concatenate(parts)
        joined = joined - joined.mean(0)
        blocks.append(joined / np.sqrt((joined**2).sum(1).mean()))
    return np.concatenate(blocks, axis=1)


def test_domains_are_a_mixture_of_what_lies_around_cells():
    (x, graph, region), scales = regions(0), (0, 2)
    config = DomainConfig(n_domains=3, scales=scales, n_components=4, seed=5)
    found = find_domains([x], [graph], config=config)
    wide = surroundings([x], [graph], scales)
    wide -= wide.mean(0)
    u, s, _ = np.linalg.svd(wide, full_matrices=False)
    model = GaussianMixture(3, reg_covar=1e-4, random_state=5, max_iter=200).fit((u * s)[:, :4])
    chance = model.predict_proba((u * s)[:, :4])
    assert adjusted_rand_score(chance.argmax(1), found.labels[0]) > 0.97
    np.testing.assert_allclose(np.median(found.confidence[0]), np.median(chance.max(1)), atol=0.02)
    assert np.corrcoef(found.confidence[0], chance.max(1))[0, 1] > 0.9
    assert adjusted_rand_score(region, found.labels[0]) > 0.75


@pytest.mark.parametrize("method", ["mixture", "leiden"])
def test_the_spatial_graph_is_what_finds_regions(method):
    x, graph, region = regions(1)
    how = {"method": method, "n_domains": 3, "n_components": 4}
    around = find_domains([x], [graph], config=DomainConfig(scales=(3,), **how))
    alone = find_domains([x], [graph], config=DomainConfig(scales=(0,), **how))
    scores = [adjusted_rand_score(region, f.labels[0]) for f in (around, alone)]
    assert scores[0] > 0.7
    assert scores[0] > scores[1] + 0.15
    wrong = sparse.csr_matrix(graph[np.random.default_rng(0).permutation(len(x))])
    mixed = find_domains([x], [(wrong + wrong.T).tocsr()], config=DomainConfig(scales=(3,), **how))
    assert adjusted_rand_score(region, mixed.labels[0]) < 0.3


@pytest.mark.parametrize("method", ["mixture", "leiden"])
def test_a_domain_has_one_name_in_all_slices_in_whatever_order_they_come(method):
    made = [regions(s, n=n) for s, n in ((2, 200), (3, 260), (4, 150))]
    config = DomainConfig(method=method, n_domains=3, scales=(2,), n_components=4)
    found = find_domains([m[0] for m in made], [m[1] for m in made], config=config)
    again = find_domains([m[0] for m in made[::-1]], [m[1] for m in made[::-1]], config=config)
    for (x, _, region), labels, confidence, same in zip(
        made, found.labels, found.confidence, again.labels[::-1]
    ):
        assert len(labels) == len(confidence) == len(x)
        assert adjusted_rand_score(region, labels) > 0.5
        np.testing.assert_array_equal(labels, same)
    names = [
        [np.bincount(labels[m[2] == r]).argmax() for r in range(3)] for m, labels in zip(made, found.labels)
    ]
    assert names[0] == names[1] == names[2]
    sizes = np.bincount(np.concatenate(found.labels))
    assert (np.diff(sizes) <= 0).all()


def test_the_number_of_domains_is_the_most_stable_one():
    x, graph, region = regions(6, n=300, centers=4)
    config = DomainConfig(candidates=(2, 4, 7), scales=(2, 4), n_components=4, repeats=4)
    found = find_domains([x], [graph], config=config)
    assert found.stability.idxmax() == 4
    assert len(np.unique(found.labels[0])) == 4
    assert adjusted_rand_score(region, found.labels[0]) > 0.75


def test_cells_outside_of_the_sample_get_the_domain_of_their_surroundings():
    x, graph, region = regions(7, n=400)
    for method in ("mixture", "leiden"):
        config = DomainConfig(method=method, n_domains=3, scales=(3,), n_components=4, sample=150)
        found = find_domains([x], [graph], config=config)
        assert adjusted_rand_score(region, found.labels[0]) > 0.6


def test_confidence_of_leiden_is_the_share_of_nearest_cells_that_agree():
    x, graph, _ = regions(8, n=150)
    config = DomainConfig(method="leiden", n_domains=3, scales=(1,), n_components=5, leiden_neighbors=8)
    found = find_domains([x], [graph], config=config)
    wide = surroundings([x], [graph], (1,))
    labels, shares = found.labels[0], []
    for i in range(len(x)):
        near = np.argsort(np.linalg.norm(wide - wide[i], axis=1))[:8]  # the cell itself is one
        shares.append(np.mean(labels[near] == labels[i]))
    shares = np.array(shares)
    # cells that their neighbors outvoted took the neighbors' domain: they may differ by that one cell
    assert np.mean(np.abs(found.confidence[0] - shares) < 1e-6) > 0.85
