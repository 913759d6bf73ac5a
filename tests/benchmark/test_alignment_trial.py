"""The paper's protocol on made-up tissue."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from lloki.align import AlignConfig, align
from lloki.benchmark.alignment.trial import (
    Measured,
    Placed,
    draw_trial,
    joint_embedding,
    nearest_kabsch,
    shared_pca,
)
from lloki.errors import InputError

QUICK = AlignConfig(rotation_step=6, pixels=40, fine_pixels=80)
GENES = tuple(f"g{i}" for i in range(60))


def counts_of(types: np.ndarray, rng: np.random.Generator) -> sparse.csr_matrix:
    profiles = np.random.default_rng(5).gamma(0.3, 4.0, (types.max() + 1, len(GENES)))
    return sparse.csr_matrix(rng.poisson(profiles[types]).astype(np.float32))


def section(seed: int, cells: int = 1200, more: tuple[str, ...] = ()) -> Placed:
    """Irregular domains of five types of cells."""
    waves = np.random.default_rng(7)
    frequency, phase = waves.normal(0, 0.02, (5, 2)), waves.uniform(0, 6, 5)
    rng = np.random.default_rng(seed)
    xy = rng.uniform(0, 1, (cells, 2)) * (700, 500)
    types = (np.sin(xy @ frequency.T + phase) + rng.gumbel(0, 0.2, (cells, 5))).argmax(1)
    x = counts_of(types, rng)
    extra = sparse.csr_matrix(np.ones((cells, len(more)), np.float32))
    return Placed(
        Measured(sparse.csr_matrix(sparse.hstack([x, extra])), (*GENES, *more)), xy, types.astype(str)
    )


@pytest.fixture(scope="module")
def reference() -> Measured:
    rng = np.random.default_rng(3)
    return Measured(counts_of(rng.integers(0, 5, 800), rng), GENES)


@pytest.mark.parametrize("overlap", [1.0, 0.5, 0.1, 0.0])
def test_genes_are_taken_away_on_both_sides(overlap):
    trial = draw_trial(section(1, 50, ("a",)), section(2, 50, ("b",)), overlap=overlap, seed=4)
    first, second = (set(p.genes) for p in trial.panels)
    assert set(trial.shared) == first & second
    assert len(trial.shared) == round(overlap * len(GENES))
    assert first | second == {*GENES, "a", "b"}  # what only one has stays
    for panel, whole in zip(trial.panels, trial.whole):
        columns = [whole.measured.genes.index(g) for g in panel.genes]
        assert (panel.counts != whole.measured.counts[:, columns]).nnz == 0


def test_scores_of_the_truth_and_of_a_wrong_pose():
    trial = draw_trial(section(1), section(2), overlap=0.5, seed=4)
    right, wrong = trial.score(trial.put.inverse()), trial.score(trial.put)
    assert right["degrees"] == pytest.approx(0, abs=1e-9)
    assert right["displacement"] == pytest.approx(0, abs=1e-6)
    assert wrong["degrees"] > 1
    assert wrong["distance"] > 3 * right["distance"]
    assert wrong["correlation"] < right["correlation"]
    assert wrong["agreement"] < right["agreement"]


@pytest.mark.filterwarnings("ignore::lloki.errors.LlokiWarning")
@pytest.mark.parametrize("overlap", [1.0, 0.0])
def test_slices_without_a_gene_in_common_find_each_other(overlap, reference):
    trial = draw_trial(section(1), section(2), overlap=overlap, seed=4)
    x = joint_embedding(trial.panels, reference)
    fixed, moving = trial.positions
    found = align(x[0], fixed, x[1], moving, config=QUICK).transform
    assert trial.score(found)["degrees"] < 3
    assert trial.score(found)["displacement"] < 25


def test_baselines(reference):
    trial = draw_trial(section(1), section(2), overlap=1.0, seed=4)
    scores = shared_pca(trial)
    assert [s.shape for s in scores] == [(1200, 30)] * 2
    rows = np.random.default_rng(0).normal(size=(1200, 8))  # every cell like itself alone
    exact = nearest_kabsch([rows, 3 * rows], (trial.whole[1].xy, trial.positions[1]))
    assert trial.score(exact)["displacement"] == pytest.approx(0, abs=1e-6)
    with pytest.raises(InputError, match="0 shared genes"):
        shared_pca(draw_trial(section(1), section(2), overlap=0.0, seed=4))
    nothing = nearest_kabsch([np.ones((2, 3)), np.ones((2, 3))], (np.zeros((2, 2)), np.zeros((2, 2))))
    np.testing.assert_array_equal(nothing.matrix, np.eye(3))
