"""What a step is made of."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from lloki.cae.batches import Sampler
from lloki.cae.cells import Cells, own_neighbors, slice_pairs
from lloki.cae.pairs import PairTable


def gather(sizes: list[int], holdout: float = 0.0, dim: int = 6) -> Cells:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(sum(sizes), dim)).astype(np.float32)
    return Cells.gather(
        x,
        sizes,
        torch.arange(len(sizes))[:, None],
        holdout=holdout,
        rng=torch.Generator().manual_seed(0),
        device=torch.device("cpu"),
    )


def pairs_of(cells: Cells, **options: Any):
    options = {"cells_per_slice": 1000, "partners": 10} | options
    return slice_pairs(cells, cells.x, 10, rng=torch.Generator().manual_seed(1), **options)


def test_own_neighbors_are_the_nearest_by_cosine_in_the_own_slice() -> None:
    cells = gather([30, 50])
    found = own_neighbors(cells, 4)
    for s in range(2):
        rows = cells.members(s)
        x = cells.x[rows].double()
        x = x / x.norm(dim=1, keepdim=True)
        cosine = (x @ x.T).fill_diagonal_(-2)
        want = cosine.topk(4, dim=1)
        kept = torch.where(want.values > 0, rows[want.indices], -1)
        assert torch.equal(found[rows], kept)


def test_a_slice_smaller_than_k_has_fewer_neighbors() -> None:
    cells = gather([3, 1, 40])
    found = own_neighbors(cells, 30)
    assert (found[:3] >= 0).sum(1).max() <= 2
    assert (found[3] == -1).all()


def test_a_batch_is_stratified_and_stays_in_its_slices() -> None:
    cells = gather([1000, 20, 200])
    pairs = pairs_of(cells)
    batch = Sampler(cells, own_neighbors(cells, 5)).draw(300, 3, pairs, torch.Generator().manual_seed(2))
    own, of_anchor = cells.slice_of[batch.cell], cells.slice_of[batch.anchor]
    assert torch.bincount(own).tolist() == [100, 100, 100]
    assert torch.bincount(of_anchor).tolist() == [100, 100, 100]
    assert torch.equal(own[batch.negative], of_anchor)
    there = batch.neighbor[:, 0] >= 0
    assert torch.equal(cells.slice_of[batch.neighbor[there]], own[there][:, None].expand(-1, 3))
    assert (cells.slice_of[batch.positive] != of_anchor).all()


def paired_in(cells: Cells, slices: tuple[int, ...], share: float = 0.05) -> PairTable:
    """Pairs of a few random cells of some slices with random cells of the next."""
    rng = torch.Generator().manual_seed(4)
    anchors, positives = [], []
    for s in slices:
        own, other = cells.members(s, seen=True), cells.members((s + 1) % cells.slices, seen=True)
        anchors.append(own[torch.randperm(len(own), generator=rng)[: int(share * len(own))]])
        positives.append(other[torch.randint(len(other), (len(anchors[-1]),), generator=rng)])
    return PairTable.build(torch.cat(anchors), torch.cat(positives), cells.slice_of)


def test_every_anchor_has_a_partner_where_few_cells_have_one() -> None:
    cells = gather([2000, 400, 1000])
    pairs = paired_in(cells, (0, 1, 2))
    assert torch.bincount(cells.slice_of[pairs.anchors()]).tolist() == [100, 20, 50]
    known = set(zip(pairs.anchor_of().tolist(), pairs.positive.tolist()))
    sampler, rng = Sampler(cells, own_neighbors(cells, 5)), torch.Generator().manual_seed(0)
    batches = [sampler.draw(300, 1, pairs, rng) for _ in range(40)]
    for batch in batches:
        assert set(zip(batch.anchor.tolist(), batch.positive.tolist())) <= known
        assert torch.bincount(cells.slice_of[batch.anchor]).tolist() == [100, 100, 100]
    # each of them is drawn, and what is reconstructed is drawn from all cells
    assert len(torch.cat([batch.anchor for batch in batches]).unique()) == 170
    drawn = torch.cat([batch.cell for batch in batches])
    assert float(pairs.anchors()[drawn].float().mean()) == pytest.approx(0.05, abs=0.01)
    # so are the negatives
    negative = torch.cat([batch.cell[batch.negative] for batch in batches])
    assert float(pairs.anchors()[negative].float().mean()) == pytest.approx(0.05, abs=0.01)


def test_a_slice_without_partners_is_drawn_and_has_no_anchors() -> None:
    cells = gather([100, 90, 80])
    sampler, rng = Sampler(cells, own_neighbors(cells, 5)), torch.Generator().manual_seed(0)
    batch = sampler.draw(30, 1, paired_in(cells, (0, 2), share=0.2), rng)
    assert torch.bincount(cells.slice_of[batch.cell]).tolist() == [10, 10, 10]
    of_anchor = cells.slice_of[batch.anchor]
    assert torch.bincount(of_anchor, minlength=3).tolist() == [15, 0, 15]  # as many anchors as cells
    assert torch.equal(cells.slice_of[batch.cell[batch.negative]], of_anchor)
    none = sampler.draw(30, 1, paired_in(cells, (0,), share=0.0), rng)
    assert len(none.cell) == 30
    assert len(none.anchor) == len(none.positive) == len(none.negative) == 0


def test_anchors_are_those_of_the_pairs_of_the_moment() -> None:
    cells = gather([200, 200])
    sampler, rng = Sampler(cells, own_neighbors(cells, 5)), torch.Generator().manual_seed(0)
    for slices in ((0,), (1,), (0,)):
        pairs = paired_in(cells, slices)
        batch = sampler.draw(50, 1, pairs, rng)
        assert pairs.anchors()[batch.anchor].all()
        assert set(cells.slice_of[batch.anchor].tolist()) == set(slices)


def test_a_small_slice_counts_as_much_as_one_a_hundred_times_its_size() -> None:
    cells = gather([100_000, 1_000], dim=2)
    none = torch.full((len(cells), 1), -1)
    pairs = PairTable.build(
        torch.empty(0, dtype=torch.int64), torch.empty(0, dtype=torch.int64), cells.slice_of
    )
    batch = Sampler(cells, none).draw(2_000, 1, pairs, torch.Generator().manual_seed(0))
    assert torch.bincount(cells.slice_of[batch.cell]).tolist() == [1_000, 1_000]
    assert len(batch.cell[:1_000].unique()) > 950  # of the large slice hardly any cell comes twice


def test_only_the_slices_asked_for_are_drawn_and_paired() -> None:
    cells = gather([60, 50, 40])
    neighbors = own_neighbors(cells, 5, slices=[1])
    assert (neighbors[cells.slice_of != 1] == -1).all()
    pairs = pairs_of(cells, slices=[1])
    assert pairs.anchors()[cells.slice_of == 1].any()
    apart = pairs.positive[cells.slice_of[pairs.positive] != 1]
    anchors = torch.repeat_interleave(torch.arange(len(cells)), pairs.member_ptr[pairs.group_ptr].diff())
    assert (cells.slice_of[anchors[cells.slice_of[pairs.positive] != 1]] == 1).all()
    assert len(apart)
    batch = Sampler(cells, neighbors, slices=[1]).draw(30, 2, pairs, torch.Generator().manual_seed(0))
    assert (cells.slice_of[batch.cell] == 1).all()
    assert (cells.slice_of[batch.anchor] == 1).all()
    assert torch.equal(cells.slice_of[batch.cell[batch.negative]], cells.slice_of[batch.anchor])


def test_held_out_cells_are_seen_by_no_step() -> None:
    cells = gather([400, 300], holdout=0.2)
    assert int((~cells.seen).sum()) == 140
    neighbors, pairs = own_neighbors(cells, 5), pairs_of(cells)
    rng = torch.Generator().manual_seed(3)
    batch = Sampler(cells, neighbors).draw(5000, 2, pairs, rng)
    for index in (batch.cell, batch.anchor, batch.positive, batch.neighbor.reshape(-1)):
        assert cells.seen[index[index >= 0]].all()
    held = Sampler(cells, neighbors, seen=False).draw(500, 2, pairs, rng)
    assert not cells.seen[held.cell].any()
    assert not cells.seen[held.anchor].any()
    assert len(held.anchor) == 500
    assert cells.seen[held.positive].all()


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
