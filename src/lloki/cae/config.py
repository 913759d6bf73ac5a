"""Parameters of LLOKI-CAE."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, TypedDict, Unpack

from lloki._config import Config
from lloki.errors import ConfigError

_POSITIVE = (
    *("latent", "token_dim", "unit", "n_pairs", "n_neighbors", "neighbors_per_step", "pair_cells"),
    *("pair_slices", "most_cells", "steps", "batch_size", "learning_rate", "check_every", "patience"),
)
_NOT_NEGATIVE = (
    "reconstruction",
    "triplet",
    "conservation",
    "margin",
    "weight_decay",
    "refreshes",
    "mnn_rounds",
)


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
    mnn_rounds: int
    unit: float
    n_pairs: int
    n_neighbors: int
    neighbors_per_step: int
    refreshes: int
    pair_cells: int
    pair_slices: int
    most_cells: int
    steps: int
    epochs: int | None
    batch_size: int
    learning_rate: float
    weight_decay: float
    holdout: float
    check_every: int
    patience: int
    output: Literal["better", "latent", "inputs"]
    seed: int


@dataclass(frozen=True)
class CAEConfig(Config):
    """Settings of the conditional autoencoder and of its training; one set of defaults for every data set.

    The paper does not state the unit of distances, on which the meaning of its weights (1, 0.2, 250) depends.
    Here, inputs are scaled to a known unit. The defaults that differ from the paper's were chosen by label
    scores on two data sets of real slices, trained without labels.

    Parameters
    ----------
    latent, hidden, token_dim
        Widths of the network: 128, (256, 175) and 10 as in the paper. ``token_dim`` is the width of each part
        of the token, if there are two.
    condition
        What the network knows of a cell: its ``"token"`` (technology x panel), so that slices of one panel
        are one batch and a new one needs no training; its ``"slice"``, a vector for each slice, which also
        removes differences between slices of one token; or ``"both"``, side by side. A slice that was not
        trained with gets the mean of its token's slices.
    reconstruction, triplet, conservation
        Weights of the three losses (Eq 9). With the paper's 0.2 and 250 in this unit, batches hardly mixed;
        from 5 to 15 the triplet loss mixed a little more and transferred labels a little less.
    margin
        By how much a negative must be farther from its anchor than the positive (α of Eq 7).
    distance
        Distance of the triplet loss: ``"squared"`` as the paper writes it, ``"euclidean"`` as in the
        published code, which preserved biology better at equal or better mixing.
    components
        Number of components of cells in which the offsets between panels of one technology are first removed
        from the inputs, linearly; see :class:`lloki.cae.mixture.Mixture`. They cost seconds, and
        joined four panels of one technology better than the shifts below alone; between technologies they
        did harm, and are not made. 0 leaves them out.
    mnn_rounds
        How often, at each of three scales, the inputs are then shifted toward mutual nearest neighbors in
        other batch tokens; see :class:`lloki.cae.correction.Correction`. 0 leaves it to the losses, which
        mixed less on five tasks of real slices and transferred labels clearly worse on one.
    unit
        Root mean square distance of two random cells of a slice, after scaling, that the conservation loss
        demands of the latent space. It makes the loss independent of the embedder's units and sets the margin
        relative to the data: a smaller unit gave tighter types, with batches farther apart within a type.
    n_pairs
        Number of nearest neighbors (cosine) in either direction that define a mutual pair of two slices. The
        paper has 40; 15 to 20 transferred labels as well or slightly better.
    n_neighbors
        Number of neighbors within the same slice whose distances are conserved; 30 as in the paper.
    neighbors_per_step
        Number of these that are drawn at random for each cell of a batch in one step. One is an unbiased
        sample of the sum over all and allows more cells in a step.
    refreshes
        How often the pairs are searched again in the current latent space, evenly over the first two thirds
        of training. The first pairs are found in the inputs, as the untrained latent space is uninformative.
    pair_cells
        Maximum number of cells of a slice in the search of pairs, drawn anew at each refresh, so that the
        cost does not grow with the square of the slice sizes. Only these can be anchors of the triplet loss
        until the next refresh: too few of them, and partners are far from their anchors. Further bounded by
        `lloki.cae.cells.COMPARISONS` where there are many slices.
    pair_slices
        Maximum number of partner slices for each slice, drawn anew at each refresh.
    most_cells
        Maximum number of cells of a batch token that are trained on, drawn with the same share of each of its
        slices; all cells are encoded. It bounds memory: the default steps draw four million cells in all.
    steps
        Number of optimizer steps. Not epochs, as an epoch of a small data set is a handful of steps.
    epochs
        If given, replaces ``steps``: as many steps as encode each cell this often on average.
    batch_size
        Cells encoded in one step: the drawn cells with their neighbors, and as many anchors of the triplet
        loss, all of which have a positive, with these. Half the paper's 4,000, for half the time.
    learning_rate, weight_decay
        Parameters of Adam, as in the paper. The rate rises over 50 steps and then decays along a cosine.
    holdout
        Share of the cells of each slice that are not trained on; the state with their lowest loss is kept.
    check_every, patience
        Steps between evaluations of the held-out loss, and evaluations without improvement after which
        training ends. Both are counted from the last search of pairs on, as losses under different pairs
        cannot be compared.
    output
        What a trained model makes of a cell: the ``"latent"`` space of the network, or its ``"inputs"``, in
        which offsets and shifts are removed and no network has a say. ``"better"`` is the latent space,
        unless many cells of a batch have no partner in others (`lloki.cae.CAEModel.unlike`), or a run finds
        that it predicts held-out genes across slices worse than the inputs do: where a slice lacks types of
        another, the losses can mix what has no counterpart.
    seed
        Random seed.
    """

    latent: int = 128
    hidden: tuple[int, ...] = (256, 175)
    token_dim: int = 10
    condition: Literal["token", "slice", "both"] = "token"
    reconstruction: float = 1.0
    triplet: float = 10.0
    conservation: float = 25.0
    margin: float = 1.0
    distance: Literal["squared", "euclidean"] = "euclidean"
    components: int = 100
    mnn_rounds: int = 2
    unit: float = 1.5
    n_pairs: int = 20
    n_neighbors: int = 30
    neighbors_per_step: int = 1
    refreshes: int = 4
    pair_cells: int = 10_000
    pair_slices: int = 6
    most_cells: int = 1_000_000
    steps: int = 2000
    epochs: int | None = None
    batch_size: int = 2000
    learning_rate: float = 5e-4
    weight_decay: float = 1e-4
    holdout: float = 0.05
    check_every: int = 100
    patience: int = 5
    output: Literal["better", "latent", "inputs"] = "better"
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
        if self.output not in ("better", "latent", "inputs"):
            raise ConfigError(f"output must be 'better', 'latent' or 'inputs', got {self.output!r}")

    def total_steps(self, cells: int) -> int:
        """Return the maximum number of steps for this many cells, by ``steps`` or ``epochs``."""
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
# different tumors should remain separate. They depend on the unit of distances, which the paper does not
# state; how they perform in ours was not measured.
PRESETS: Mapping[str, CAEConfig] = MappingProxyType(
    {
        "default": CAEConfig(),
        "ovarian": CAEConfig(
            conservation=500.0, triplet=0.2, reconstruction=1.0, batch_size=16_000, learning_rate=5e-4
        ),
    }
)
