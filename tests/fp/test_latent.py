"""Propagation in the latent space: what it changes, what it must not change, and how much it takes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from lloki.errors import ConfigError, InputError
from lloki.fp import choose_alpha, gene_folds, propagate_embedding
from lloki.fp.latent import spacing


def tissue(n: int = 300, d: int = 6, noise: float = 0.3, seed: int = 0) -> tuple[np.ndarray, ...]:
    """Rows of two intermingled types, places on a jittered grid, and types."""
    rng = np.random.default_rng(seed)
    side = int(np.ceil(np.sqrt(n)))
    grid = np.stack(np.divmod(np.arange(n), side), axis=1).astype(float)
    kind = rng.integers(0, 2, n)
    centers = np.zeros((2, d))
    centers[0, 0], centers[1, 1] = 2.0, 2.0
    rows = centers[kind] + rng.normal(0, noise, (n, d))
    return rows.astype(np.float32), grid + rng.uniform(-0.2, 0.2, (n, 2)), kind


def by_hand(rows: np.ndarray, xy: np.ndarray, alpha: float, k: int, bandwidth: float) -> np.ndarray:
    """The equation cell by cell."""
    x = rows.astype(float)
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    away = np.linalg.norm(xy[:, None] - xy[None], axis=2)
    h = np.median(np.sort(away, axis=1)[:, 6])
    out = np.empty_like(x)
    for i in range(len(x)):
        cosine = unit @ unit[i]
        cosine[i] = -np.inf
        near = np.argsort(-cosine, kind="stable")[:k]
        weight = np.exp(-(away[i, near] ** 2) / (2 * (bandwidth * h) ** 2))
        out[i] = (1 - alpha) * x[i] + alpha * weight @ x[near] / weight.sum()
    return out


def test_parity_with_the_equation() -> None:
    rows, xy, _ = tissue(120)
    rows += 3  # all cosines positive
    found = propagate_embedding(rows, xy, 0.6, 10, 2.0)
    np.testing.assert_allclose(found, by_hand(rows, xy, 0.6, 10, 2.0), atol=1e-4)


def test_without_neighbors_the_rows_are_returned() -> None:
    rows, xy, _ = tissue(50)
    np.testing.assert_array_equal(propagate_embedding(rows, xy, 0.0), rows)


def test_unknown_cells_keep_their_rows_and_give_to_nobody() -> None:
    rows, xy, _ = tissue(150)
    known = np.ones(150, bool)
    known[::7] = False
    spoiled = rows.copy()
    spoiled[~known] = 50.0
    found = propagate_embedding(spoiled, xy, 0.7, 20, known=known)
    np.testing.assert_array_equal(found[~known], spoiled[~known])
    np.testing.assert_allclose(
        found[known], propagate_embedding(rows[known], xy[known], 0.7, 20), rtol=1e-5, atol=1e-6
    )


def test_the_result_does_not_depend_on_the_order_of_cells_or_threads() -> None:
    rows, xy, _ = tissue(400, seed=3)
    found = propagate_embedding(rows, xy, 0.7, 30)
    order = np.random.default_rng(1).permutation(len(rows))
    np.testing.assert_allclose(propagate_embedding(rows[order], xy[order], 0.7, 30), found[order], atol=1e-5)
    np.testing.assert_array_equal(propagate_embedding(rows, xy, 0.7, 30, threads=2), found)


def test_units_of_length_and_position_have_no_effect() -> None:
    rows, xy, _ = tissue(200)
    moved = propagate_embedding(rows, xy * 1000 - 5, 0.7, 30)
    np.testing.assert_allclose(moved, propagate_embedding(rows, xy, 0.7, 30), atol=1e-4)


def test_intermingled_types_are_not_blurred() -> None:
    rows, xy, kind = tissue(600, noise=0.5)
    kind = np.where(np.arange(600) % 25 == 0, 1, 0)  # a rare type among the others
    rows = np.random.default_rng(0).normal(0, 0.5, rows.shape).astype(np.float32)
    rows[np.arange(600), kind] += 2.5
    found = propagate_embedding(rows, xy, 0.7, 20)

    def apart(x: np.ndarray) -> float:
        a, b = x[kind == 0], x[kind == 1]
        return float(np.linalg.norm(a.mean(0) - b.mean(0)) / np.sqrt(a.var(0).sum() + b.var(0).sum()))

    assert apart(found) > 1.3 * apart(rows)
    before = np.linalg.norm(rows[kind == 0].mean(0) - rows[kind == 1].mean(0))
    after = np.linalg.norm(found[kind == 0].mean(0) - found[kind == 1].mean(0))
    assert after > 0.85 * before


def test_an_isolated_cell_still_has_neighbors_and_spoils_nothing() -> None:
    rows, xy, _ = tissue(200)
    far = xy.copy()
    far[0] = [1e7, 1e7]
    found = propagate_embedding(rows, far, 0.7, 30)
    assert np.isfinite(found).all()
    assert not np.allclose(found[0], rows[0])
    rest = propagate_embedding(rows[1:], far[1:], 0.7, 30)
    assert np.median(np.abs(found[1:] - rest)) < 1e-3


def test_coincident_positions() -> None:
    rows, xy, _ = tissue(100)
    found = propagate_embedding(rows, np.zeros_like(xy), 0.5, 99)  # all cells weigh the same
    others = (rows.sum(0) - rows) / 99
    positive = propagate_embedding(rows + 10, np.zeros_like(xy), 0.5, 99)
    np.testing.assert_allclose(positive, 0.5 * (rows + 10) + 0.5 * (others + 10), rtol=1e-4)
    assert np.isfinite(found).all()


@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_few_cells(n: int) -> None:
    rows, xy, _ = tissue(10)
    found = propagate_embedding(rows[:n], xy[:n], 0.7)
    assert found.shape == (n, 6)
    assert np.isfinite(found).all()
    assert choose_alpha((), xy[:n]) == 0


def test_neighbors_and_bandwidth_matter() -> None:
    rows, xy, _ = tissue(300)
    found = propagate_embedding(rows, xy, 0.7, 50, 4.0)
    assert np.abs(found - propagate_embedding(rows, xy, 0.7, 10, 4.0)).max() > 0.05
    assert np.abs(found - propagate_embedding(rows, xy, 0.7, 50, 1.0)).max() > 0.05
    spread = [
        np.square(propagate_embedding(rows, xy, 1.0, 100, b) - rows).sum() for b in (0.05, 100.0)
    ]  # one neighbor against the mean of a hundred
    assert spread[0] > spread[1]


def test_coordinates_of_another_length_are_refused() -> None:
    rows, xy, _ = tissue(20)
    with pytest.raises(InputError, match="20 cells"):
        propagate_embedding(rows, xy[:19], 0.5)


# The share of neighbors


def folds(
    signal: np.ndarray, noise: float, seed: int = 0, genes: int = 20
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Embeddings of cells with noise, and genes that their true factors express."""
    rng = np.random.default_rng(seed)
    for _ in range(3):
        loadings = rng.normal(size=(genes, signal.shape[1]))
        seen = signal + rng.normal(0, noise, signal.shape)
        measured = signal @ loadings.T + rng.normal(0, 1, (len(signal), genes))
        yield seen.astype(np.float32), loadings, measured


