"""Training of LLOKI-CAE."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lloki._device import choose_device
from lloki._progress import Advance
from lloki.cae.batches import Sampler
from lloki.cae.cells import Cells, own_neighbours, slice_pairs
from lloki.cae.config import CAEConfig
from lloki.cae.model import CAEModel
from lloki.cae.network import ConditionalAutoencoder
from lloki.cae.objective import PARTS, SHARDS, Objective, objective
from lloki.cae.pairs import PairTable
from lloki.cae.scaling import Scaling
from lloki.errors import InputError, LlokiWarning

# Share of the steps over which pairs are searched again; the rest trains on the last pairs, where held-out
# losses of different steps can be compared.
REFRESH_UNTIL = 2 / 3
# The learning rate rises over this many steps and falls along a cosine to this share of its height: Adam's
# step size is otherwise the noise that is left in the final state.
WARM_UP, FLOOR = 50, 0.05
# Held-out cells whose loss is looked at.
HELD_OUT_CELLS = 2000


def train(
    embeddings: Mapping[str, NDArray[np.floating]],
    tokens: Mapping[str, str],
    *,
    config: CAEConfig | None = None,
    advance: Advance | None = None,
) -> CAEModel:
    """Train the autoencoder on all slices together, without labels.

    Parameters
    ----------
    embeddings
        Slice name → (n_i, d) embedding, the same d for all. The order of the names does not matter.
    tokens
        Slice name → batch token, ``technology|panel``; slices that share one are one batch to the network.
    config
        Settings; default `CAEConfig()`.
    advance
        Called with numbers of steps done, which sum to the planned steps.

    Returns
    -------
    model
        With ``model.history``, a list of dicts ready for a data frame: ``step``; the unweighted losses of the
        step's batch under their names and times their weights as ``weighted_…``; their sum ``total``; and
        ``validation``, the same sum for held-out cells.

    Raises
    ------
    InputError
        If a slice has no token, no cells, values that are not finite, or another width than the rest.

    Warns
    -----
    LlokiWarning
        If there is one slice only, or a slice has no mutual neighbour in any other: such slices keep
        their structure but are not mixed.

    Notes
    -----
    The same seed gives the same weights, to the bit, on one and on two threads and for any order of slices.
    Time: steps x batch_size cells through the network, the searches of pairs (bounded by
    `CAEConfig.pair_cells`), and once the neighbours within each slice (`lloki.graph.cosine_neighbours`).
    Memory: the inputs twice, 8·k_neighbours bytes a cell, and a batch.
    """
    config = config or CAEConfig()
    names = sorted(embeddings)
    slices = _checked(embeddings, tokens)
    labels = sorted({tokens[name] for name in names})
    token_of = [labels.index(tokens[name]) for name in names]
    scaling = Scaling.fit(slices, token_of, unit=config.unit)
    device = choose_device(config.device)
    rng = torch.Generator().manual_seed(config.seed)
    scaled = [scaling.apply(x, t) for x, t in zip(slices, token_of)]
    cells = Cells.gather(scaled, token_of, holdout=config.holdout, rng=rng, device=device)
    with torch.random.fork_rng(devices=[]):  # layers draw from torch's global generator
        torch.manual_seed(config.seed)
        network = ConditionalAutoencoder(
            cells.x.shape[1],
            len(labels),
            latent=config.latent,
            hidden=config.hidden,
            token_dim=config.token_dim,
        )
    network.to(device)
    with objective(network, cells, config, scaling.distance) as loss:
        history = _Training(loss, names, rng).run(advance)
    return CAEModel(network.cpu().eval(), labels, scaling, config, history)


@dataclass
class _Training:
    """One run of the optimiser and what it keeps on the way."""

    loss: Objective
    names: list[str]
    rng: torch.Generator
    history: list[dict[str, Any]] = field(default_factory=list)

    def run(self, advance: Advance | None) -> list[dict[str, Any]]:
        cells, config, network = self.loss.cells, self.loss.config, self.loss.network
        steps = config.total_steps(len(cells))
        refresh_at = {
            round(i * REFRESH_UNTIL * steps / (config.refreshes + 1)) for i in range(config.refreshes + 1)
        }
        last_refresh = max(refresh_at)
        neighbours = own_neighbours(cells, config.k_neighbours)
        seen, held = Sampler(cells, neighbours), Sampler(cells, neighbours, seen=False)
        optimiser = torch.optim.Adam(
            network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )
        m = config.neighbours_per_step
        n = max(1, config.batch_size // (2 + m) // SHARDS)
        best, best_state, waited = math.inf, None, 0
        for step in range(steps):
            if step in refresh_at:
                pairs = self._search(first=step == 0)
            for group in optimiser.param_groups:
                group["lr"] = config.learning_rate * _rate(step, steps)
            parts = self.loss.backward([seen.draw(n, m, pairs, self.rng) for _ in range(SHARDS)])
            optimiser.step()
            if advance is not None:
                advance(1)
            done = step + 1
            if done % config.check_every and done != steps:
                continue
            checked = self._held_out(held, pairs)
            self._record(done, parts, checked)
            if checked is None or step < last_refresh:
                continue
            score = float((checked * self.loss.weights).sum())
            if score < best:
                best, best_state, waited = score, copy.deepcopy(network.state_dict()), 0
            elif (waited := waited + 1) >= config.patience:
                if advance is not None:
                    advance(steps - done)
                break
        if best_state is not None:
            network.load_state_dict(best_state)
        return self.history

    def _search(self, *, first: bool) -> PairTable:
        """Search pairs: at first between inputs, centred for each token, then between latents."""
        cells, config = self.loss.cells, self.loss.config
        pairs = slice_pairs(
            cells,
            cells.x if first else encode_cells(self.loss.network, cells),
            config.k_pairs,
            cells_per_slice=config.pair_cells,
            partners=config.pair_slices,
            rng=self.rng,
        )
        if first:
            self._warn_unpaired(pairs)
        return pairs

    def _warn_unpaired(self, pairs: PairTable) -> None:
        cells = self.loss.cells
        if cells.slices == 1:
            text = "there is one slice only: the autoencoder has no batches to mix"
        else:
            count = torch.bincount(cells.slice_of[pairs.anchors()], minlength=cells.slices)
            lonely = [name for name, pairs_ in zip(self.names, count.tolist()) if pairs_ == 0]
            if not lonely:
                return
            text = f"no mutual nearest neighbours in any other slice, so not mixed: {', '.join(lonely)}"
        warnings.warn(text, LlokiWarning, stacklevel=5)

    def _held_out(self, sampler: Sampler, pairs: PairTable) -> Tensor | None:
        """(3,) losses of held-out cells, on the same draws each time; None without such cells."""
        if not sampler.pools:
            return None
        config = self.loss.config
        rng = torch.Generator().manual_seed(config.seed + 1)
        return self.loss.parts(sampler.draw(HELD_OUT_CELLS, config.neighbours_per_step, pairs, rng))

    def _record(self, step: int, parts: Tensor, checked: Tensor | None) -> None:
        weighted = parts * self.loss.weights
        row: dict[str, Any] = {"step": step}
        row |= dict(zip(PARTS, parts.tolist()))
        row |= {f"weighted_{name}": value for name, value in zip(PARTS, weighted.tolist())}
        row["total"] = float(weighted.sum())
        row["validation"] = None if checked is None else float((checked * self.loss.weights).sum())
        self.history.append(row)


def _rate(step: int, steps: int) -> float:
    """Share of the learning rate at a step."""
    rise = min(1.0, (step + 1) / WARM_UP)
    return rise * (FLOOR + (1 - FLOOR) * 0.5 * (1 + math.cos(math.pi * step / steps)))


@torch.no_grad()
def encode_cells(network: ConditionalAutoencoder, cells: Cells, *, block: int = 8192) -> Tensor:
    """Latents (N, latent) of all cells, in blocks."""
    rows = zip(cells.x.split(block), cells.token.split(block))
    return torch.cat([network.encode(x, token) for x, token in rows])


def _checked(
    embeddings: Mapping[str, NDArray[np.floating]], tokens: Mapping[str, str]
) -> list[NDArray[np.float32]]:
    """Slices in the order of their names, float32, or an error that says which is wrong."""
    if not embeddings:
        raise InputError("there are no slices to train on", mend="Give at least one slice.")
    slices = []
    for name in sorted(embeddings):
        x = np.ascontiguousarray(embeddings[name], dtype=np.float32)
        if x.ndim != 2 or not x.size:
            raise InputError(
                f"the embedding has shape {x.shape}, not (cells, dimensions)",
                where=name,
                mend="Leave out slices without cells.",
            )
        if not np.isfinite(x).all():
            raise InputError(
                "the embedding holds NaN or infinite values",
                where=name,
                mend="Embed this slice again or leave it out.",
            )
        if name not in tokens:
            raise InputError(
                "the slice has no batch token", where=name, mend="Give its technology and panel as one label."
            )
        slices.append(x)
    widths = {name: x.shape[1] for name, x in zip(sorted(embeddings), slices)}
    if len(set(widths.values())) > 1:
        raise InputError(f"embeddings of different widths: {widths}", mend="Embed all slices with one model.")
    return slices
