"""A few cells of each trained slice, kept with the model as partners for slices of a new token."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lloki.cae.cells import Cells

# Cells kept in all, and at least so many of a slice.
CELLS, LEAST = 5_000, 25


@dataclass(frozen=True)
class Landmarks:
    """Trained cells as the network sees them: rows of the embedding, no counts.

    Parameters
    ----------
    x
        (m, d) scaled inputs, slice after slice.
    sizes
        How many each slice has, in the order of `Conditions.slices`.
    """

    x: Tensor
    sizes: list[int]

    @classmethod
    def choose(cls, cells: Cells, *, slices: int, seed: int) -> Landmarks:
        """Draw as many seen cells of each of the first ``slices`` slices."""
        rng = torch.Generator().manual_seed(seed)
        each = max(LEAST, CELLS // slices)
        rows = []
        for s in range(slices):
            own = cells.members(s, seen=True)
            drawn = torch.randperm(len(own), generator=rng)[:each].sort().values
            rows.append(own[drawn.to(own.device)])
        return cls(cells.x[torch.cat(rows)].cpu(), [len(own) for own in rows])

    def __add__(self, other: Landmarks) -> Landmarks:
        return Landmarks(torch.cat([self.x, other.x]), [*self.sizes, *other.sizes])
