"""All cells of a training: neighbors within a slice, mutual neighbors between slices."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lloki._parallel import map_ordered
from lloki.cae.pairs import PairTable
from lloki.graph import cosine_neighbors
from lloki.graph.knn.tensors import (
    cosine_distance,
    mutual_pairs,
    nearest,
    nearest_others,
    unit_rows,
)

# Cosines computed in one search of pairs, over all pairs of slices: about half a minute on one core. With
# many slices each sends fewer cells into the search, so that its cost stays bounded.
COMPARISONS = 1_500_000_000
# How much farther than its own neighbors a partner may lie. Between corrected inputs of real slices nine
# tenths of the pairs of one type lie within 1.1 times; of those between a slice and one that lacks the type,
# a tenth lie beyond 3.4.
REACH = 1.3
# Around a cell with a counterpart, cells with partners are at least this many times as common as around half
# of all that have some. At 0.7, slices of different composition and technology (cortex) mixed less.
COMPANY = 0.5


@dataclass(frozen=True)
class Cells:
    """All cells, slices one after the other in the order of their names.

    Parameters
    ----------
    x
        (N, d) scaled inputs.
    condition
        (N, parts) int64 rows of the cells' batches in the network's tables.
    slice_of
        (N,) int64 index of the slice, ascending.
    start
        (slices + 1) first cell of each slice, then N.
    seen
        (N,) bool, False for held-out cells.
    label
        (N,) int64 type of each cell, -1 where unknown; None where training sees no labels.
    """

    x: Tensor
    condition: Tensor
    slice_of: Tensor
    start: list[int]
    seen: Tensor
    label: Tensor | None = None

    @classmethod
    def gather(
        cls,
        x: NDArray[np.float32],
        sizes: Sequence[int],
        condition: Tensor,
        *,
        holdout: float,
        rng: torch.Generator,
        device: torch.device,
        label: Tensor | None = None,
    ) -> Cells:
        """From the scaled cells (N, d) of all slices one after the other.

        Parameters
        ----------
        x, sizes
            The cells, which are not copied on the CPU, and how many of them each slice has.
        condition
            (slices, parts) rows in the network's tables.
        holdout
            Share of each slice's cells that is held out.
        rng
            Draws them.
        device
            Where all of it is put.
        label
            (N,) see `Cells`.
        """
        counts = torch.tensor(sizes)
        start = [0, *counts.cumsum(0).tolist()]
        seen = torch.ones(start[-1], dtype=torch.bool)
        for first, n in zip(start, sizes):
            seen[first + torch.randperm(n, generator=rng)[: int(holdout * n)]] = False
        return cls(
            x=torch.from_numpy(x).to(device),
            condition=condition.repeat_interleave(counts, dim=0).to(device),
            slice_of=torch.arange(len(sizes)).repeat_interleave(counts).to(device),
            start=start,
            seen=seen.to(device),
            label=None if label is None else label.to(device),
        )

    def __len__(self) -> int:
        return self.start[-1]

    @property
    def slices(self) -> int:
        return len(self.start) - 1

    def members(self, s: int, *, seen: bool | None = None) -> Tensor:
        """Return the indices of the cells of slice s; only the seen or the held-out ones where asked."""
        rows = torch.arange(self.start[s], self.start[s + 1], device=self.x.device)
        return rows if seen is None else rows[self.seen[rows] == seen]


def own_neighbors(cells: Cells, k: int, *, slices: Iterable[int] | None = None) -> Tensor:
    """Find each cell's ``k`` nearest seen cells (cosine) in its own slice.

    Parameters
    ----------
    cells, k
        All cells, and how many neighbors of each.
    slices
        Names of the slices to search; default all.

    Returns
    -------
    indices
        (N, k) int32, -1 after the last where a slice has too few, and in slices not asked for. Held-out cells
        have neighbors but are nobody's.
    """
    found = torch.full((len(cells), k), -1, dtype=torch.int32, device=cells.x.device)
    for s in range(cells.slices) if slices is None else slices:
        seen, held = cells.members(s, seen=True), cells.members(s, seen=False)
        near = torch.from_numpy(cosine_neighbors(cells.x[seen].cpu().numpy(), k)).long().to(seen.device)
        found[seen] = torch.where(near >= 0, seen[near.clamp_min(0)], -1).int()
        if len(held) and len(seen):
            near = nearest(cells.x[held], cells.x[seen], k)
            found[held, : near.shape[1]] = seen[near].int()
    return found


def with_counterpart(
    cells: Cells, neighbors: Tensor, anchor: Tensor, positive: Tensor, *, reach: float = REACH
) -> Tensor:
    """Say which pairs (p,) lie no farther apart in the inputs than cells of one kind may.

    Where a kind of cells has no counterpart in the other slice, some of its cells are mutual neighbors of
    cells of another kind all the same. Their distance is then large beside that to their own neighbors: a
    pair counts up to ``reach`` times the distance (1 - cosine) that the denser of the two has to the last of
    its ``neighbors`` (N, k) within its slice; more if half of all pairs lie farther apart
    than that distance. Of cells without neighbors nothing is known: their pairs count.
    """
    if not len(anchor):
        return torch.ones_like(anchor, dtype=torch.bool)
    paired = torch.cat([anchor, positive]).unique()
    listed = neighbors[paired]
    last = (listed >= 0).sum(1) - 1
    farthest = listed.gather(1, last.clamp_min(0)[:, None]).squeeze(1).clamp_min(0)
    rows = torch.cat([paired, farthest]).unique()  # their lengths once, though there may be many more pairs
    unit = unit_rows(cells.x[rows])

    def apart(i: Tensor, j: Tensor) -> Tensor:
        return cosine_distance(unit, torch.searchsorted(rows, i), unit, torch.searchsorted(rows, j))

    own = torch.where(last >= 0, apart(paired, farthest), torch.inf)
    one, other = (own[torch.searchsorted(paired, ends)] for ends in (anchor, positive))
    return in_reach(apart(anchor, positive), torch.minimum(one, other), reach)


def in_reach(distance: Tensor, near: Tensor, reach: float) -> Tensor:
    """Say which pairs (p,) are at most ``reach`` times as far apart as ``near`` (p,), which neighbors are.

    More if half of all pairs are farther apart than neighbors: slices then differ as a whole.
    """
    ratio = distance / near.clamp_min(1e-6)
    return (
        ratio <= reach * ratio.median().clamp_min(1.0)
        if len(ratio)
        else torch.ones_like(ratio, dtype=torch.bool)
    )


def in_company(near: Tensor, ends: Tensor, *, share: float = COMPANY) -> Tensor:
    """Say which cells ``ends`` (p,) lie among cells that have partners in the other slice, too.

    Of a kind of cells without a counterpart there, a few are mutual neighbors of cells of another kind all
    the same, scattered among many that are not; of a kind with one, most have partners. A cell counts if, of
    its nearest cells, at least ``share`` times as many have partners as of those of half of all ``ends``:
    relative, because of a slice with many more cells than the other, few of any kind find partners.

    Parameters
    ----------
    near
        (n, k) nearest cells of each, -1 where there are none. Cells without any count.
    ends
        (p,) cells of pairs, each as often as it has partners.
    """
    if not len(ends):
        return torch.ones_like(ends, dtype=torch.bool)
    own, pair = ends.unique(return_inverse=True)
    paired = torch.zeros(len(near), dtype=torch.bool, device=ends.device)
    paired[own] = True
    listed = near[own].long()
    there = listed >= 0
    around = ((paired[listed.clamp_min(0)] & there).sum(1) / there.sum(1).clamp_min(1))[pair]
    return (around >= share * around.median()) | ~there.any(1)[pair]


def _in_company(cells: Cells, near: Tensor, anchor: Tensor, positive: Tensor) -> Tensor:
    """Say of which pairs (p,) both cells are `in_company`, by the nearest cells (N, k) of each."""
    counts = torch.ones_like(anchor, dtype=torch.bool)
    slices = cells.slice_of[anchor] * cells.slices + cells.slice_of[positive]
    for one in slices.unique():
        pairs = (slices == one).nonzero().squeeze(1)
        for ends in (anchor[pairs], positive[pairs]):
            counts[pairs] &= in_company(near, ends)
    return counts


def slice_pairs(
    cells: Cells,
    space: Tensor | Callable[[Tensor], Tensor],
    k: int,
    *,
    cells_per_slice: int,
    partners: int,
    rng: torch.Generator,
    slices: Iterable[int] | None = None,
    types: Tensor | None = None,
    neighbors: Tensor | None = None,
) -> PairTable:
    """Find mutual nearest neighbors between slices.

    Parameters
    ----------
    cells
        All cells; positives are always seen ones, anchors may be held out.
    space
        (N, d') rows in which neighbors are sought, scaled inputs or latents, or what gives those of some
        cells.
    k
        Neighbors on either side.
    cells_per_slice
        At most this many random cells of a slice take part.
    partners
        Each slice draws this many other slices to be compared with (and may be drawn by more).
    rng
        Draws cells and partners.
    slices
        Those that need partners, default all.
    types
        (N,) type of each cell, -1 where unknown: cells of different types are no pair.
    neighbors
        (N, k) of each cell in its own slice, from `own_neighbors`: pairs only count `with_counterpart` and
        `in_company`. Default: all count.
    """
    chosen = set()
    for s in range(cells.slices) if slices is None else slices:
        others = (
            torch.randperm(cells.slices - 1, generator=rng)[:partners].tolist() if cells.slices > 1 else []
        )
        chosen |= {(min(s, o + (o >= s)), max(s, o + (o >= s))) for o in others}
    limit = min(cells_per_slice, math.isqrt(COMPARISONS // max(1, len(chosen))))
    sample = []
    for s in range(cells.slices):
        rows = cells.members(s)
        drawn = torch.randperm(len(rows), generator=rng)[:limit].sort().values
        sample.append(rows[drawn.to(rows.device)])
    placed = [space[rows] if isinstance(space, Tensor) else space(rows) for rows in sample]

    def compare(pair: tuple[int, int]) -> tuple[Tensor, Tensor]:
        a, b = sample[pair[0]], sample[pair[1]]
        kinds = None if types is None else (types[a], types[b])
        i, j = mutual_pairs(placed[pair[0]], placed[pair[1]], k, types=kinds)
        return torch.cat([a[i], b[j]]), torch.cat([b[j], a[i]])

    threads = None if cells.x.device.type == "cpu" else 1
    found = list(map_ordered(compare, sorted(chosen), threads=threads))
    none = torch.empty(0, dtype=torch.int64, device=cells.x.device)
    anchor = torch.cat([none, *(f[0] for f in found)])
    positive = torch.cat([none, *(f[1] for f in found)])
    if neighbors is not None:
        near = with_counterpart(cells, neighbors, anchor, positive)
        anchor, positive = anchor[near], positive[near]
        together = _in_company(cells, _among(cells, neighbors, sample), anchor, positive)
        anchor, positive = anchor[together], positive[together]
    known = cells.seen[positive]
    return PairTable.build(anchor[known], positive[known], cells.slice_of)


def _among(cells: Cells, neighbors: Tensor, sample: Sequence[Tensor]) -> Tensor:
    """(N, k) nearest cells of each that took part in a search; of slices of which all did, ``neighbors``."""
    near = neighbors
    for s, rows in enumerate(sample):
        own = slice(cells.start[s], cells.start[s + 1])
        if len(rows) < own.stop - own.start and (neighbors[own] >= 0).any():
            found = nearest_others(cells.x[rows], neighbors.shape[1])
            near = near.clone() if near is neighbors else near
            near[own] = -1
            near[rows, : found.shape[1]] = rows[found].to(near.dtype)
    return near
