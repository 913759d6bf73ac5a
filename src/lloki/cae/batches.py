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
    """

    cell: Tensor
    neighbor: Tensor
    anchor: Tensor
    positive: Tensor
    negative: Tensor


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
        drawn = range(cells.slices) if slices is None else slices
        pools = (cells.members(s, seen=seen).cpu() for s in drawn)
        self.pools = [pool for pool in pools if len(pool)]
        self.neighbors = neighbors
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
        u = _uniform((len(anchor), 2), rng).to(device)
        return Batch(cell, neighbor, anchor, pairs.draw(anchor, u), negative)

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
