"""Whether clusters have their like in a reference: in another tissue they have none."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from lloki.evaluate import cell_kinds, likeness

GENES = [f"g{i}" for i in range(60)]
TYPES = 6


def cells(
    n: int, *, tissue: int = 0, seed: int = 0, gain: float = 0.0, depth: float = 80.0
) -> tuple[sparse.csr_matrix, np.ndarray]:
    """Counts of cells of the types of a tissue, and their types; ``gain`` is the platform's, gene by gene."""
    profile = np.random.default_rng(1000 + tissue).gamma(0.4, size=(TYPES, len(GENES)))
    rng = np.random.default_rng(seed)
    profile = profile * rng.lognormal(0, gain, len(GENES)) if gain else profile
    profile /= profile.sum(1, keepdims=True)
    kind = rng.integers(0, TYPES, n)
    return sparse.csr_matrix(rng.poisson(depth * profile[kind]).astype(np.float32)), kind


REFERENCE = cells(800)[0]


def like(counts: sparse.csr_matrix, kinds: np.ndarray, genes: list[str] = GENES) -> np.ndarray:
    found = cell_kinds(REFERENCE, GENES, among=genes)
    return likeness(counts, genes, kinds, found)["like"].to_numpy()


def test_clusters_of_the_tissue_have_their_like_on_any_platform():
    assert like(*cells(600, seed=1)).min() > 0.9
    assert like(*cells(600, seed=1, gain=0.7)).min() > 0.7


def test_clusters_of_another_tissue_have_none():
    assert like(*cells(600, tissue=1, seed=1)).mean() < 0.4


def test_each_cluster_is_judged_by_itself():
    """Of a slice half of whose types are foreign, these are the ones that have no like."""
    own, of_own = cells(600, seed=1)
    other, of_other = cells(600, tissue=1, seed=2)
    keep, foreign = of_own < 3, of_other < 3
    counts = sparse.vstack([own[keep], other[foreign]], format="csr")
    clusters = np.concatenate([of_own[keep], 10 + of_other[foreign]])
    table = likeness(counts, GENES, clusters, cell_kinds(REFERENCE, GENES, among=GENES))
    here = table["cluster"] < 10
    assert table["like"][here].min() > table["like"][~here].max() + 0.2
    assert table["cells"].sum() == counts.shape[0]
    assert (table["itself"] > 0.9).all()


def test_a_gene_that_the_reference_never_saw_speaks_against_a_cluster_where_it_is_high():
    """Types may differ by genes that the reference measured, and that none of its cells has."""
    counts, kind = cells(600, seed=1)
    high = np.argsort(-np.asarray(counts[kind == 0].mean(0)).ravel())[:12]
    silent = REFERENCE.toarray()
    silent[:, high] = 0
    kinds = cell_kinds(sparse.csr_matrix(silent), GENES, among=GENES)
    assert set(kinds.genes) == set(GENES)
    found = likeness(counts, GENES, kind, kinds).set_index("cluster")["like"]
    assert found[0] < like(counts, kind)[0] - 0.3


def test_clusters_of_noise_do_not_agree_with_themselves():
    counts, _ = cells(600, seed=1)
    flat = sparse.csr_matrix(np.random.default_rng(0).poisson(np.broadcast_to(counts.mean(0), counts.shape)))
    table = likeness(
        flat, GENES, np.random.default_rng(1).integers(0, 6, 600), cell_kinds(REFERENCE, GENES, among=GENES)
    )
    assert table["itself"].max() < 0.5


def test_names_count_and_not_the_order_of_genes():
    counts, kind = cells(600, seed=1)
    order = np.random.default_rng(0).permutation(len(GENES))
    assert like(counts[:, order], kind, [GENES[i] for i in order]) == pytest.approx(like(counts, kind))


def test_few_common_genes_or_cells_give_nothing():
    assert cell_kinds(REFERENCE, GENES, among=GENES[:19]) is None
    kinds = cell_kinds(REFERENCE, GENES, among=GENES[:20])
    assert len(kinds.genes) == 20
    counts, kind = cells(29, seed=1)
    assert not len(likeness(counts, GENES, np.zeros_like(kind), kinds))
    assert len(cell_kinds(REFERENCE[:8], GENES, among=GENES).profiles)  # a tiny reference is one all the same
