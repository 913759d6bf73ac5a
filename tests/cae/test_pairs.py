"""Mutual nearest neighbors against brute force, and the table they are drawn from."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lloki.cae.cells import Cells, in_company, own_neighbors, slice_pairs, with_counterpart
from lloki.cae.pairs import PairTable
from lloki.graph.knn import tensors
from lloki.graph.knn.tensors import (
    cosine_distance,
    mutual_pairs,
    nearest,
    nearest_cosines,
    nearest_others,
    unit_rows,
)


def brute(a: np.ndarray, b: np.ndarray, k: int) -> set[tuple[int, int]]:
    cosine = np.array([[u @ v / np.linalg.norm(u) / np.linalg.norm(v) for v in b] for u in a])
    ahead = {(i, int(j)) for i in range(len(a)) for j in np.argsort(-cosine[i])[:k]}
    behind = {(int(i), j) for j in range(len(b)) for i in np.argsort(-cosine[:, j])[:k]}
    return ahead & behind


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000), st.integers(1, 40), st.integers(1, 40), st.integers(1, 12))
def test_mutual_pairs_are_those_of_brute_force(seed: int, n: int, m: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(n, 5)), rng.normal(size=(m, 5))
    i, j = mutual_pairs(torch.from_numpy(a), torch.from_numpy(b), k)
    assert set(zip(i.tolist(), j.tolist())) == brute(a, b, k)
    assert len(i) == len(set(zip(i.tolist(), j.tolist())))


@pytest.mark.parametrize("typed", [False, True])
def test_both_directions_are_found_from_one_product_as_from_two(
    monkeypatch: pytest.MonkeyPatch, typed: bool
) -> None:
    rng = np.random.default_rng(4)
    a, b = (rng.normal(size=(n, 6)).astype(np.float32) for n in (130, 90))
    types = tuple(torch.from_numpy(rng.integers(-1, 3, n)) for n in (130, 90)) if typed else None
    monkeypatch.setattr(tensors, "_SQUARE", 32)
    once = mutual_pairs(torch.from_numpy(a), torch.from_numpy(b), 7, types=types)
    twice = mutual_pairs(*(torch.from_numpy(x.astype(float)) for x in (a, b)), 7, types=types)
    assert len(once[0]) > 20
    assert all(torch.equal(x, y) for x, y in zip(once, twice))
    if not typed:
        assert set(zip(*(x.tolist() for x in once))) == brute(a, b, 7)


def test_pairs_do_not_depend_on_the_size_of_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    a, b = (torch.from_numpy(rng.normal(size=(n, 6))) for n in (130, 90))
    whole = mutual_pairs(a, b, 7)
    monkeypatch.setattr(tensors, "BLOCK", 32)
    parts = mutual_pairs(a, b, 7)
    assert all(torch.equal(x, y) for x, y in zip(whole, parts))


@pytest.mark.parametrize(("n", "k"), [(1, 3), (2, 3), (40, 5), (200, 20)])
def test_nearest_other_rows_are_those_of_brute_force(monkeypatch: pytest.MonkeyPatch, n: int, k: int) -> None:
    monkeypatch.setattr("lloki.graph.knn.tensors._SQUARE", 64)
    x = np.random.default_rng(n).normal(size=(n, 6)).astype(np.float32)
    unit = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(float)
    cosine = unit @ unit.T
    np.fill_diagonal(cosine, -np.inf)
    wanted = np.argsort(-cosine, axis=1)[:, : min(k, n - 1)]
    assert np.array_equal(nearest_others(torch.from_numpy(x), k).numpy(), wanted)
    assert np.array_equal(nearest_others(torch.from_numpy(x.astype(float)), k).numpy(), wanted)


@pytest.mark.parametrize(("n", "m", "k"), [(0, 5, 3), (1, 1, 3), (150, 40, 5), (40, 150, 21)])
def test_the_most_similar_targets_come_with_their_cosines(
    monkeypatch: pytest.MonkeyPatch, n: int, m: int, k: int
) -> None:
    monkeypatch.setattr("lloki.graph.knn.tensors._SQUARE", 64)
    rng = np.random.default_rng(n)
    a, b = (rng.normal(size=(rows, 6)).astype(np.float32) for rows in (n, m))
    unit = [(x / np.linalg.norm(x, axis=1, keepdims=True)).astype(float) for x in (a, b)]
    cosine = unit[0] @ unit[1].T
    wanted = np.argsort(-cosine, axis=1)[:, :k]
    for x, y in ((a, b), (a.astype(float), b.astype(float))):
        index, found = nearest_cosines(torch.from_numpy(x), torch.from_numpy(y), k)
        assert np.array_equal(index.numpy(), wanted)
        np.testing.assert_allclose(found.numpy(), np.take_along_axis(cosine, wanted, 1), atol=3e-7)


def test_distances_of_listed_pairs_do_not_depend_on_the_size_of_a_block(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(0)
    a, b = (torch.from_numpy(rng.normal(size=(n, 6)).astype(np.float32)) for n in (30, 20))
    i, j = torch.from_numpy(rng.integers(30, size=100)), torch.from_numpy(rng.integers(20, size=100))
    whole = cosine_distance(unit_rows(a), i, unit_rows(b), j)
    wanted = 1 - torch.nn.functional.cosine_similarity(a[i], b[j])
    np.testing.assert_allclose(whole, wanted, atol=1e-6)
    monkeypatch.setattr("lloki.graph.knn.tensors._SQUARE", 7)
    assert torch.equal(cosine_distance(unit_rows(a), i, unit_rows(b), j), whole)


def test_nearest_survives_zero_rows_and_a_small_target() -> None:
    found = nearest(torch.zeros((3, 4)), torch.randn((2, 4)), 5)
    assert found.shape == (3, 2)
    assert sorted(found[0].tolist()) == [0, 1]


def table() -> PairTable:
    # cells 0, 1 in slice 0; 2, 3, 4 in slice 1; 5 in slice 2; cell 1 has no positive
    anchor = torch.tensor([0, 0, 0, 0, 2, 5])
    positive = torch.tensor([2, 3, 4, 5, 0, 0])
    return PairTable.build(anchor, positive, torch.tensor([0, 0, 1, 1, 1, 2]))


def test_draws_are_positives_of_the_cell_or_none() -> None:
    cells = torch.tensor([0, 1, 2, 3, 4, 5])
    u = torch.rand((6, 2), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    drawn = table().draw(cells, u).tolist()
    assert drawn[0] in {2, 3, 4, 5}
    assert drawn[1:] == [-1, 0, -1, -1, 0]
    assert table().anchors().tolist() == [True, False, True, False, False, True]


def test_every_partner_slice_has_the_same_say() -> None:
    n = 20_000
    u = torch.rand((n, 2), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    drawn = table().draw(torch.zeros(n, dtype=torch.int64), u)
    share = torch.bincount(drawn, minlength=6) / n
    # slice 2 offers one positive and slice 1 three: half the draws each, and even within slice 1
    torch.testing.assert_close(share, torch.tensor([0, 0, 1 / 6, 1 / 6, 1 / 6, 1 / 2]), atol=0.02, rtol=0)


def test_an_empty_table_draws_nothing() -> None:
    none = torch.empty(0, dtype=torch.int64)
    empty = PairTable.build(none, none, torch.tensor([0, 0, 1]))
    assert len(empty) == 0
    assert empty.draw(torch.tensor([0, 2]), torch.rand((2, 2))).tolist() == [-1, -1]


def test_a_few_pairs_among_many_cells_without_one_do_not_count() -> None:
    """Cells 0-39 nearly all have partners; of 40-99 three have, far from each other."""
    near = torch.cat(
        [
            (torch.arange(40)[:, None] + torch.arange(1, 6)) % 40,
            40 + (torch.arange(60)[:, None] + torch.arange(1, 6)) % 60,
        ]
    )
    ends = torch.cat([torch.arange(36), torch.tensor([45, 60, 80])]).repeat_interleave(2)
    counts = in_company(near, ends)
    assert counts[:72].float().mean() > 0.9
    assert not counts[72:].any()
    alone = near.clone()
    alone[45] = -1  # nothing is known about it
    assert in_company(alone, ends)[72:].tolist() == [True, True, *[False] * 4]
    # few of any kind find partners beside a much smaller slice
    sparse = torch.arange(0, 100, 6)
    wide = torch.stack([(torch.arange(100) + i) % 96 for i in range(1, 19)], dim=1)
    assert in_company(wide, sparse)[:-3].all()
    assert len(in_company(wide, sparse[:0])) == 0


def test_company_is_that_of_cells_that_took_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a slice with more cells than are searched, neighbors are sought among those that are."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 6)).astype(np.float32)
    cells = Cells.gather(
        x,
        [200, 100],
        torch.zeros(2, 1, dtype=torch.int64),
        holdout=0.0,
        rng=torch.Generator().manual_seed(0),
        device=torch.device("cpu"),
    )
    asked: list[tuple[torch.Tensor, ...]] = []

    def watched(near: torch.Tensor, ends: torch.Tensor) -> torch.Tensor:
        asked.append((near, ends))
        return torch.ones(len(ends), dtype=torch.bool)

    monkeypatch.setattr("lloki.cae.cells.in_company", watched)
    neighbors = own_neighbors(cells, 10)
    options = {"cells_per_slice": 100, "partners": 1, "neighbors": neighbors}
    pairs = slice_pairs(cells, cells.x, 5, rng=torch.Generator().manual_seed(3), **options)
    near = asked[0][0]
    assert all(torch.equal(near, other) for other, _ in asked)
    assert torch.equal(near[200:], neighbors[200:])
    took = (near[:200] >= 0).any(1).nonzero().squeeze(1)
    assert len(took) == 100
    assert torch.isin(pairs.anchor_of()[pairs.anchor_of() < 200], took).all()
    unit = x[took] / np.linalg.norm(x[took], axis=1, keepdims=True)
    cosine = unit @ unit.T
    np.fill_diagonal(cosine, -2)
    best = np.argsort(-cosine, axis=1)[:, :10]
    np.testing.assert_array_equal(np.sort(near[took].numpy(), axis=1), np.sort(took.numpy()[best], axis=1))
    sides = sorted((int(ends.min() >= 200), int(ends.max() >= 200)) for _, ends in asked)
    assert sides == [(0, 0), (0, 0), (1, 1), (1, 1)]  # both cells of a pair, in either direction


def test_pairs_far_beyond_a_cells_own_neighbors_do_not_count() -> None:
    rng = np.random.default_rng(0)
    kinds = np.eye(6, dtype=np.float32)[:3]
    a = kinds[np.repeat([0, 1], 30)] + 0.05 * rng.normal(size=(60, 6))
    b = kinds[np.repeat([0, 2], 30)] + 0.05 * rng.normal(size=(60, 6))
    cells = Cells.gather(
        np.concatenate([a, b]).astype(np.float32),
        [60, 60],
        torch.zeros(2, 1, dtype=torch.int64),
        holdout=0.0,
        rng=torch.Generator().manual_seed(0),
        device=torch.device("cpu"),
    )
    neighbors = own_neighbors(cells, 10)
    like, unlike = (torch.arange(30), torch.arange(60, 90)), (torch.arange(30, 60), torch.arange(90, 120))
    few = slice(0, 20)  # fewer than half of the pairs
    both = torch.cat([like[0], unlike[0][few]]), torch.cat([like[1], unlike[1][few]])
    counts = with_counterpart(cells, neighbors, *both, reach=4.0)
    assert counts[:30].all()
    assert not counts[30:].any()
    # where batches are far apart as a whole, there is no nearer pair to compare with
    assert with_counterpart(cells, neighbors, *unlike, reach=4.0).all()
    # of a slice whose neighbors were not sought nothing is known
    unknown = torch.full_like(neighbors, -1)
    assert with_counterpart(cells, unknown, *both).all()
