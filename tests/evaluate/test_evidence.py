"""Evidence without labels or an embedding: what raises it, what lowers it, and what it must not depend on."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from lloki.evaluate import gene_correlations, gene_structure, spatial_coherence

GENES = [f"g{i}" for i in range(24)]


def tissue(n: int = 600, seed: int = 0, depth: float = 60.0) -> tuple[sparse.csr_matrix, np.ndarray]:
    """Four types with their own genes, in four quarters of a square."""
    rng = np.random.default_rng(seed)
    xy = rng.random((n, 2))
    kind = 2 * (xy[:, 0] > 0.5) + (xy[:, 1] > 0.5)
    profile = np.random.default_rng(99).gamma(0.5, size=(4, len(GENES)))
    profile /= profile.sum(1, keepdims=True)
    return sparse.csr_matrix(rng.poisson(depth * profile[kind]).astype(np.float32)), xy


def test_genes_go_together_alike_in_two_slices_of_a_tissue():
    one, other = (gene_correlations(tissue(seed=seed)[0], GENES) for seed in (0, 1))
    found = gene_structure(one, other)
    assert found.genes == len(GENES)
    assert found.correlation > 0.8
    assert found.relative == pytest.approx(1, abs=0.15)
    assert found.z > 5


def test_noise_lowers_the_correlation_and_not_the_relative_one():
    one = gene_correlations(tissue()[0], GENES)
    thin = gene_correlations(tissue(seed=1, depth=6)[0], GENES)
    found, full = gene_structure(one, thin), gene_structure(one, gene_correlations(tissue(seed=1)[0], GENES))
    assert found.correlation < full.correlation - 0.1
    assert found.relative == pytest.approx(full.relative, abs=0.25)
    assert found.relative > found.correlation + 0.1


def test_wrong_names_and_noise_are_seen():
    counts = tissue(seed=1)[0]
    one = gene_correlations(tissue()[0], GENES)
    permuted = list(np.random.default_rng(0).permutation(GENES))
    wrong = gene_structure(one, gene_correlations(counts, permuted))
    assert abs(wrong.z) < 3
    assert abs(wrong.relative) < 0.25
    rng = np.random.default_rng(0)
    mean = np.broadcast_to(np.asarray(counts.mean(0)), counts.shape)
    noise = gene_structure(one, gene_correlations(sparse.csr_matrix(rng.poisson(mean)), GENES))
    assert noise.correlation < 0.4
    assert not noise.z > 4


def test_names_count_and_not_the_order_of_genes_or_slices():
    counts = tissue(seed=1)[0]
    order = np.random.default_rng(3).permutation(len(GENES))
    one, other = gene_correlations(tissue()[0], GENES), gene_correlations(counts, GENES)
    turned = gene_correlations(counts[:, order], [GENES[i] for i in order])
    found = gene_structure(one, other)
    assert gene_structure(one, turned).correlation == pytest.approx(found.correlation, abs=1e-9)
    assert gene_structure(other, one).correlation == pytest.approx(found.correlation, abs=1e-9)


def test_too_few_common_genes_give_nothing():
    one, other = (gene_correlations(tissue(seed=s)[0], GENES) for s in (0, 1))
    few = gene_correlations(tissue(seed=1)[0][:, :7], GENES[:7])
    assert gene_structure(one, few) is None
    assert gene_structure(one, gene_correlations(tissue()[0], [f"x{g}" for g in GENES])) is None
    assert gene_structure(one, other) is not None


def test_genes_that_are_hardly_seen_take_no_part():
    counts = tissue()[0].tolil()
    counts[:, 3] = 0
    counts[:19, 3] = 1
    found = gene_correlations(counts.tocsr(), GENES)
    assert "g3" not in found.genes
    assert len(found.genes) == len(GENES) - 1


def test_neighbors_in_a_tissue_are_alike_and_shuffled_ones_are_not():
    counts, xy = tissue()
    assert spatial_coherence(counts, xy) > 15
    shuffled = [
        spatial_coherence(counts, xy[np.random.default_rng(s).permutation(len(xy))]) for s in range(20)
    ]
    assert np.abs(shuffled).max() < 4
    assert np.std(shuffled) == pytest.approx(1, abs=0.5)  # they are standard deviations


def test_coherence_ignores_units_and_copes_with_cells_in_one_place():
    counts, xy = tissue()
    assert spatial_coherence(counts, xy * 1000 + 5) == pytest.approx(spatial_coherence(counts, xy), rel=1e-6)
    assert np.isfinite(spatial_coherence(counts, np.zeros_like(xy)))
    assert np.isnan(spatial_coherence(counts[:40], xy[:40]))
    assert spatial_coherence(sparse.csr_matrix(counts.shape, dtype=np.float32), xy) == 0


def test_cells_are_drawn_by_the_seed():
    counts, xy = tissue()
    some = [gene_correlations(counts, GENES, n_cells=200, seed=s).all for s in (0, 0, 1)]
    assert (some[0] == some[1]).all()
    assert (some[0] != some[2]).any()
    z = [spatial_coherence(counts, xy, n_cells=200, seed=s) for s in (0, 0, 1)]
    assert z[0] == z[1] != z[2]
