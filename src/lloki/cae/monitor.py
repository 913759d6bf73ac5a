"""What training does to a fixed sample of cells: whether batches mix, structure stays, nothing collapses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from lloki.cae.cells import Cells
from lloki.cae.network import ConditionalAutoencoder
from lloki.cae.pairs import PairTable
from lloki.graph.knn.tensors import mutual_pairs, nearest_others

# Cells of the sample in all and of one slice; with many slices, some of them with the least number each.
CELLS, MOST, LEAST = 2_000, 400, 80
# Neighbors looked at, and those on either side that make two cells of the sample a mutual pair.
NEAR, MUTUAL = 15, 5
# Fewer cells without a counterpart than this are no evidence.
FEW = 20

Looked = dict[str, float | None]


class Monitor:
    """Looks at the same cells each time, held-out ones first; costs a few hundredths of a second.

    Parameters
    ----------
    cells
        All cells.
    slices
        Those to look at.
    unit
        See `CAEConfig.unit`.
    seed
        Draws the sample; training itself draws nothing less or more.
    """

    def __init__(self, cells: Cells, slices: Sequence[int], *, unit: float, seed: int) -> None:
        rng = torch.Generator().manual_seed(seed + 2)
        self.cells, self.unit = cells, unit
        chosen = torch.randperm(len(slices), generator=rng)[: CELLS // LEAST].sort().values.tolist()
        each = min(MOST, CELLS // len(chosen))
        rows = []
        for s in (slices[i] for i in chosen):
            own = cells.members(s).cpu()
            shuffled = own[torch.randperm(len(own), generator=rng)]
            held = ~cells.seen.cpu()[shuffled]
            rows.append(torch.cat([shuffled[held], shuffled[~held]])[:each])
        self.rows = torch.cat(rows).to(cells.x.device)
        self.slice_of = cells.slice_of[self.rows]
        self.own = [torch.nonzero(self.slice_of == s).squeeze(1) for s in self.slice_of.unique()]
        x = cells.x[self.rows]
        self.near_before = [nearest_others(x[own], NEAR) for own in self.own]
        self.pairs = self._mutual(x)
        lone = torch.ones(len(x), dtype=torch.bool, device=x.device)
        lone[self.pairs[0]] = False
        self.lone = lone
        self.apart_before = self._apart(self._foreign(nearest_others(x, NEAR)))

    @torch.no_grad()
    def look(self, network: ConditionalAutoencoder, pairs: PairTable) -> Looked:
        """Measure the state of training.

        Parameters
        ----------
        network
            Of the moment.
        pairs
            Those that it is trained on.

        Returns
        -------
        figures
            ``monitor_positives``: of the sample's pairs that were mutual neighbors in the inputs, the share
            that are among the 15 nearest cells of all slices now. ``monitor_mixing``: share of cells of other
            slices among these 15, over what chance gives; 1 is shuffled. ``monitor_overmixing``: cells
            without a counterpart in any other slice mixed less than the rest in the inputs; 0 if they still
            do, 1 if they now mix as all others; None without enough such cells.
            ``monitor_preservation`` and ``monitor_preservation_least``: share of a cell's 15 nearest cells
            within its slice that still are, mean and lowest over slices. ``monitor_spread``: root mean square
            distance of two random cells of a slice over `CAEConfig.unit`. ``monitor_dimensions``: effective
            number of directions in which cells of a slice differ, (tr Σ)² / tr Σ². ``monitor_unpaired``:
            slices in which no cell has a positive.
        """
        cells = self.cells
        z = network.encode(cells.x[self.rows], network.condition(cells.condition[self.rows]))
        near = nearest_others(z, NEAR)
        foreign = self._foreign(near)
        kept = torch.stack(
            [_common(before, nearest_others(z[own], NEAR)) for before, own in zip(self.near_before, self.own)]
        )
        centered = torch.cat([z[own] - z[own].mean(0) for own in self.own])
        variances = torch.linalg.eigvalsh((centered.T @ centered).cpu().double() / len(centered)).clamp_min(0)
        anchor, positive = self.pairs
        found = (near[anchor] == positive[:, None]).any(1).float()
        count = torch.bincount(cells.slice_of[pairs.anchors()], minlength=cells.slices)
        return {
            "monitor_positives": _mean(found),
            "monitor_mixing": None if foreign is None else _mean(foreign),
            "monitor_overmixing": self._overmixing(foreign),
            "monitor_preservation": _mean(kept[kept.isfinite()]),
            "monitor_preservation_least": _mean(kept[kept.isfinite()].sort().values[:1]),
            "monitor_spread": float((2 * variances.sum()).sqrt()) / self.unit,
            "monitor_dimensions": float(variances.sum() ** 2 / variances.square().sum().clamp_min(1e-24)),
            "monitor_unpaired": float((count[self.slice_of.unique()] == 0).sum()),
        }

    def _mutual(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Pairs of rows of the sample, both ways."""
        anchors, positives = [], []
        for i, a in enumerate(self.own):
            for b in self.own[:i]:
                one, other = mutual_pairs(x[a], x[b], MUTUAL)
                anchors += [a[one], b[other]]
                positives += [b[other], a[one]]
        none = torch.empty(0, dtype=torch.int64, device=x.device)
        return torch.cat([none, *anchors]), torch.cat([none, *positives])

    def _foreign(self, near: Tensor) -> Tensor | None:
        """(n,) share of cells of other slices among the nearest, over chance; None for a single slice."""
        if len(self.own) < 2:
            return None
        sizes = torch.bincount(self.slice_of, minlength=self.cells.slices)
        chance = 1 - sizes[self.slice_of] / len(self.slice_of)
        return (self.slice_of[near] != self.slice_of[:, None]).float().mean(1) / chance

    def _apart(self, foreign: Tensor | None) -> float | None:
        """By how much less the cells without a counterpart mix than the others do, from 0 to 1."""
        if foreign is None or int(self.lone.sum()) < FEW or int((~self.lone).sum()) < FEW:
            return None
        rest = float(foreign[~self.lone].mean())
        return None if rest == 0 else max(0.0, 1 - float(foreign[self.lone].mean()) / rest)

    def _overmixing(self, foreign: Tensor | None) -> float | None:
        now = self._apart(foreign)
        if now is None or self.apart_before is None or self.apart_before < 0.5:
            return None  # they mixed before: nothing to lose
        return min(1.0, max(0.0, 1 - now / self.apart_before))


