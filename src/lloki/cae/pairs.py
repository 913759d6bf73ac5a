"""Nearest neighbors by exact blocks of matrix products, and the mutual ones between slices."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lloki.cae.labels import differ

# Rows compared with a whole slice at a time, and the most comparisons of one block, 4 bytes each.
BLOCK, COMPARISONS = 2048, 2**25


def unit_rows(x: Tensor) -> Tensor:
    """Scale rows (n, d) to length one; zero rows stay zero."""
    return x / x.norm(dim=1, keepdim=True).clamp_min(1e-12)


def nearest(
    queries: Tensor, targets: Tensor, k: int, *, types: tuple[Tensor, Tensor] | None = None
) -> Tensor:
    """Find, for each query, the targets with the largest cosine.

    Parameters
    ----------
    queries, targets
        Rows (n, d) and (m, d).
    k
        Neighbors per query.
    types
        (n,) and (m,) types of queries and targets, -1 where unknown: cells of two known types that differ
        are no neighbors.

    Returns
    -------
    indices
        (n, min(k, m)) int64, most similar first, -1 where types leave too few. Every pair is compared: time
        n·m·d, memory up to 128 MB a thread.
    """
    k = min(k, len(targets))
    q, t = unit_rows(queries), unit_rows(targets).T
    block = max(1, min(BLOCK, COMPARISONS // max(1, len(targets))))
    found = []
    for i in range(0, len(q), block):
        cosine = q[i : i + block] @ t
        if types is not None:
            cosine.masked_fill_(differ(types[0][i : i + block, None], types[1][None]), -torch.inf)
        best = cosine.topk(k, dim=1)
        found.append(best.indices if types is None else best.indices.masked_fill(best.values.isinf(), -1))
    return torch.cat(found) if found else torch.empty((0, k), dtype=torch.int64, device=queries.device)


def mutual_pairs(
    a: Tensor, b: Tensor, k: int, *, types: tuple[Tensor, Tensor] | None = None
) -> tuple[Tensor, Tensor]:
    """Pairs (i, j) such that b_j is among the k nearest of a_i in b, and a_i among the k nearest of b_j in a.

    Parameters
    ----------
    a, b
        Rows (n, d) and (m, d) of two slices, compared by cosine.
    k
        Neighbors on either side; 40 in the method.
    types
        (n,) and (m,), see `nearest`; cells of different types are no pair.

    Returns
    -------
    i, j
        (p,) int64 each, ascending in i.
    """
    forward = nearest(a, b, k, types=types)  # (n, k)
    backward = nearest(b, a, k, types=None if types is None else types[::-1])  # (m, k)
    mutual = torch.zeros_like(forward, dtype=torch.bool)
    for start in range(0, len(a), BLOCK):
        rows = slice(start, min(start + BLOCK, len(a)))
        own = torch.arange(rows.start, rows.stop, device=a.device)[:, None, None]
        mutual[rows] = (backward[forward[rows]] == own).any(2)  # (B, k, k): do my neighbors list me?
    mutual &= forward >= 0
    i, rank = mutual.nonzero(as_tuple=True)
    return i, forward[i, rank]


@dataclass(frozen=True)
class PairTable:
    """Each cell's mutual neighbors, grouped by the slice that they lie in.

    Two levels of compressed rows: cell i owns the groups ``group_ptr[i]:group_ptr[i+1]``, group g the entries
    ``member_ptr[g]:member_ptr[g+1]`` of ``positive``. Drawing first a group and then a member gives every
    partner slice the same say, however many mutual neighbors it offers.
    """

    group_ptr: Tensor
    member_ptr: Tensor
    positive: Tensor

    @classmethod
    def build(cls, anchor: Tensor, positive: Tensor, slice_of: Tensor) -> PairTable:
        """Group directed pairs (p,), (p,) of cells, given the slice index of every cell (n,)."""
        n, slices = len(slice_of), int(slice_of.max()) + 1
        key = anchor * slices + slice_of[positive]
        key, order = key.sort(stable=True)
        groups, members = key.unique_consecutive(return_counts=True)
        zero = torch.zeros(1, dtype=torch.int64, device=anchor.device)
        return cls(
            group_ptr=torch.cat([zero, torch.bincount(groups // slices, minlength=n).cumsum(0)]),
            member_ptr=torch.cat([zero, members.cumsum(0)]),
            positive=positive[order],
        )

    def __len__(self) -> int:
        return len(self.positive)

    def anchor_of(self) -> Tensor:
        """(p,) the cell to which each entry of ``positive`` belongs."""
        ends = self.member_ptr[self.group_ptr]
        return torch.arange(len(ends) - 1, device=ends.device).repeat_interleave(ends.diff())

    def anchors(self) -> Tensor:
        """(n,) bool: which cells have a positive at all."""
        return self.group_ptr.diff() > 0

    def draw(self, cells: Tensor, u: Tensor) -> Tensor:
        """Draw a positive for each cell (n,), -1 where there is none; ``u`` (n, 2) uniform in [0, 1)."""
        if not len(self):
            return torch.full_like(cells, -1)
        groups = self.group_ptr[cells + 1] - self.group_ptr[cells]
        # The clamp only touches cells without a group, whose draw is masked below.
        group = (self.group_ptr[cells] + (u[:, 0] * groups).long()).clamp_max(len(self.member_ptr) - 2)
        members = self.member_ptr[group + 1] - self.member_ptr[group]
        member = self.member_ptr[group] + (u[:, 1] * members).long()
        return self.positive[member].masked_fill(groups == 0, -1)
