"""Parameters of gene programs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lloki._config import Config
from lloki.errors import ConfigError

MOST = 50  # metagenes; the partition function is computed precisely up to that


@dataclass(frozen=True, kw_only=True)
class ProgramConfig(Config):
    """Parameters of gene programs, those of SpiceMix where it has them.

    Attributes
    ----------
    k
        Number of metagenes.
    regularization
        λ: weight of ½‖Σ⁻¹‖² for every directed edge of the spatial graphs. At the published 1e-4 it decides
        little but the mean of Σ⁻¹, which the data leave open.
    pretraining
        Iterations in which cells are independent of their neighbors.
    iterations
        Most iterations with affinities that follow.
    affinities
        What they are fitted to: compositions that cells have by their ``"own"`` features, or ``"coupled"``
        ones, in which neighbors had a say through those same affinities, as published. The latter feed on
        their own effect: the noisier the features, the more they are overrated, and states with them.
    tolerance
        They end once five have moved the objective, in nats per value of the features, by less. 0 runs all.
    state_rounds, state_steps
        Within an iteration: rounds of gradient steps for the states' composition, each followed by their
        size, and steps in a round.
    metagene_steps
        Most gradient steps for the metagenes within an iteration.
    block
        Cells whose features are on the device at a time, and whose partition function is.
    checkpoint_every
        Iterations between two checkpoint files, where one was asked for.
    seed
        Of the k-means that the metagenes begin with.
    """

    k: int = 15
    regularization: float = 1e-4
    pretraining: int = 10
    iterations: int = 200
    affinities: Literal["own", "coupled"] = "own"
    tolerance: float = 1e-6
    state_rounds: int = 4
    state_steps: int = 12
    metagene_steps: int = 100
    block: int = 8192
    checkpoint_every: int = 20
    seed: int = 0

    def __post_init__(self) -> None:
        self._at_least(k=2, pretraining=1, iterations=0, tolerance=0, state_rounds=1, state_steps=1)
        self._at_least(metagene_steps=1, block=1, checkpoint_every=1, seed=0)
        self._above_zero("regularization")
        if self.affinities not in ("own", "coupled"):
            raise ConfigError(f"affinities must be 'own' or 'coupled', got {self.affinities!r}")
        if self.k > MOST:
            raise ConfigError(f"k must be at most {MOST}, got {self.k}")
