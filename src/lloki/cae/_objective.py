"""The loss of one batch (Eq 9) and its gradient, on a fixed number of shards."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lloki._parallel import n_threads, single_threaded
from lloki.cae.batches import Batch
from lloki.cae.cells import Cells
from lloki.cae.config import CAEConfig
from lloki.cae.labels import hard_negatives
from lloki.cae.losses import conservation_loss, pair_distance, reconstruction_loss, triplet_loss
from lloki.cae.network import ConditionalAutoencoder

PARTS = ("reconstruction", "triplet", "conservation")
# A step is cut in two whatever the number of threads, so that the sum of gradients does not depend on it.
SHARDS = 2


def loss_parts(
    network: ConditionalAutoencoder,
    cells: Cells,
    batch: Batch,
    config: CAEConfig,
    distance_scale: float,
    types: Tensor | None = None,
) -> Tensor:
    """Compute the three unweighted losses of a batch, in the order of `PARTS`.

    Every cell that takes part is encoded in one pass; only the drawn cells are decoded. ``distance_scale``
    turns distances of scaled inputs into the model's unit; ``types`` (N,) of cells choose the negatives.
    """
    m = batch.neighbor.shape[1]
    near = batch.neighbor[:, 0] >= 0
    neighbor = batch.neighbor[near].reshape(-1)
    groups = [batch.cell, neighbor, batch.anchor, batch.positive]
    who, sizes = torch.cat(groups), [len(group) for group in groups]
    inputs = cells.x[who]
    x, x_near, _, _ = inputs.split(sizes)
    z_all = network.encode(inputs, network.condition(cells.condition[who]))
    z, z_near, anchor, positive = z_all.split(sizes)
    negative = batch.negative
    if types is not None:
        negative = _negatives(anchor, z, cells, batch, types)
        some = negative >= 0
        anchor, positive, negative = anchor[some], positive[some], negative[some]
    wanted = pair_distance(x[near][:, None, :], x_near.reshape(-1, m, x.shape[1])) * distance_scale  # (n', m)
    return torch.stack(
        [
            reconstruction_loss(x, network.decode(z, network.condition(cells.condition[batch.cell]))),
            triplet_loss(
                anchor,
                positive,
                z[negative],
                margin=config.margin,
                distance=config.distance,
            ),
            conservation_loss(z[near], z_near.reshape(-1, m, z.shape[1]), wanted),
        ]
    )


def _negatives(anchor: Tensor, z: Tensor, cells: Cells, batch: Batch, types: Tensor) -> Tensor:
    """Choose negatives (a,) among the drawn cells by type, see `hard_negatives`."""
    return hard_negatives(
        anchor,
        z,
        batch.negative,
        label=types[batch.anchor],
        slice_of=cells.slice_of[batch.anchor],
        positive_label=types[batch.positive],
        positive_slice=cells.slice_of[batch.positive],
        drawn_label=types[batch.cell],
        drawn_slice=cells.slice_of[batch.cell],
    )


@dataclass
class Objective:
    """Computes the gradient of the weighted loss; see `objective`.

    ``types`` (N,) of all cells may be given and changed between steps; -1 where unknown.
    """

    network: ConditionalAutoencoder
    cells: Cells
    config: CAEConfig
    distance_scale: float
    pool: ThreadPoolExecutor | None
    types: Tensor | None = None

    @property
    def weights(self) -> Tensor:
        """(3,) weights of `PARTS`."""
        return torch.tensor([getattr(self.config, name) for name in PARTS], device=self.cells.x.device)

    @property
    def parameters(self) -> list[nn.Parameter]:
        """Parameters that are trained."""
        return [p for p in self.network.parameters() if p.requires_grad]

    def parts(self, batch: Batch) -> Tensor:
        """(3,) unweighted losses without a gradient."""
        with torch.no_grad():
            return self._loss(batch)

    def _loss(self, batch: Batch) -> Tensor:
        return loss_parts(self.network, self.cells, batch, self.config, self.distance_scale, types=self.types)

    def backward(self, shards: Sequence[Batch]) -> Tensor:
        """Leave the gradient of the shards' mean loss in the parameters; return (3,) unweighted losses."""
        parameters = self.parameters

        def one(batch: Batch) -> tuple[Tensor, tuple[Tensor, ...]]:
            parts = self._loss(batch)
            return parts.detach(), torch.autograd.grad((parts * self.weights).sum() / len(shards), parameters)

        results = list(self.pool.map(one, shards) if self.pool else map(one, shards))
        for index, parameter in enumerate(parameters):
            parameter.grad = sum((gradients[index] for _, gradients in results[1:]), results[0][1][index])
        return torch.stack([parts for parts, _ in results]).mean(0)


@contextmanager
def objective(
    network: ConditionalAutoencoder, cells: Cells, config: CAEConfig, distance_scale: float
) -> Iterator[Objective]:
    """Open an `Objective` whose shards run on the cores there are, one after the other on an accelerator."""
    with single_threaded():
        if cells.x.device.type != "cpu" or n_threads() == 1:
            yield Objective(network, cells, config, distance_scale, None)
            return
        with ThreadPoolExecutor(min(SHARDS, n_threads())) as pool:
            yield Objective(network, cells, config, distance_scale, pool)
