"""What training draws from: all cells of all slices, and batches stratified over slices."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lloki.cae.pairs import PairTable, mutual_pairs, nearest


@dataclass(frozen=True)
class Cells:
    """All cells, slices one after the other in order of their names.

    Parameters
    ----------
    x
        (N, d) scaled inputs.
    token
        (N,) int64 token index.
    slice_of
        (N,) int64 slice index, ascending.
    start
        (slices + 1,) first cell of each slice.
    seen
        (N,) bool: False for held-out cells.
    """

    x: Tensor
    token: Tensor
    slice_of: Tensor
    start: list[int]
    seen: Tensor

    @property
    def slices(self) -> int:
        return len(self.start) - 1

    def rows(self, s: int) -> slice:
        """The cells of slice s."""
        return slice(self.start[s], self.start[s + 1])


@dataclass(frozen=True)
class Batch:
    """Cell indices of one step: ``cell`` (n,), ``positive`` (n,) or -1, ``negative`` (n,), ``neighbour`` (n, m) or -1."""

    cell: Tensor
    positive: Tensor
    negative: Tensor
    neighbour: Tensor


def own_neighbours(cells: Cells, k: int) -> Tensor:
    """(N, k) int64 nearest seen cells in the own slice, -1 where a slice has too few.

    Held-out cells have neighbours too, but are nobody's.
    """
    found = torch.full((len(cells.x), k), -1, dtype=torch.int64, device=cells.x.device)
    for s in range(cells.slices):
        rows = cells.rows(s)
        targets = torch.arange(rows.start, rows.stop, device=cells.x.device)[cells.seen[rows]]
        if len(targets) < 2:
            continue
        near = targets[nearest(cells.x[rows], cells.x[targets], k + 1)]
        self_ = near == torch.arange(rows.start, rows.stop, device=near.device)[:, None]
        # Every row loses one entry: itself where it is listed, else its farthest.
        drop = torch.where(self_.any(1), self_.int().argmax(1), near.shape[1] - 1)
        keep = torch.ones_like(near, dtype=torch.bool).scatter_(1, drop[:, None], False)
        near = near[keep].reshape(len(near), -1)
        found[rows, : near.shape[1]] = near
    return found


def slice_pairs(
    cells: Cells, space: Tensor, k: int, *, at_most: int, partners: int, rng: torch.Generator
) -> PairTable:
    """Mutual nearest neighbours between slices in ``space`` (N, d'), at most ``at_most`` cells of a slice.

    Positives are always seen cells; anchors may be held out.
    """
    device = space.device
    sample = []
    for s in range(cells.slices):
        rows = cells.rows(s)
        n = rows.stop - rows.start
        pick = torch.randperm(n, generator=rng)[:at_most].sort().values if n > at_most else torch.arange(n)
        sample.append((pick + rows.start).to(device))
    chosen = set()
    for s in range(cells.slices):
        others = torch.randperm(cells.slices - 1, generator=rng)[:partners].tolist()
        chosen |= {tuple(sorted((s, o + (o >= s)))) for o in others}
    ahead, behind = (
        [torch.empty(0, dtype=torch.int64, device=device)],
        [torch.empty(0, dtype=torch.int64, device=device)],
    )
    for a, b in sorted(chosen):
        i, j = mutual_pairs(space[sample[a]], space[sample[b]], k)
        ahead += [sample[a][i], sample[b][j]]
        behind += [sample[b][j], sample[a][i]]
    anchor, positive = torch.cat(ahead), torch.cat(behind)
    known = cells.seen[positive]
    return PairTable.build(anchor[known], positive[known], cells.slice_of)


class Sampler:
    """Draws batches: the same number of cells from every slice, with their positives, negatives and neighbours."""

    def __init__(self, cells: Cells, neighbours: Tensor, *, held_out: bool, rng: torch.Generator) -> None:
        self.cells, self.neighbours, self.rng = cells, neighbours, rng
        pools = [torch.arange(cells.start[s], cells.start[s + 1]) for s in range(cells.slices)]
        seen = cells.seen.cpu()
        self.pools = [p for pool in pools if len(p := pool[seen[pool] != held_out])]

    def draw(self, n: int, m: int, pairs: PairTable) -> Batch:
        """About ``n`` cells (a multiple of the number of slices), ``m`` neighbours each."""
        device = self.cells.x.device
        each = max(1, n // len(self.pools))
        cell, negative = [], []
        for pool in self.pools:
            u = torch.rand((2, each), generator=self.rng, dtype=torch.float64)
            drawn = pool[(u * len(pool)).long()]
            cell.append(drawn[0])
            negative.append(drawn[1])
        cells = torch.cat(cell).to(device)
        u = torch.rand((len(cells), 2 + m), generator=self.rng, dtype=torch.float64).to(device)
        own = self.neighbours[cells]  # (n, k)
        filled = (own >= 0).sum(1, keepdim=True)
        near = own.gather(1, (u[:, 2:] * filled).long())
        return Batch(cells, pairs.draw(cells, u[:, :2]), torch.cat(negative).to(device), near)
