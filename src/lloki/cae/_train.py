"""Training of LLOKI-CAE."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from lloki._device import choose_device
from lloki._progress import Advance
from lloki.cae._objective import objective
from lloki.cae.cells import Cells
from lloki.cae.checkpoint import Checkpoint, fingerprint
from lloki.cae.condition import Conditions
from lloki.cae.config import CAEConfig
from lloki.cae.labels import Labels, encode_labels
from lloki.cae.landmarks import Landmarks
from lloki.cae.loop import FirstPairs, Loop
from lloki.cae.model import CAEModel, network_for
from lloki.cae.pairs import PairTable
from lloki.cae.scaling import Scaling
from lloki.errors import InputError, LlokiWarning


def train(
    embeddings: Mapping[str, NDArray[np.floating]],
    tokens: Mapping[str, str],
    *,
    labels: Labels | None = None,
    config: CAEConfig | None = None,
    device: str | None = None,
    checkpoint: str | Path | None = None,
    advance: Advance | None = None,
) -> CAEModel:
    """Train the autoencoder on all slices together.

    Parameters
    ----------
    embeddings
        Slice name → (n_i, d) embedding, the same d for all. The order of the names does not matter. Of a
        token of more than `CAEConfig.most_cells` cells, so many are trained on.
    tokens
        Slice name → batch token, ``technology|panel``; slices that share one are one batch to the network,
        unless `CAEConfig.condition` says otherwise.
    labels
        Slice → cell type of each of its cells; ``None``, NaN or ``""`` where unknown, and slices may be left
        out. Cells of different types are then no partners, and the negatives are the nearest cells of
        another type. Whatever is to be scored by labels must not be given here. Default: training sees none.
    config
        Settings; default `CAEConfig()`.
    device
        Where to compute, and where the model encodes: ``"auto"`` takes CUDA, then MPS, then the CPU; ``None``
        is ``lloki.settings.device``.
    checkpoint
        File that is written about once a minute. Re-running resumes from it, to the same result,
        bit by bit. It is left in place.
    advance
        Called with numbers of steps done, which sum to the planned steps.

    Returns
    -------
    model
        With ``model.history``, a list of dicts ready for a data frame: ``step``; the unweighted losses of the
        step's batch under their names and times their weights as ``weighted_…``; their sum ``total``;
        ``validation``, the same sum for held-out cells; and what `lloki.cae.monitor` sees, ``monitor_…``.

    Raises
    ------
    InputError
        If a slice has no token, no cells, values that are not finite, or another width than the rest; if
        labels do not fit the cells.
    ConfigError
        If ``checkpoint`` is of another training.

    Warns
    -----
    LlokiWarning
        If there is one slice only, or a slice has no mutual neighbor in any other: such slices keep
        their structure but are not mixed.

    Notes
    -----
    The same seed gives the same weights, to the bit, on one and on two threads and for any order of slices.
    Time: steps x batch_size cells through the network, the searches of pairs (bounded by
    `CAEConfig.pair_cells`), and once the neighbors within each slice (`lloki.graph.cosine_neighbors`).
    Memory: the inputs once more, 4·n_neighbors bytes a cell, and a batch.
    """
    config = config or CAEConfig()
    embeddings, labels = _sampled(embeddings, tokens, labels, config)
    names, slices = checked(embeddings)
    for name in names:
        if name not in tokens:
            raise InputError(
                "the slice has no batch token", where=name, hint="Give its technology and panel as one label."
            )
    where = choose_device(device)
    conditions = Conditions.of(config.condition, {name: tokens[name] for name in names})
    token_of = [conditions.tokens.index(tokens[name]) for name in names]
    sizes = [len(x) for x in slices]
    label = None if labels is None else encode_labels(labels, names, sizes)
    file = None
    if checkpoint is not None:
        known = [] if label is None else [label.numpy()]
        file = Checkpoint(checkpoint, fingerprint((names, token_of, config), [*slices, *known]))
    scaling, joined = Scaling.fit(slices, token_of, conditions.technologies, config=config)
    rng = torch.Generator().manual_seed(config.seed)
    cells = Cells.gather(
        joined,
        sizes,
        conditions.rows(names),
        holdout=config.holdout,
        rng=rng,
        device=where,
        label=label,
    )
    with torch.random.fork_rng(devices=[]):  # layers draw from torch's global generator
        torch.manual_seed(config.seed)
        network = network_for(config, cells.x.shape[1], conditions)
    network.to(where)
    with objective(network, cells, config, scaling.distance) as loss:
        loop = Loop(loss, rng, cells.slices, first_pairs=warn_unpaired(cells, names))
        history = loop.run(config.total_steps(len(cells)), advance=advance, checkpoint=file)
    landmarks = Landmarks.choose(cells, slices=cells.slices, seed=config.seed)
    model = CAEModel(
        network.cpu().eval(),
        conditions,
        scaling,
        config,
        history,
        landmarks,
        device=device,
    )
    inputs = config.output == "inputs" or (config.output == "better" and model.unlike)
    return model.giving("inputs") if inputs else model


def sample_sizes(sizes: Mapping[str, int], tokens: Mapping[str, str], most: int) -> dict[str, int]:
    """Numbers of cells that are trained on: of a token of more than ``most``, the same share of a slice."""
    total: Counter[str] = Counter()
    for name, n in sizes.items():
        total[tokens.get(name, "")] += n
    of = {name: max(most, total[tokens.get(name, "")]) for name in sizes}
    return {name: max(1, n * most // of[name]) if of[name] > most else n for name, n in sizes.items()}


def _sampled(
    embeddings: Mapping[str, NDArray[np.floating]],
    tokens: Mapping[str, str],
    labels: Labels | None,
    config: CAEConfig,
) -> tuple[Mapping[str, NDArray[np.floating]], Labels | None]:
    """Draw the cells that are trained on, with their labels; all of them unless a token has too many."""
    sizes = {name: len(x) for name, x in embeddings.items()}
    wanted = sample_sizes(sizes, tokens, config.most_cells)
    if wanted == sizes:
        return embeddings, labels
    rows, known = {}, dict(labels or {})
    for i, name in enumerate(sorted(sizes)):
        rng = np.random.default_rng([config.seed, i])
        drawn = np.sort(rng.permutation(sizes[name])[: wanted[name]])
        rows[name] = embeddings[name][drawn]
        if name in known and len(known[name]) == sizes[name]:
            known[name] = [known[name][j] for j in drawn]
    return rows, None if labels is None else known


def warn_unpaired(cells: Cells, names: Sequence[str]) -> FirstPairs:
    """Make what says which of the slices ``names``, the first of all, has no partner in any other."""

    def warn(pairs: PairTable) -> None:
        if cells.slices == 1:
            text = "there is one slice only: the autoencoder has no batches to mix"
        else:
            count = torch.bincount(cells.slice_of[pairs.anchors()], minlength=cells.slices)
            lonely = [name for name, found in zip(names, count.tolist()) if found == 0]
            if not lonely:
                return
            text = f"no mutual nearest neighbors in any other slice, so not mixed: {', '.join(lonely)}"
        warnings.warn(text, LlokiWarning, stacklevel=6)

    return warn


def checked(embeddings: Mapping[str, NDArray[np.floating]]) -> tuple[list[str], list[NDArray[np.float32]]]:
    """Give names in their order and their slices as float32, or an error that says which is wrong."""
    if not embeddings:
        raise InputError("there are no slices to train on", hint="Give at least one slice.")
    names, slices = sorted(embeddings), []
    for name in names:
        x = np.ascontiguousarray(embeddings[name], dtype=np.float32)
        if x.ndim != 2 or not x.size:
            raise InputError(
                f"the embedding has shape {x.shape}, not (cells, dimensions)",
                where=name,
                hint="Leave out slices without cells.",
            )
        if not np.isfinite(x).all():
            raise InputError(
                "the embedding holds NaN or infinite values",
                where=name,
                hint="Embed this slice again or leave it out.",
            )
        slices.append(x)
    widths = {name: x.shape[1] for name, x in zip(names, slices)}
    if len(set(widths.values())) > 1:
        raise InputError(f"embeddings of different widths: {widths}", hint="Embed all slices with one model.")
    return names, slices
