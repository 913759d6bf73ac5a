"""The loss of a hand-made batch and its gradient against a loop, term by term and summed (Eq 6-9)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from lloki.cae import CAEConfig
from lloki.cae._objective import PARTS, loss_parts, objective
from lloki.cae.batches import Batch
from lloki.cae.cells import Cells
from lloki.cae.network import ConditionalAutoencoder

CONFIG = CAEConfig(reconstruction=1.5, triplet=0.7, conservation=3.0, margin=0.4)
SCALE = 0.37  # of distances
# three slices of two tokens; cells 0-3, 4-7 and 8-10
SLICE_OF = [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2]
TOKEN_OF = [0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1]
TYPES = [0, 1, 2, -1, 0, 1, -1, 2, 2, 2, 0]

BATCHES = (
    # cells 3 and 6 have no neighbors in their slice, cell 3 is no anchor, cells 5 and 9 are anchors alone
    Batch(
        cell=torch.tensor([0, 1, 3, 4, 6, 8]),
        neighbor=torch.tensor([[1, 2], [0, 3], [-1, -1], [5, 7], [-1, -1], [10, 9]]),
        anchor=torch.tensor([0, 1, 5, 4, 6, 9]),
        positive=torch.tensor([4, 5, 2, 0, 2, 7]),
        negative=torch.tensor([1, 2, 4, 4, 3, 5]),
    ),
    # more cells than anchors; among labeled ones, the first have two cells of another type in their slice
    Batch(
        cell=torch.tensor([2, 0, 1, 5, 7, 10]),
        neighbor=torch.tensor([[0, 1], [2, 2], [0, 3], [4, 6], [-1, -1], [9, 8]]),
        anchor=torch.tensor([2, 3, 1, 4, 10]),
        positive=torch.tensor([6, 9, 4, 1, 5]),
        negative=torch.tensor([1, 0, 0, 4, 5]),
    ),
)


def made() -> tuple[ConditionalAutoencoder, Cells]:
    torch.manual_seed(0)
    network = ConditionalAutoencoder(5, 2, latent=6, hidden=(9, 8), token_dim=3).double()
    cells = Cells(
        x=torch.randn((11, 5), dtype=torch.float64) * 12,
        condition=torch.tensor(TOKEN_OF)[:, None],
        slice_of=torch.tensor(SLICE_OF),
        start=[0, 4, 8, 11],
        seen=torch.ones(11, dtype=torch.bool),
    )
    return network, cells


def by_loop(
    network: ConditionalAutoencoder,
    cells: Cells,
    batch: Batch,
    config: CAEConfig,
    types: list[int] | None = None,
) -> Tensor:
    """(3,) losses, one cell after the other."""

    def condition(cell: int) -> Tensor:
        return network.table("token")(torch.tensor([TOKEN_OF[cell]]))

    def latent(cell: int) -> Tensor:
        return network.encode(cells.x[cell][None], condition(cell))[0]

    def far(a: Tensor, b: Tensor) -> Tensor:
        squared = ((a - b) ** 2).sum()
        return squared if config.distance == "squared" else (squared + 1e-12).sqrt()

    errors, hinges, gaps = [], [], []
    drawn = batch.cell.tolist()
    for i, cell in enumerate(drawn):
        z = latent(cell)
        errors += list((network.decode(z[None], condition(cell))[0] - cells.x[cell]) ** 2)
        for neighbor in batch.neighbor[i].tolist():
            if neighbor >= 0:
                wanted = SCALE * ((cells.x[cell] - cells.x[neighbor]) ** 2).sum().sqrt()
                gaps.append((((z - latent(neighbor)) ** 2).sum().add(1e-12).sqrt() - wanted) ** 2)
    for anchor, positive, random in zip(
        *(t.tolist() for t in (batch.anchor, batch.positive, batch.negative))
    ):
        negative = random
        if types is not None:
            negative = nearest_of_another_type(latent, drawn, anchor, positive, random, types)
        if negative >= 0:
            z = latent(anchor)
            hinge = far(z, latent(positive)) - far(z, latent(drawn[negative])) + config.margin
            hinges.append(torch.clamp(hinge, min=0))
    return torch.stack([torch.stack(part).mean() for part in (errors, hinges, gaps)])


def nearest_of_another_type(
    latent: Any, drawn: list[int], anchor: int, positive: int, random: int, types: list[int]
) -> int:
    like = anchor if types[anchor] >= 0 else positive  # whose type and slice count
    others = [
        j
        for j, other in enumerate(drawn)
        if SLICE_OF[other] == SLICE_OF[like] and types[other] >= 0 and 0 <= types[like] != types[other]
    ]
    if others:
        return min(others, key=lambda j: float(((latent(anchor) - latent(drawn[j])) ** 2).sum().detach()))
    return -1 if types[drawn[random]] >= 0 and types[drawn[random]] == types[like] else random


@pytest.mark.parametrize("types", [None, TYPES], ids=["no labels", "labels"])
@pytest.mark.parametrize("distance", ["squared", "euclidean"])
@pytest.mark.parametrize("batch", BATCHES, ids=["one", "other"])
def test_every_term_is_that_of_the_loop_with_its_gradient(
    batch: Batch, distance: Any, types: list[int] | None
) -> None:
    network, cells = made()
    config = replace(CONFIG, distance=distance)
    known = None if types is None else torch.tensor(types)
    got = loss_parts(network, cells, batch, config, SCALE, types=known)
    expected = by_loop(network, cells, batch, config, types)
    torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-9)
    assert (expected > 0).all()
    parameters = list(network.parameters())
    for i, name in enumerate(PARTS):
        slopes = [
            torch.autograd.grad(loss[i], parameters, retain_graph=True, allow_unused=True)
            for loss in (got, expected)
        ]
        for a, b in zip(*slopes):
            assert (a is None) == (b is None)
            if a is not None:
                torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-9, msg=name)


@pytest.mark.parametrize("margin", [0.0, 0.4, 5.0])
def test_the_margin_is_that_of_the_settings(margin: float) -> None:
    network, cells = made()
    config = replace(CONFIG, margin=margin)
    got = loss_parts(network, cells, BATCHES[1], config, SCALE)
    torch.testing.assert_close(got, by_loop(network, cells, BATCHES[1], config), rtol=1e-9, atol=1e-9)


def test_some_triplets_are_satisfied_and_some_are_not() -> None:
    """Otherwise the comparisons above would not see the hinge."""
    network, cells = made()
    z = network.encode(cells.x, network.condition(cells.condition)).detach()
    for power in (1, 2):
        gaps = []
        for batch in BATCHES:
            a, p, n = (z[rows] for rows in (batch.anchor, batch.positive, batch.cell[batch.negative]))
            gaps.append((a - p).norm(dim=1) ** power - (a - n).norm(dim=1) ** power + CONFIG.margin)
        assert (torch.cat(gaps) > 0.1).any()
        assert (torch.cat(gaps) < -0.1).any()


@pytest.mark.parametrize("threads", ["1", "2"])
@pytest.mark.parametrize("types", [None, TYPES], ids=["no labels", "labels"])
def test_a_step_follows_the_weighted_sum_over_its_batches(
    types: list[int] | None, threads: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLOKI_THREADS", threads)
    network, cells = made()
    parts = torch.stack([by_loop(network, cells, batch, CONFIG, types) for batch in BATCHES]).mean(0)
    total = 1.5 * parts[0] + 0.7 * parts[1] + 3.0 * parts[2]
    slopes = torch.autograd.grad(total, list(network.parameters()))
    with objective(network, cells, CONFIG, SCALE) as loss:
        loss.types = None if types is None else torch.tensor(types)
        got = loss.backward(BATCHES)
        alone = loss.parts(BATCHES[0])
    torch.testing.assert_close(got, parts.detach(), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(alone, by_loop(network, cells, BATCHES[0], CONFIG, types).detach())
    for parameter, slope in zip(network.parameters(), slopes):
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad, slope, rtol=1e-7, atol=1e-9)


def test_a_batch_without_pairs_and_neighbors_has_the_first_term_alone() -> None:
    network, cells = made()
    none = torch.empty(0, dtype=torch.int64)
    batch = Batch(torch.tensor([0, 4, 8]), torch.full((3, 1), -1), none, none, none)
    for types in (None, torch.tensor(TYPES)):
        got = loss_parts(network, cells, batch, CONFIG, SCALE, types=types)
        assert float(got[0].detach()) > 0
        assert got[1:].tolist() == [0, 0]
