"""What a step is made of."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lloki.cae.batches import Sampler
from lloki.cae.cells import Cells, own_neighbours, slice_pairs


def gather(sizes: list[int], holdout: float = 0.0, dim: int = 6) -> Cells:
    rng = np.random.default_rng(0)
    scaled = [rng.normal(size=(n, dim)).astype(np.float32) for n in sizes]
    generator = torch.Generator().manual_seed(0)
    return Cells.gather(
        scaled, list(range(len(sizes))), holdout=holdout, rng=generator, device=torch.device("cpu")
    )


def pairs_of(cells: Cells, **options: int):
    options = {"cells_per_slice": 1000, "partners": 10} | options
    return slice_pairs(cells, cells.x, 10, rng=torch.Generator().manual_seed(1), **options)


def test_own_neighbours_are_the_nearest_by_cosine_in_the_own_slice() -> None:
    cells = gather([30, 50])
    found = own_neighbours(cells, 4)
    for s in range(2):
        rows = cells.members(s)
        x = cells.x[rows].double()
        x = x / x.norm(dim=1, keepdim=True)
        cosine = (x @ x.T).fill_diagonal_(-2)
        want = cosine.topk(4, dim=1)
        kept = torch.where(want.values > 0, rows[want.indices], -1)
        assert torch.equal(found[rows], kept)


def test_a_slice_smaller_than_k_has_fewer_neighbours() -> None:
    cells = gather([3, 1, 40])
    found = own_neighbours(cells, 30)
    assert (found[:3] >= 0).sum(1).max() <= 2
    assert (found[3] == -1).all()


def test_a_batch_is_stratified_and_stays_in_its_slices() -> None:
    cells = gather([1000, 20, 200])
    batch = Sampler(cells, own_neighbours(cells, 5)).draw(
        300, 3, pairs_of(cells), torch.Generator().manual_seed(2)
    )
    own = cells.slice_of[batch.cell]
    assert torch.bincount(own).tolist() == [100, 100, 100]
    assert torch.equal(cells.slice_of[batch.cell[batch.negative]], own)
    assert (batch.negative != torch.arange(300)).all()
    there = batch.neighbour[:, 0] >= 0
    assert torch.equal(cells.slice_of[batch.neighbour[there]], own[there][:, None].expand(-1, 3))
    paired = batch.positive >= 0
    assert paired.any()
    assert (cells.slice_of[batch.positive[paired]] != own[paired]).all()


def test_held_out_cells_are_seen_by_no_step() -> None:
    cells = gather([400, 300], holdout=0.2)
    assert int((~cells.seen).sum()) == 140
    neighbours, pairs = own_neighbours(cells, 5), pairs_of(cells)
    rng = torch.Generator().manual_seed(3)
    batch = Sampler(cells, neighbours).draw(5000, 2, pairs, rng)
    for index in (batch.cell, batch.positive, batch.neighbour.reshape(-1)):
        assert cells.seen[index[index >= 0]].all()
    held = Sampler(cells, neighbours, seen=False).draw(500, 2, pairs, rng)
    assert not cells.seen[held.cell].any()
    assert cells.seen[held.positive[held.positive >= 0]].all()


def test_the_search_of_pairs_is_bounded() -> None:
    cells = gather([60] * 7)
    few = pairs_of(cells, cells_per_slice=20)
    assert int(few.anchors().sum()) <= 7 * 20
    partners = pairs_of(cells, partners=1)
    lists = [set(cells.slice_of[partners.positive[a:b]].tolist()) for a, b in _entries(partners)]
    assert max(map(len, lists)) < 6  # with every partner each cell could have six


def _entries(table):
    ends = table.member_ptr[table.group_ptr]
    return list(zip(ends[:-1].tolist(), ends[1:].tolist()))


def test_pairs_do_not_depend_on_the_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    cells = gather([50, 60, 70])
    tables = []
    for threads in ("1", "2"):
        monkeypatch.setenv("LLOKI_THREADS", threads)
        tables.append(pairs_of(cells))
    assert torch.equal(tables[0].positive, tables[1].positive)
