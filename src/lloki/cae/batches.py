"""Batches stratified over slices."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from lloki.cae.cells import Cells
from lloki.cae.pairs import PairTable


@dataclass(frozen=True)
class Batch:
    """The cells of one step, as indices into all cells unless stated otherwise.

    Parameters
    ----------
    cell
        (n,) drawn cells, which are reconstructed and whose distances to their neighbors are conserved.
    neighbor
        (n, m) neighbors in the own slice; a row of -1 where there are none.
    anchor
        (a,) drawn cells of the triplet loss; all of them have a positive.
    positive
        (a,) a mutual neighbor of each anchor in another slice.
    negative
        (a,) position *in* ``cell`` of a random cell of the anchor's slice, which is encoded anyway.
    back
        (a,) the same for the positive's slice, -1 where the positive is no anchor in turn: none of held-out
        cells is, nor where no cells of its slice are drawn.
    weight
        (a,) of the triplet whose anchor is the positive: how much more often it would be drawn for its own
        sake.
    """

    cell: Tensor
    neighbor: Tensor
    anchor: Tensor
    positive: Tensor
    negative: Tensor
    back: Tensor
    weight: Tensor


class Sampler:
    """Draws the same number of cells from every slice, however large, with replacement.

    Parameters
    ----------
    cells
        All cells.
    neighbors
        (N, k) their neighbors, see `own_neighbors`.
    seen
        Draw from the seen or from the held-out cells.
    slices
        Draw from these, default all.
    """

    def __init__(
        self, cells: Cells, neighbors: Tensor, *, seen: bool = True, slices: Iterable[int] | None = None
    ) -> None:
        self.pools: list[Tensor] = []
        self.neighbors, self.slice_of, self.seen = neighbors, cells.slice_of, seen
        self._pool_of = torch.full((cells.slices,), -1, device=neighbors.device)
        for s in range(cells.slices) if slices is None else slices:
            pool = cells.members(s, seen=seen).cpu()
            if len(pool):
                self._pool_of[s] = len(self.pools)
                self.pools.append(pool)
        self._pairs: PairTable | None = None
        self._paired: list[tuple[int, Tensor]] = []

    def draw(self, n: int, m: int, pairs: PairTable, rng: torch.Generator) -> Batch:
        """Draw about ``n`` cells with ``m`` neighbors each, and as many anchors among the cells of ``pairs``.

        Every slice has the same share of the cells, and every slice with a paired cell of the anchors; at
        least one of each.
        """
        device = self.neighbors.device
        each = max(1, n // len(self.pools))
        cell = torch.cat([_some(pool, each, rng) for pool in self.pools]).to(device)
        own = self.neighbors[cell]
        there = (own >= 0).sum(1, keepdim=True)
        neighbor = own.gather(1, (_uniform((len(cell), m), rng).to(device) * there).long()).long()
        paired = self._pools_of(pairs)
        a = max(1, n // max(1, len(paired)))
        none = torch.empty(0, dtype=torch.int64)
        anchor = torch.cat([none, *(_some(pool, a, rng) for _, pool in paired)]).to(device)
        # Cells are drawn independently of the anchors: any of them is a random negative of its slice.
        negative = torch.cat([none, *(i * each + torch.arange(a) % each for i, _ in paired)]).to(device)
        positive = pairs.draw(anchor, _uniform((len(anchor), 2), rng).to(device))
        pool, weight = self._pool_of[self.slice_of[positive]], self._weight(anchor, positive, pairs)
        other = torch.arange(len(anchor), device=device) % each
        back = torch.where((pool < 0) | (weight == 0), -1, pool * each + other)
        return Batch(cell, neighbor, anchor, positive, negative, back, weight)

    def _weight(self, anchor: Tensor, positive: Tensor, pairs: PairTable) -> Tensor:
        """Weight each pair (a,) turned round: how often it is drawn so over how often it is drawn as it is.

        Cells with many partners are positives more often than they are anchors: without the weights, they
        would count more.
        """
        if not self.seen or not len(anchor):  # a held-out cell is nobody's positive
            return torch.zeros(len(anchor), device=anchor.device)
        slices, cells = len(self._pool_of), torch.zeros(len(self._pool_of), device=anchor.device)
        for i, pool in self._pools_of(pairs):
            cells[self._pool_of == i] = len(pool)
        one, other = self.slice_of[anchor], self.slice_of[positive]
        there, back = pairs.odds(anchor, other, slices), pairs.odds(positive, one, slices)
        return torch.where(cells[other] > 0, back * cells[one] / (there * cells[other].clamp_min(1)), 0.0)

    def _pools_of(self, pairs: PairTable) -> list[tuple[int, Tensor]]:
        """List the pools that have cells with a partner: which one it is, and these cells."""
        if self._pairs is not pairs:  # only a new search changes them
            some = pairs.anchors().cpu()
            paired = ((i, pool[some[pool]]) for i, pool in enumerate(self.pools))
            self._pairs, self._paired = pairs, [(i, pool) for i, pool in paired if len(pool)]
        return self._paired


def _some(pool: Tensor, n: int, rng: torch.Generator) -> Tensor:
    """Draw ``n`` entries with replacement."""
    return pool[(_uniform((n,), rng) * len(pool)).long()]


def _uniform(shape: tuple[int, ...], rng: torch.Generator) -> Tensor:
    # float64, since the largest float32 below 1 times a large n rounds to n.
    return torch.rand(shape, generator=rng, dtype=torch.float64)
