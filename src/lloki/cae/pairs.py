"""Mutual nearest neighbors between slices, in a table that positives are drawn from."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


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
