"""Training of LLOKI-CAE."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lloki._parallel import single_threaded
from lloki._progress import Advance
from lloki.cae.batches import Batch, Cells, Sampler, own_neighbours, slice_pairs
from lloki.cae.config import CAEConfig
from lloki.cae.losses import conservation_loss, pair_distance, reconstruction_loss, triplet_loss
from lloki.cae.model import CAEModel, choose_device
from lloki.cae.network import ConditionalAutoencoder
from lloki.cae.scaling import Scaling
from lloki.errors import InputError


def train(
    embeddings: Mapping[str, NDArray[np.floating]],
    tokens: Mapping[str, str],
    *,
    config: CAEConfig | None = None,
    advance: Advance | None = None,
) -> CAEModel:
    """Train the autoencoder on all slices together.

    Parameters
    ----------
    embeddings
        Slice name → (n_i, d) embedding.
    tokens
        Slice name → batch token (technology x panel).
    config
        Settings; default `CAEConfig()`.
    advance
        Called with numbers of steps done.
    """
    config = config or CAEConfig()
    names = sorted(embeddings)
    slices = _checked(embeddings, tokens)
    labels = sorted(set(tokens[name] for name in names))
    token_of = [labels.index(tokens[name]) for name in names]
    scaling = Scaling.fit(slices, token_of, unit=config.unit)
    device = choose_device(config.device)
    with single_threaded():
        rng = torch.Generator().manual_seed(config.seed)
        cells = _gather(
            [scaling.apply(x, t) for x, t in zip(slices, token_of)], token_of, config.holdout, rng, device
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            network = ConditionalAutoencoder(
                cells.x.shape[1],
                len(labels),
                latent=config.latent,
                hidden=config.hidden,
                token_dim=config.token_dim,
            )
        network.to(device)
        history = _fit(network, cells, scaling.distance, config, rng, advance)
    return CAEModel(network.cpu().eval(), labels, scaling, config, history)


def _checked(
    embeddings: Mapping[str, NDArray[np.floating]], tokens: Mapping[str, str]
) -> list[NDArray[np.float32]]:
    if not embeddings:
        raise InputError("there are no slices to train on", mend="Give at least one slice.")
    out = []
    dims = {}
    for name in sorted(embeddings):
        x = np.ascontiguousarray(embeddings[name], dtype=np.float32)
        if x.ndim != 2 or not x.size:
            raise InputError(f"the embedding has shape {x.shape}, not (cells, dimensions)", where=name)
        if not np.isfinite(x).all():
            raise InputError("the embedding holds NaN or infinite values", where=name)
        if name not in tokens:
            raise InputError("the slice has no batch token", where=name)
        dims[name] = x.shape[1]
        out.append(x)
    if len(set(dims.values())) > 1:
        raise InputError(f"embeddings of different widths: {dims}", mend="Embed all slices with one model.")
    return out


def _gather(
    scaled: list[NDArray[np.float32]],
    token_of: list[int],
    holdout: float,
    rng: torch.Generator,
    device: torch.device,
) -> Cells:
    sizes = torch.tensor([len(x) for x in scaled])
    seen = torch.ones(int(sizes.sum()), dtype=torch.bool)
    start = [0, *sizes.cumsum(0).tolist()]
    for first, n in zip(start, sizes.tolist()):
        seen[first + torch.randperm(n, generator=rng)[: int(holdout * n)]] = False
    return Cells(
        x=torch.from_numpy(np.concatenate(scaled)).to(device),
        token=torch.tensor(token_of).repeat_interleave(sizes).to(device),
        slice_of=torch.arange(len(sizes)).repeat_interleave(sizes).to(device),
        start=start,
        seen=seen.to(device),
    )


def _fit(
    network: ConditionalAutoencoder,
    cells: Cells,
    unit: float,
    config: CAEConfig,
    rng: torch.Generator,
    advance: Advance | None,
) -> list[dict[str, float]]:
    neighbours = own_neighbours(cells, config.k_neighbours)
    sampler = Sampler(cells, neighbours, held_out=False, rng=rng)
    m = config.neighbours_per_step
    n = max(1, config.batch_size // (2 + m))
    steps = config.steps
    optimiser = torch.optim.Adam(
        network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
    )
    history = []
    every = max(1, steps // (config.refreshes + 1))
    for step in range(steps):
        if step % every == 0 and step // every <= config.refreshes:
            space = cells.x if step == 0 else encode_all(network, cells)
            pairs = slice_pairs(
                cells, space, config.k_pairs, at_most=config.pair_cells, partners=config.pair_slices, rng=rng
            )
        batch = sampler.draw(n, m, pairs)
        parts = losses(network, cells, batch, unit, config)
        total = sum(getattr(config, k) * v for k, v in parts.items())
        optimiser.zero_grad(set_to_none=True)
        total.backward()
        optimiser.step()
        if (step + 1) % config.check_every == 0 or step + 1 == steps:
            history.append(
                {
                    "step": step + 1,
                    **{k: float(v.detach()) for k, v in parts.items()},
                    "total": float(total.detach()),
                }
            )
        if advance:
            advance(1)
    return history


@torch.no_grad()
def encode_all(network: ConditionalAutoencoder, cells: Cells, block: int = 8192) -> Tensor:
    parts = [
        network.encode(cells.x[i : i + block], cells.token[i : i + block])
        for i in range(0, len(cells.x), block)
    ]
    return torch.cat(parts)


def losses(
    network: ConditionalAutoencoder, cells: Cells, batch: Batch, unit: float, config: CAEConfig
) -> dict[str, Tensor]:
    """The three unweighted losses of one batch, its cells encoded in one pass."""
    n, m = batch.neighbour.shape
    paired, near = batch.positive >= 0, batch.neighbour[:, 0] >= 0
    who = torch.cat([batch.cell, batch.positive[paired], batch.neighbour[near].reshape(-1)])
    z = network.encode(cells.x[who], cells.token[who])
    anchor, positive, neighbour = z.split([n, int(paired.sum()), int(near.sum()) * m])
    # A batch is laid out slice by slice: shifting inside the slice's block gives a random cell of the same slice.
    negative = anchor.reshape(-1, n // _strata(batch), z.shape[1]).roll(1, dims=1).reshape(n, -1)
    x = cells.x[batch.cell]
    x_near = cells.x[batch.neighbour[near]]
    return {
        "reconstruction": reconstruction_loss(x, network.decode(anchor, cells.token[batch.cell])),
        "triplet": triplet_loss(
            anchor[paired], positive, negative[paired], margin=config.margin, distance=config.distance
        ),
        "conservation": conservation_loss(
            anchor[near], neighbour.reshape(-1, m, z.shape[1]), pair_distance(x[near][:, None], x_near) * unit
        ),
    }


def _strata(batch: Batch) -> int:
    return 1
