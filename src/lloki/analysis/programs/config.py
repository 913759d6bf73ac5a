"""Parameters of gene programs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypedDict

from lloki._config import Config
from lloki.errors import ConfigError

MAX_METAGENES = 50  # the partition function is computed precisely up to this number


@dataclass(frozen=True, kw_only=True)
class ProgramConfig(Config):
    """Parameters of gene programs; those of SpiceMix where it has them.

    Attributes
    ----------
    n_metagenes
        Number of metagenes, K.
    regularization
        λ: weight of ½‖Σ⁻¹‖² for every directed edge of the spatial graphs. At the published 1e-4 it
        determines little but the mean of Σ⁻¹, which the data do not determine.
    pretraining
        Iterations in which cells are independent of their neighbors.
    iterations
        Maximum number of iterations with affinities that follow.
    affinities
        What affinities are fitted to: compositions from each cell's ``"own"`` features, or ``"coupled"``
        ones, which depend on neighbors through those same affinities, as published. Coupled affinities
        reinforce themselves: the noisier the features, the more affinities and states are overestimated.
    tolerance
        Iterations stop once five have changed the objective, in nats per value of the features, by less. 0
        runs all.
    block
        Number of cells that are on the device at a time.
    checkpoint_every
        Iterations between two checkpoints, where a file was given.
    seed
        Random seed of the k-means that initializes the metagenes.
    """

    n_metagenes: int = 15
    regularization: float = 1e-4
    pretraining: int = 10
    iterations: int = 200
    affinities: Literal["own", "coupled"] = "own"
    tolerance: float = 1e-6
    block: int = 8192
    checkpoint_every: int = 20
    seed: int = 0

    def __post_init__(self) -> None:
        self._at_least(n_metagenes=2, pretraining=1, iterations=0, tolerance=0)
        self._at_least(block=1, checkpoint_every=1, seed=0)
        self._above_zero("regularization")
        if self.affinities not in ("own", "coupled"):
            raise ConfigError(f"affinities must be 'own' or 'coupled', got {self.affinities!r}")
        if self.n_metagenes > MAX_METAGENES:
            raise ConfigError(f"n_metagenes must be at most {MAX_METAGENES}, got {self.n_metagenes}")


class ProgramOptions(TypedDict, total=False):
    """Fields of :class:`ProgramConfig`, as keywords."""

    n_metagenes: int
    regularization: float
    pretraining: int
    iterations: int
    affinities: Literal["own", "coupled"]
    tolerance: float
    block: int
    checkpoint_every: int
    seed: int
