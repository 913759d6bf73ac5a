"""Nearest neighbours by exact blocks of matrix products, and the mutual ones between slices."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

# Rows compared with a whole slice at a time: bounds memory at 4 bytes x BLOCK x cells of the slice.
BLOCK = 2048


def unit_rows(x: Tensor) -> Tensor:
    """Scale rows to length one; zero rows stay zero."""
    return x / x.norm(dim=1, keepdim=True).clamp_min(1e-12)


def nearest(queries: Tensor, targets: Tensor, k: int) -> Tensor:
    """Indices (n, min(k, m)) of the targets with the largest cosine, most similar first.

    Both inputs are rows (n, d), (m, d). Every pair is compared, in blocks: time n·m·d, memory BLOCK·m.
    """
    k = min(k, len(targets))
    q, t = unit_rows(queries), unit_rows(targets).T
    found = [(q[i : i + BLOCK] @ t).topk(k, dim=1).indices for i in range(0, len(q), BLOCK)]
    return torch.cat(found) if found else torch.empty((0, k), dtype=torch.int64, device=queries.device)


def mutual_pairs(a: Tensor, b: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Pairs (i, j) such that b_j is among the k nearest of a_i in b, and a_i among the k nearest of b_j in a.

    Parameters
    ----------
    a, b
        Rows (n, d) and (m, d) of two slices, compared by cosine.
    k
        Neighbours on either side; 40 in the method.

    Returns
    -------
    i, j
        (p,) int64 each, sorted by i then j.
    """
    forward, backward = nearest(a, b, k), nearest(b, a, k)
    n, m = len(a), len(b)
    rows = torch.arange(n, device=a.device).repeat_interleave(forward.shape[1])
    ahead = rows * m + forward.reshape(-1)
    cols = torch.arange(m, device=a.device).repeat_interleave(backward.shape[1])
    back = backward.reshape(-1) * m + cols
    both = ahead[torch.isin(ahead, back)].sort().values
    return both // m, both % m


@dataclass(frozen=True)
class PairTable:
    """Each cell's mutual neighbours, grouped by the slice that they lie in.

    Two levels of compressed rows: cell i owns groups ``group_ptr[i]:group_ptr[i+1]``, group g owns
    ``positive[member_ptr[g]:member_ptr[g+1]]``. Drawing first a group and then a member gives every partner slice the same
    say, however many mutual neighbours it offers.
    """

    group_ptr: Tensor
    member_ptr: Tensor
    positive: Tensor

    @classmethod
    def build(cls, anchor: Tensor, positive: Tensor, slice_of: Tensor) -> PairTable:
        """From directed pairs (p,), (p,) of cell indices and the slice index of every cell (n,)."""
        n, slices = len(slice_of), int(slice_of.max()) + 1 if len(slice_of) else 1
        key = anchor * slices + slice_of[positive]
        order = key.argsort(stable=True)
        groups, counts = key[order].unique_consecutive(return_counts=True)
        zero = torch.zeros(1, dtype=torch.int64, device=anchor.device)
        return cls(
            group_ptr=torch.cat([zero, torch.bincount(groups // slices, minlength=n).cumsum(0)]),
            member_ptr=torch.cat([zero, counts.cumsum(0)]),
            positive=positive[order],
        )

    def __len__(self) -> int:
        return len(self.positive)

    def draw(self, cells: Tensor, u: Tensor) -> Tensor:
        """One positive for each of the cells (n,), -1 where it has none; ``u`` (n, 2) uniform in [0, 1)."""
        if not len(self):
            return torch.full_like(cells, -1)
        start, groups = self.group_ptr[cells], self.group_ptr[cells + 1] - self.group_ptr[cells]
        none = groups == 0
        group = (start + (u[:, 0] * groups).long()).clamp_max(len(self.member_ptr) - 2)
        first, members = self.member_ptr[group], self.member_ptr[group + 1] - self.member_ptr[group]
        member = first + (u[:, 1] * members).long()
        return self.positive[member].masked_fill(none, -1)
