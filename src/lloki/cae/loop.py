"""The optimizer's steps, with what they search, look at and keep on the way."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from lloki._progress import Advance
from lloki.cae._objective import PARTS, SHARDS, Objective
from lloki.cae.batches import Sampler
from lloki.cae.cells import own_neighbors, slice_pairs
from lloki.cae.checkpoint import Checkpoint
from lloki.cae.labels import spread
from lloki.cae.monitor import Looked, Monitor
from lloki.cae.pairs import PairTable
from lloki.graph.knn.tensors import differ

# Share of the steps over which pairs are searched again; the rest trains on the last pairs, where held-out
# losses of different steps can be compared.
REFRESH_UNTIL = 2 / 3
# The learning rate rises over this many steps and falls along a cosine to this share of its height: Adam's
# step size is otherwise the noise that is left in the final state.
WARM_UP, FLOOR = 50, 0.05
# Held-out cells whose loss is looked at.
HELD_OUT_CELLS = 2000
# Cells that are encoded at a time.
BLOCK = 8192

FirstPairs = Callable[[PairTable], None]


@dataclass
class Loop:
    """One run of the optimizer over the parameters that ask for a gradient.

    Parameters
    ----------
    loss
        What is minimized.
    rng
        Draws cells, pairs and neighbors.
    drawn
        Number of slices, from the first, whose cells are drawn; the others only serve as partners.
    first_pairs
        Called with the pairs of the first search.
    """

    loss: Objective
    rng: torch.Generator
    drawn: int
    first_pairs: FirstPairs
    history: list[dict[str, Any]] = field(default_factory=list)
    best: float = math.inf
    best_weights: dict[str, Tensor] | None = None
    waited: int = 0
    step: int = 0
    pairs: PairTable | None = None
    neighbors: Tensor | None = None

    def run(
        self, steps: int, *, advance: Advance | None = None, checkpoint: Checkpoint | None = None
    ) -> list[dict[str, Any]]:
        """Do up to ``steps`` steps, leave the best weights in the network and return the history."""
        cells, config, network = self.loss.cells, self.loss.config, self.loss.network
        searches = config.refreshes + 1
        refresh_at = {round(i * REFRESH_UNTIL * steps / searches) for i in range(searches)}
        self.loss.types = cells.label
        optimizer = torch.optim.Adam(
            self.loss.parameters, lr=config.learning_rate, weight_decay=config.weight_decay
        )
        neighbors = self._resume(checkpoint.load() if checkpoint else None, optimizer)
        if neighbors is None:
            neighbors = own_neighbors(cells, config.n_neighbors, slices=range(self.drawn))
        self.neighbors = neighbors
        seen, held = (Sampler(cells, neighbors, seen=s, slices=range(self.drawn)) for s in (True, False))
        monitor = Monitor(cells, range(self.drawn), unit=config.unit, seed=config.seed)
        m = config.neighbors_per_step
        # a drawn cell is encoded with its neighbors, an anchor with its positive
        n = max(1, config.batch_size // (3 + m) // SHARDS)
        if advance is not None and self.step:
            advance(self.step)
        while self.step < steps and self.waited < config.patience:
            if self.step in refresh_at:
                self.pairs = self._search()
            assert self.pairs is not None  # step 0 searches, and a checkpoint holds what it found
            for group in optimizer.param_groups:
                group["lr"] = config.learning_rate * _rate(self.step, steps)
            parts = self.loss.backward([seen.draw(n, m, self.pairs, self.rng) for _ in range(SHARDS)])
            optimizer.step()
            self.step += 1
            if advance is not None:
                advance(1)
            if self.step % config.check_every == 0 or self.step == steps:
                checked = self._held_out(held, self.pairs)
                looked = monitor.look(network, self.pairs)
                self._record(parts, checked, looked)
                if checked is not None and self.step > max(refresh_at):
                    self._judge(float((checked * self.loss.weights).sum()))
            if checkpoint is not None and checkpoint.due():
                checkpoint.save(self._state(optimizer, neighbors))
        if advance is not None:
            advance(steps - self.step)
        if self.best_weights is not None:
            network.load_state_dict(self.best_weights)
        return self.history

    def _judge(self, score: float) -> None:
        """Keep the best state, and count the looks since."""
        if score < self.best:
            self.best, self.waited = score, 0
            self.best_weights = copy.deepcopy(self.loss.network.state_dict())
        else:
            self.waited += 1

    def _search(self) -> PairTable:
        """Search pairs: at first between inputs, centered for each token, then between latents."""
        cells, config = self.loss.cells, self.loss.config
        pairs = slice_pairs(
            cells,
            cells.x if self.step == 0 else self._latents,
            config.n_pairs,
            cells_per_slice=config.pair_cells,
            partners=config.pair_slices,
            rng=self.rng,
            slices=range(self.drawn),
            types=self.loss.types,
            neighbors=self.neighbors if cells.label is None else None,
        )
        if self.step == 0:
            self.first_pairs(pairs)
        if cells.label is None:
            return pairs
        anchor = pairs.anchor_of()
        types = self.loss.types = spread(cells.label, anchor, pairs.positive)
        alike = ~differ(types[anchor], types[pairs.positive])
        return PairTable.build(anchor[alike], pairs.positive[alike], cells.slice_of)

    @torch.no_grad()
    def _latents(self, rows: Tensor) -> Tensor:
        """Encode some cells (n,) in blocks: (n, latent)."""
        network, cells = self.loss.network, self.loss.cells
        parts = (network.encode(cells.x[r], network.condition(cells.condition[r])) for r in rows.split(BLOCK))
        return torch.cat(list(parts))

    def _held_out(self, sampler: Sampler, pairs: PairTable) -> Tensor | None:
        """(3,) losses of held-out cells, on the same draws each time; None without such cells."""
        if not sampler.pools:
            return None
        config = self.loss.config
        rng = torch.Generator().manual_seed(config.seed + 1)
        return self.loss.parts(sampler.draw(HELD_OUT_CELLS, config.neighbors_per_step, pairs, rng))

    def _record(self, parts: Tensor, checked: Tensor | None, looked: Looked) -> None:
        weighted = parts * self.loss.weights
        row: dict[str, Any] = {"step": self.step}
        row |= dict(zip(PARTS, parts.tolist()))
        row |= {f"weighted_{name}": value for name, value in zip(PARTS, weighted.tolist())}
        row["total"] = float(weighted.sum())
        row["validation"] = None if checked is None else float((checked * self.loss.weights).sum())
        self.history.append(row | looked)

    def _state(self, optimizer: torch.optim.Optimizer, neighbors: Tensor) -> dict[str, Any]:
        """All that the next step depends on."""
        return {
            **{name: getattr(self, name) for name in ("step", "best", "best_weights", "waited", "history")},
            "network": self.loss.network.state_dict(),
            "optimizer": optimizer.state_dict(),
            "rng": self.rng.get_state(),
            "pairs": vars(self.pairs),
            "types": self.loss.types,
            "neighbors": neighbors,  # minutes of search for a large slice
        }

    def _resume(self, state: dict[str, Any] | None, optimizer: torch.optim.Optimizer) -> Tensor | None:
        """Take up what `_state` gave; return the neighbors, or None if there is nothing to take up."""
        if state is None:
            return None
        for name in ("step", "best", "best_weights", "waited", "history"):
            setattr(self, name, state[name])
        device = self.loss.cells.x.device
        self.loss.network.load_state_dict(state["network"])
        optimizer.load_state_dict(state["optimizer"])
        self.rng.set_state(state["rng"])
        self.pairs = PairTable(**{name: value.to(device) for name, value in state["pairs"].items()})
        self.loss.types = None if state["types"] is None else state["types"].to(device)
        neighbors: Tensor = state["neighbors"].to(device)
        return neighbors


def _rate(step: int, steps: int) -> float:
    """Share of the learning rate at a step."""
    rise = min(1.0, (step + 1) / WARM_UP)
    return rise * (FLOOR + (1 - FLOOR) * 0.5 * (1 + math.cos(math.pi * step / steps)))