def warnings_of(history: Sequence[Mapping[str, Any]]) -> list[str]:
    """List warnings about the last check of a training as sentences; empty if there are none."""
    if not history:
        return []
    last = history[-1]

    def figure(name: str, default: float) -> float:
        value = last.get(f"monitor_{name}")
        return default if value is None or value != value else float(value)

    doubts = []
    spread, dimensions = figure("spread", 1), figure("dimensions", 9)
    if spread < 0.1 or dimensions < 1.5:
        doubts.append(
            "the joint embedding has collapsed: cells hardly differ, or in one direction only (spread "
            f"{spread:.2f} of what was asked for, {dimensions:.1f} effective dimensions). Raise the weights "
            "of reconstruction and conservation"
        )
    if figure("preservation_least", 1) < 0.2:
        doubts.append(
            "neighborhoods inside a slice were lost: only "
            f"{figure('preservation_least', 1):.0%} of a cell's neighbors in its slice still are. Raise the "
            "weight of conservation or lower that of the triplet loss"
        )
    if figure("overmixing", 0) > 0.7:
        doubts.append(
            "slices may be mixed too much: cells that had no counterpart in other slices now lie among their "
            "cells. Raise the weight of conservation or lower that of the triplet loss"
        )
    if figure("positives", 1) < 0.1:
        doubts.append(
            f"slices are hardly mixed: only {figure('positives', 1):.0%} of the cells that were each other's "
            "neighbors across slices are neighbors now. Train longer, or raise the weight of the triplet "
            "loss"
        )
    if unpaired := figure("unpaired", 0):
        slices = "1 slice has" if unpaired == 1 else f"{unpaired:.0f} slices have"
        doubts.append(f"{slices} no mutual nearest neighbors in any other: not mixed")
    return doubts


def _common(a: Tensor, b: Tensor) -> Tensor:
    """Share of the entries of each row of ``a`` that ``b`` has too; NaN where neighbors are everybody."""
    if a.shape[1] >= len(a) - 1:
        return torch.tensor(torch.nan)
    return (a[:, :, None] == b[:, None, :]).any(2).float().mean()


def _mean(values: Tensor) -> float | None:
    return float(values.mean()) if len(values) else None
