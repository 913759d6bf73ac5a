"""The settings of LLOKI-CAE, field by field."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from lloki.errors import ConfigError

_POSITIVE = (
    *("latent", "token_dim", "unit", "k_pairs", "k_neighbours", "neighbours_per_step", "pair_cells"),
    *("pair_slices", "steps", "batch_size", "learning_rate", "check_every", "patience"),
)
_NOT_NEGATIVE = ("reconstruction", "triplet", "conservation", "margin", "weight_decay", "refreshes")


@dataclass(frozen=True)
class CAEConfig:
    """Settings of the conditional autoencoder and of its training; one set of defaults for every data set.

    Parameters
    ----------
    latent, hidden, token_dim
        Widths of the network: 128, (256, 175) and 10 as in the paper.
    reconstruction, triplet, conservation
        Weights of the three losses (Eq 9).
    margin
        By how much a negative must be farther from its anchor than the positive (α of Eq 7).
    distance
        Of the triplet loss: ``"squared"`` as the paper writes it, ``"euclidean"`` as its published code
        has it.
    unit
        Root mean square distance of two random cells of a slice, after scaling, that the conservation loss
        asks the latent space for. It makes the loss independent of the embedder's units.
    k_pairs
        Nearest neighbours (cosine) on either side that make a mutual pair of two slices.
    k_neighbours
        Neighbours within the own slice whose distances are conserved.
    neighbours_per_step
        Of these, how many are drawn at random for each cell of a batch in one step.
    refreshes
        How often the pairs are searched again in the latent space of the moment. The first pairs come from
        the inputs.
    pair_cells
        At most this many cells of a slice, drawn anew at each refresh, take part in the search of pairs.
    pair_slices
        At most this many partner slices for each slice, drawn anew at each refresh.
    steps
        Optimiser steps. Steps, not epochs: an epoch of a small data set is a handful of steps.
    epochs
        Where given, takes the place of ``steps``: as many steps as make each cell pass this often on average.
    batch_size
        Cells encoded in one step: the drawn cells, their positives and their neighbours.
    learning_rate, weight_decay
        Of Adam.
    holdout
        Share of the cells of each slice that no step sees; their loss decides which state is the best.
    check_every, patience
        Steps between looks at the held-out loss, and looks without improvement before training on the
        present pairs ends.
    seed
        Of everything random in training.
    device
        ``"auto"`` takes CUDA, then MPS, then the CPU.
    """

    latent: int = 128
    hidden: tuple[int, ...] = (256, 175)
    token_dim: int = 10
    reconstruction: float = 1.0
    triplet: float = 5.0
    conservation: float = 25.0
    margin: float = 1.0
    distance: Literal["squared", "euclidean"] = "squared"
    unit: float = 1.0
    k_pairs: int = 40
    k_neighbours: int = 30
    neighbours_per_step: int = 1
    refreshes: int = 4
    pair_cells: int = 5_000
    pair_slices: int = 6
    steps: int = 2500
    epochs: int | None = None
    batch_size: int = 4000
    learning_rate: float = 5e-4
    weight_decay: float = 1e-4
    holdout: float = 0.05
    check_every: int = 100
    patience: int = 5
    seed: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        object.__setattr__(self, "hidden", tuple(self.hidden))
        for name in _POSITIVE:
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} must be above 0, got {getattr(self, name)!r}")
        for name in _NOT_NEGATIVE:
            if not getattr(self, name) >= 0:
                raise ConfigError(f"{name} must be 0 or more, got {getattr(self, name)!r}")
        if not 0 <= self.holdout < 0.5:
            raise ConfigError(f"holdout must lie in [0, 0.5), got {self.holdout!r}")
        if self.epochs is not None and self.epochs < 1:
            raise ConfigError(f"epochs must be at least 1, got {self.epochs!r}")
        if self.distance not in ("squared", "euclidean"):
            raise ConfigError(f"distance must be 'squared' or 'euclidean', got {self.distance!r}")

    def total_steps(self, cells: int) -> int:
        """Return the most steps for this many cells: ``steps``, or what ``epochs`` amount to."""
        if self.epochs is None:
            return self.steps
        return max(1, -(-self.epochs * cells // self.batch_size))

    def to_dict(self) -> dict[str, Any]:
        """As plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> CAEConfig:
        """From what ``to_dict`` gave; names it does not know are an error."""
        unknown = sorted(set(values) - {f.name for f in fields(cls)})
        if unknown:
            raise ConfigError(f"unknown autoencoder settings: {', '.join(unknown)}")
        return cls(**values)
