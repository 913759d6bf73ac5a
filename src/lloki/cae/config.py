"""The settings of LLOKI-CAE, field by field."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, TypedDict, Unpack

from lloki._config import Config
from lloki.errors import ConfigError

_POSITIVE = (
    *("latent", "token_dim", "unit", "n_pairs", "n_neighbors", "neighbors_per_step", "pair_cells"),
    *("pair_slices", "steps", "batch_size", "learning_rate", "check_every", "patience"),
)
_NOT_NEGATIVE = ("reconstruction", "triplet", "conservation", "margin", "weight_decay", "refreshes")


class CAEOptions(TypedDict, total=False):
    """Fields of `CAEConfig` as keywords; those left out keep their defaults."""

    latent: int
    hidden: tuple[int, ...]
    token_dim: int
    condition: Literal["token", "slice", "both"]
    reconstruction: float
    triplet: float
    conservation: float
    margin: float
    distance: Literal["squared", "euclidean"]
    components: int
    unit: float
    n_pairs: int
    n_neighbors: int
    neighbors_per_step: int
    refreshes: int
    pair_cells: int
    pair_slices: int
    steps: int
    epochs: int | None
    batch_size: int
    learning_rate: float
    weight_decay: float
    holdout: float
    check_every: int
    patience: int
    seed: int


@dataclass(frozen=True)
class CAEConfig(Config):
    """Settings of the conditional autoencoder and of its training; one set of defaults for every data set.

    The paper leaves the unit of the distances open, on which the meaning of its weights (1, 0.2, 250) hangs.
    Here inputs are scaled to a known unit. The defaults that differ from the paper's were chosen by the label
    scores of two data sets of real slices, trained without labels.

    Parameters
    ----------
    latent, hidden, token_dim
        Widths of the network: 128, (256, 175) and 10 as in the paper; of each part of the token, where there
        are two.
    condition
        What the network knows of a cell: its ``"token"`` (technology x panel), so that slices of one panel
        are one batch and a new one needs no training; its ``"slice"``, a vector for each slice, which also
        takes away differences between slices of one token; or ``"both"``, side by side. A slice that was not
        trained with gets the mean of its token's slices.
    reconstruction, triplet, conservation
        Weights of the three losses (Eq 9). With the paper's 0.2 and 250 in this unit, batches hardly mixed;
        from 5 to 10 the triplet loss traded label transfer for mixing.
    margin
        By how much a negative must be farther from its anchor than the positive (α of Eq 7).
    distance
        Of the triplet loss: ``"squared"`` as the paper writes it, ``"euclidean"`` as its published code
        has it, which gave the better biology at equal or better mixing.
    components
        Kinds of cells whose offsets in each batch token are taken out of the inputs first, linearly; see
        :class:`lloki.cae.mixture.Mixture`. 0 leaves the inputs as they are: the losses alone then have to
        carry every type across, and mixed less without transferring labels any better.
    unit
        Root mean square distance of two random cells of a slice, after scaling, that the conservation loss
        asks the latent space for. It frees the loss from the embedder's units and sets the size of the margin
        beside the data: a smaller unit gave tighter types, and within a type farther apart batches.
    n_pairs
        Nearest neighbors (cosine) on either side that make a mutual pair of two slices. The paper has 40;
        15 to 20 transferred labels as well or slightly better.
    n_neighbors
        Neighbors within the own slice whose distances are conserved; 30 as in the paper.
    neighbors_per_step
        Of these, how many are drawn at random for each cell of a batch in one step. One is an unbiased sample
        of the sum over all and leaves more of the step's work for other cells.
    refreshes
        How often the pairs are searched again in the latent space of the moment, evenly over the first two
        thirds of training. The first pairs come from the inputs: the untrained latent space says nothing.
    pair_cells
        At most this many cells of a slice, drawn anew at each refresh, take part in the search of pairs, so
        that its cost does not grow with the square of the slices.
    pair_slices
        At most this many partner slices for each slice, drawn anew at each refresh.
    steps
        Optimizer steps. Steps, not epochs: an epoch of a small data set is a handful of steps.
    epochs
        Where given, takes the place of ``steps``: as many steps as encode each cell this often on average.
    batch_size
        Cells encoded in one step: the drawn cells, their positives and their neighbors. Half the paper's
        4,000, for half the time.
    learning_rate, weight_decay
        Of Adam, as in the paper; the rate rises over 50 steps and falls along a cosine.
    holdout
        Share of the cells of each slice that no step sees; their loss decides which state is the best.
    check_every, patience
        Steps between looks at the held-out loss, and looks without improvement before training ends. Both
        count from the last search of pairs on: losses under different pairs cannot be compared.
    seed
        Random seed.
    """

    latent: int = 128
    hidden: tuple[int, ...] = (256, 175)
    token_dim: int = 10
    condition: Literal["token", "slice", "both"] = "token"
    reconstruction: float = 1.0
    triplet: float = 5.0
    conservation: float = 25.0
    margin: float = 1.0
    distance: Literal["squared", "euclidean"] = "euclidean"
    components: int = 100
    unit: float = 0.7
    n_pairs: int = 20
    n_neighbors: int = 30
    neighbors_per_step: int = 1
    refreshes: int = 4
    pair_cells: int = 5_000
    pair_slices: int = 6
    steps: int = 2000
    epochs: int | None = None
    batch_size: int = 2000
    learning_rate: float = 5e-4
    weight_decay: float = 1e-4
    holdout: float = 0.05
    check_every: int = 100
    patience: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "hidden", tuple(self.hidden))
        self._above_zero(*_POSITIVE)
        self._at_least(**dict.fromkeys(_NOT_NEGATIVE, 0), epochs=1)
        if not 0 <= self.holdout < 0.5:
            raise ConfigError(f"holdout must lie in [0, 0.5), got {self.holdout!r}")
        if self.condition not in ("token", "slice", "both"):
            raise ConfigError(f"condition must be 'token', 'slice' or 'both', got {self.condition!r}")
        if self.distance not in ("squared", "euclidean"):
            raise ConfigError(f"distance must be 'squared' or 'euclidean', got {self.distance!r}")

    def total_steps(self, cells: int) -> int:
        """Return the most steps for this many cells: ``steps``, or what ``epochs`` amount to."""
        if self.epochs is None:
            return self.steps
        return max(1, -(-self.epochs * cells // self.batch_size))

    @classmethod
    def preset(cls, name: str, **overrides: Unpack[CAEOptions]) -> CAEConfig:
        """Return a preset of `PRESETS`, with some fields changed.

        Raises
        ------
        ConfigError
            If there is no such preset.
        """
        if name not in PRESETS:
            raise ConfigError(f"no preset {name!r}. Choose one of: {', '.join(PRESETS)}")
        return cls.from_dict({**PRESETS[name].to_dict(), **overrides})


# "ovarian" has the numbers that the paper states for its ovarian sections (Methods): malignant cells of
# different tumors were to stay apart. They hang on the unit of distances, which the paper leaves open; how
# they do in ours was not measured.
PRESETS: Mapping[str, CAEConfig] = MappingProxyType(
    {
        "default": CAEConfig(),
        "ovarian": CAEConfig(
            conservation=500.0, triplet=0.2, reconstruction=1.0, batch_size=16_000, learning_rate=5e-4
        ),
    }
)