def test_noisy_cells_take_more_of_their_neighbors_than_clean_ones() -> None:
    signal, xy, _ = tissue(500, noise=0.05)
    few, many = (choose_alpha(folds(signal, noise), xy, 30) for noise in (0.02, 0.6))
    assert many >= 0.3
    assert few < many


def test_neighbors_that_say_nothing_are_not_taken() -> None:
    rng = np.random.default_rng(0)
    signal = rng.normal(size=(400, 12))  # every cell is of its own kind, and exactly measured
    xy = rng.uniform(0, 20, (400, 2))
    assert choose_alpha(folds(signal, 0.0), xy, 30) == 0


def test_genes_that_no_embedding_predicts_choose_little() -> None:
    rng = np.random.default_rng(1)
    xy = rng.uniform(0, 20, (100, 2))
    rows = np.ones((100, 4), np.float32)
    assert choose_alpha([(rows, np.ones((5, 4)), np.ones((100, 5)))], xy) == 0


def test_the_choice_is_independent_of_cells_without_counts() -> None:
    signal, xy, _ = tissue(300, noise=0.05)
    known = np.arange(300) % 5 != 0
    made = list(folds(signal, 0.4))
    spoiled = [(np.where(known[:, None], r, 99).astype(np.float32), p, v) for r, p, v in made]
    kept = [(r[known], p, v[known]) for r, p, v in made]
    assert choose_alpha(spoiled, xy, 30, known=known) == choose_alpha(kept, xy[known], 30)


@pytest.mark.parametrize("alpha", [-0.1, 1.5])
def test_what_is_no_share_is_refused(alpha: float) -> None:
    _, xy, _ = tissue(20, noise=0.05)
    with pytest.raises(ConfigError, match="between 0 and 1"):
        propagate_embedding(np.ones((20, 3), np.float32), xy, alpha)


def test_folds_part_the_genes_whatever_their_order() -> None:
    genes = [f"g{i}" for i in range(23)]
    parts = gene_folds(genes)
    assert sorted(g for part in parts for g in part) == sorted(genes)
    assert {len(part) for part in parts} <= {4, 5}
    assert gene_folds(genes[::-1]) == parts
    assert gene_folds(genes, seed=1) != parts
    assert gene_folds(["a", "b"]) in ([["a"], ["b"]], [["b"], ["a"]])
    assert gene_folds([]) == []


def test_spacing_is_that_of_a_lattice_and_scales() -> None:
    side = 30
    row, column = np.divmod(np.arange(side * side), side)
    hexagons = np.stack([column + 0.5 * (row % 2), row * np.sqrt(3) / 2], axis=1)
    assert spacing(hexagons) == pytest.approx(1, rel=1e-6)
    assert spacing(hexagons * 7 + 3) == pytest.approx(7, rel=1e-6)
    assert spacing(hexagons[:1]) == 0
    assert spacing(np.zeros((20, 2))) == 0
