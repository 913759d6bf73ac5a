"""Gene programs: the fit as a whole."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from numpy.typing import ArrayLike

from lloki._device import choose_device
from lloki._parallel import single_threaded
from lloki._progress import Advance
from lloki.analysis.order import content_order
from lloki.analysis.programs.config import ProgramConfig
from lloki.analysis.programs.result import Programs
from lloki.analysis.programs.running import Fit
from lloki.analysis.programs.start import check_features
from lloki.cae.checkpoint import Checkpoint
from lloki.errors import LlokiWarning


def fit_programs(
    features: Sequence[Any],
    graphs: Sequence[Any],
    *,
    config: ProgramConfig | None = None,
    start: ArrayLike | None = None,
    device: str | None = None,
    threads: int | None = None,
    checkpoint: str | Path | None = None,
    names: Sequence[str] | None = None,
    advance: Advance | None = None,
) -> Programs:
    r"""Find metagenes that slices share, and how they go together in space (SpiceMix).

    .. math::
        Y_s = X_s M^T + \varepsilon,\quad \varepsilon \sim N(0, \sigma_s^2),\qquad
        p(X_s) \propto \prod_{(i,j) \in E_s} \exp(-z_i^T \Sigma^{-1} z_j),\quad z_i = x_i / |x_i|_1

    with :math:`X \ge 0`, columns of M on the simplex, and a Gaussian prior on :math:`\Sigma^{-1}` (Chidester
    et al. 2023). Each iteration fits states, affinities, metagenes and noise in turn. Affinities are fitted
    to compositions from cells' own features, unless `ProgramConfig.affinities` says otherwise.

    Parameters
    ----------
    features
        (n_i, D) of each slice, dense or sparse, non-negative: an embedding such as ``X_lloki``, or
        expression. Each slice is scaled so that its cells' totals have the mean K.
    graphs
        (n_i, n_i) symmetric spatial adjacency of each slice, of 0 and 1: see `spatial_neighbors`.
    config
        Parameters.
    start
        (D, K) initial metagenes, in place of k-means.
    device
        ``"auto"``, ``"cpu"``, ``"cuda"``…, default ``lloki.settings.device``; affinities are fitted in double
        precision, on the CPU where the device has none.
    threads
        Number of slices fitted at a time, on the CPU. Results do not depend on it, nor on the order of
        slices.
    checkpoint
        A file that is written every ``checkpoint_every`` iterations; if it exists, the fit resumes from it.
    names
        Names of the slices, for messages.
    advance
        Called with numbers of iterations done.

    Returns
    -------
    Programs
        Metagenes, affinities, states and the course of the objective.

    Raises
    ------
    InputError
        If features are negative or not finite, shapes do not fit, or a slice has no neighbors at all.
    ConfigError
        If there are more metagenes than features or cells, or the checkpoint is of another fit.

    Warns
    -----
    LlokiWarning
        If half of the metagenes are used by almost no cell, as when affinities dominate the features.

    Notes
    -----
    The objective is the negative log of likelihood and prior, with half the pseudo-likelihood's
    log-partition in place of the intractable one. Steps for states, metagenes and noise never raise their
    part of it; since they treat the partition as constant, and affinities minimize another objective, the sum
    can rise slightly while affinities still change.

    Time grows with cells x (D + neighbors + K) x K an iteration; memory with cells x (D + K), on the device
    with cells x K.
    """
    config = config or ProgramConfig()
    given = check_features(features, graphs, config, names)
    graphs = [g.tocsr() for g in graphs]
    order = content_order(given, graphs)
    given, graphs = [given[i] for i in order], [graphs[i] for i in order]
    where = choose_device(device)
    with single_threaded():
        fit = Fit(given, graphs, config, where, threads, start)
        file = None if checkpoint is None else Checkpoint(checkpoint, fit.fingerprint(graphs, start))
        saved = None if file is None else file.load()
        if saved is not None:
            fit.restore(saved)
            if advance is not None:
                advance(len(fit.history))
        for i in range(len(fit.history), config.pretraining + config.iterations):
            if fit.settled():
                if advance is not None:
                    advance(config.pretraining + config.iterations - i)
                break
            fit.iterate(coupled=i >= config.pretraining)
            if advance is not None:
                advance(1)
            if file is not None and (i + 1) % config.checkpoint_every == 0:
                file.save(fit.state())
        fit.states(coupled=config.iterations > 0)
        found = fit.result(order)
    if 2 * len(found.unused) >= config.n_metagenes:
        text = f"{len(found.unused)} of {config.n_metagenes} metagenes are used by almost no cell"
        hint = f"Ask for fewer, or raise regularization, now {config.regularization:g}, to 1e-2."
        if config.affinities == "coupled":
            text, hint = f"{text}: affinities dominate the features", f'Set affinities="own". {hint}'
        warnings.warn(f"{text}. {hint}", LlokiWarning, stacklevel=2)
    return found
