"""A new platform or panel for a trained model: its batch token is fitted, nothing else is touched."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lloki._device import choose_device
from lloki._progress import Advance
from lloki.cae._objective import objective
from lloki.cae._train import checked, warn_unpaired
from lloki.cae.cells import Cells
from lloki.cae.condition import Conditions
from lloki.cae.landmarks import Landmarks
from lloki.cae.loop import Loop
from lloki.cae.model import CAEModel, network_for
from lloki.cae.network import ConditionalAutoencoder
from lloki.errors import ConfigError, InputError, LlokiWarning

# Steps of a fit: a third of them would do nearly as well.
STEPS = 300


def fit_token(
    model: CAEModel,
    slices: Mapping[str, NDArray[np.floating]],
    *,
    token: str,
    steps: int = STEPS,
    learning_rate: float = 0.05,
    device: str | None = None,
    advance: Advance | None = None,
) -> CAEModel:
    """Teach a model a new technology x panel: a vector and offsets for it, all shared weights frozen.

    The new slices are trained with the model's own losses and settings. Their partners in other batches are
    the model's landmarks, some cells of each trained slice.

    Parameters
    ----------
    model
        Stays as it is.
    slices
        New slice → (n_i, d) embedding of the kind that the model was trained on; all of the new token.
    token
        Its name, ``technology|panel``.
    steps, learning_rate
        Few parameters are trained: fewer steps and larger ones than of a whole network.
    device
        Where to compute; ``None`` is where the model encodes.
    advance
        Called with numbers of steps done, which sum to ``steps``.

    Returns
    -------
    CAEModel
        Knows ``token`` as well. Whatever is encoded with another token is the same to the bit as before.

    Raises
    ------
    ConfigError
        If the model knows the token already.
    InputError
        If a slice has another width than the model, no cells, values that are not finite, or the name of a
        trained slice.

    Warns
    -----
    LlokiWarning
        If a slice has no mutual neighbor among the landmarks, or many cells of the token have none.

    Notes
    -----
    Time and memory grow with the new cells alone.
    """
    if token in model.tokens:
        raise ConfigError(f"the model knows the token {token!r} already: encode the slices with it")
    names, given = checked(slices)
    for name, x in zip(names, given):
        if x.shape[1] != model.dim:
            raise InputError(
                f"the embedding has {x.shape[1]} columns, the autoencoder takes {model.dim}",
                where=name,
                hint="Embed the slice with the embedder that the model was trained on.",
            )
        if name in model.conditions.slices:
            raise InputError("a trained slice has this name", where=name, hint="Give the new one another.")
    config = replace(
        model.config, steps=steps, epochs=None, learning_rate=learning_rate, weight_decay=0.0, refreshes=1
    )
    conditions = model.conditions.add(token, names)
    known = list(zip(model.conditions.slices.values(), model.landmarks.x.split(model.landmarks.sizes)))
    others = [torch.cat([x for own, x in known if own == other]).numpy() for other in model.tokens]
    scaling = model.scaling.add(given, others, conditions.technologies[-1], rounds=config.mnn_rounds)
    device = model.device if device is None else device
    where, rng = choose_device(device), torch.Generator().manual_seed(config.seed)
    index = len(model.tokens)
    cells = Cells.gather(
        np.concatenate([scaling.join(given, [index] * len(given)), model.landmarks.x.numpy()]),
        [*map(len, given), *model.landmarks.sizes],
        conditions.rows([*names, *model.conditions.slices]),
        holdout=config.holdout,
        rng=rng,
        device=where,
    )
    network = _grown(model, conditions).to(where)
    with objective(network, cells, config, scaling.distance) as loss:
        loop = Loop(loss, rng, len(names), first_pairs=warn_unpaired(cells, names))
        history = loop.run(steps, advance=advance)
    landmarks = Landmarks.choose(cells, slices=len(names), seed=config.seed)
    grown = CAEModel(
        _plain(network, model, conditions).eval(),
        conditions,
        scaling,
        model.config,
        model.history,
        model.landmarks + landmarks,
        model.fitted | {token: history},
        output=model.output,
        device=model.device,
    )
    if token in grown.unlike:
        text = (
            f"many cells of {token} have no counterpart in the batches that the model was trained on "
            f"({grown.partnered[token]:.0%} of those that would if these held the same kinds of cells), and "
            "may be misplaced. Train a model with this batch"
        )
        warnings.warn(text, LlokiWarning, stacklevel=2)
    return grown


class _Grown(nn.Module):
    """A table of vectors whose first rows are frozen; the new ones start from their mean."""

    def __init__(self, old: Tensor, rows: int) -> None:
        super().__init__()
        self.register_buffer("old", old)
        self.new = nn.Parameter(old.mean(0).repeat(rows, 1))

    @property
    def weight(self) -> Tensor:
        return torch.cat([self.get_buffer("old"), self.new])

    def forward(self, rows: Tensor) -> Tensor:
        return nn.functional.embedding(rows, self.weight)


def _grown(model: CAEModel, conditions: Conditions) -> ConditionalAutoencoder:
    """Copy the network, frozen, with the rows that ``conditions`` has more to be trained."""
    network = copy.deepcopy(model.network).requires_grad_(False)
    before, after = model.conditions.sizes(), conditions.sizes()
    for part in conditions.parts:
        old = model.network.state_dict()[f"{part}.weight"].cpu()
        network.add_module(part, _Grown(old.clone(), after[part] - before[part]))
    return network


@torch.no_grad()
def _plain(
    network: ConditionalAutoencoder, model: CAEModel, conditions: Conditions
) -> ConditionalAutoencoder:
    """Give the network of `_grown` ordinary tables again."""
    plain = network_for(model.config, model.dim, conditions)
    weights = {k: v for k, v in network.state_dict().items() if k.partition(".")[0] not in conditions.parts}
    tables = {f"{part}.weight": network.table(part).weight for part in conditions.parts}
    plain.load_state_dict(weights | tables)
    return plain
