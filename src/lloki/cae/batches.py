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
        (n,) drawn cells: they are reconstructed and are the anchors.
    positive
        (n,) a mutual neighbor in another slice, -1 where there is none.
    negative
        (n,) position *in this batch* of another drawn cell of the same slice, already encoded as an anchor.
    neighbor
        (n, m) neighbors in the own slice; a row of -1 where there are none.
    """

    cell: Tensor
    positive: Tensor
    negative: Tensor
    neighbor: Tensor


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

    def draw(self, n: int, m: int, pairs: PairTable, rng: torch.Generator) -> Batch:
        """Draw about ``n`` cells (at least two of each slice) with ``m`` neighbors and one positive each."""
        device = self.neighbors.device
        each = max(2, n // len(self.pools))
        drawn = [pool[(_uniform((each,), rng) * len(pool)).long()] for pool in self.pools]
        cell = torch.cat(drawn).to(device)
        # Cells are drawn independently, so the next of the same slice is as random a negative as any.
        negative = torch.arange(len(cell), device=device).reshape(-1, each).roll(1, dims=1).reshape(-1)
        u = _uniform((len(cell), 2 + m), rng).to(device)
        own = self.neighbors[cell]
        there = (own >= 0).sum(1, keepdim=True)
        return Batch(cell, pairs.draw(cell, u[:, :2]), negative, own.gather(1, (u[:, 2:] * there).long()))


def _uniform(shape: tuple[int, ...], rng: torch.Generator) -> Tensor:
    # float64, since the largest float32 below 1 times a large n rounds to n.
    return torch.rand(shape, generator=rng, dtype=torch.float64)
