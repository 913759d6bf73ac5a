"""The parameters of a run, all in one place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from lloki.cae.config import CAEConfig
from lloki.embed.base import Embedder
from lloki.errors import ConfigError
from lloki.fp.config import FPConfig


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """What a run computes. Inputs, places and workers are not part of it: they do not change results.

    Attributes
    ----------
    embedder
        ``"factor"``, ``"precomputed:KEY"`` or the name of an installed embedder.
    model
        Folder of the embedder's weights, for those that have any.
    preset
        Name of the LLOKI-FP preset that ``fp`` was made from.
    fp
        Parameters of LLOKI-FP; ``None`` leaves it out: see `aligns`.
    cae
        Parameters of LLOKI-CAE.
    label_key
        ``obs`` column of cell types: shown and scored, not used to integrate.
    train_labels, train_label_slices
        ``obs`` column of cell types that training may see, and the slices whose labels it may see (none:
        all that have the column). Default: training sees no labels.
    benchmark
        Metrics that score the run by ``label_key``: ``"fast"``, ``"full"`` (:func:`lloki.evaluate.scib`) or
        ``"none"``.
    resolution
        Of the Leiden clusters of the joint embedding.
    seed
        Of everything random.
    """

    embedder: str = "factor"
    model: str | None = None
    preset: str = "default"
    fp: FPConfig | None = field(default_factory=lambda: FPConfig.preset("default"))
    cae: CAEConfig = field(default_factory=CAEConfig)
    label_key: str | None = None
    train_labels: str | None = None
    train_label_slices: tuple[str, ...] = ()
    benchmark: Literal["fast", "full", "none"] = "fast"
    resolution: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "train_label_slices", tuple(self.train_label_slices))
        if self.train_label_slices and self.train_labels is None:
            raise ConfigError(
                "slices with labels are named, but no column: give one with --train-labels (train_labels=)"
            )
        if not self.resolution > 0:
            raise ConfigError(f"resolution must be above 0, got {self.resolution!r}")
        if self.benchmark not in ("fast", "full", "none"):
            raise ConfigError(f"benchmark must be 'fast', 'full' or 'none', got {self.benchmark!r}")

    @classmethod
    def make(
        cls,
        *,
        preset: str = "default",
        n_neighbors: int | None = None,
        alpha: float | None = None,
        epochs: int | None = None,
        seed: int = 0,
        fp: Mapping[str, Any] | Literal[False] | None = None,
        cae: Mapping[str, Any] | None = None,
        **rest: Any,
    ) -> RunConfig:
        """Put a configuration together from a preset and what the user changed.

        Parameters
        ----------
        preset
            LLOKI-FP preset.
        n_neighbors, alpha
            Neighbors and share of the neighbors in LLOKI-FP; ``None`` keeps the preset's.
        epochs
            Of the autoencoder, in place of its steps.
        seed
            Random seed, of every stage.
        fp, cae
            Any other field of `FPConfig` and `CAEConfig`. ``fp=False`` leaves LLOKI-FP out.
        rest
            Other fields of this class.

        Raises
        ------
        ConfigError
            If a name is unknown or a value out of range.
        """
        if not isinstance(seed, int) or seed < 0:  # before a stage says it in words of its own
            raise ConfigError(f"seed must be a whole number of at least 0, got {seed!r}")
        named = (("n_neighbors", n_neighbors), ("alpha", alpha))
        short = {name: value for name, value in named if value is not None}
        if fp is False and (short or preset != "default"):
            said = ", ".join(short) or "preset"
            raise ConfigError(f"{said} is a setting of LLOKI-FP, which fp=False (--no-fp) leaves out")
        features = None
        if fp is not False:
            features = FPConfig.preset(preset, **({"seed": seed} | short | dict(fp or {})))
        trained: dict[str, Any] = {"seed": seed} | dict(cae or {})
        if epochs is not None:
            trained["epochs"] = epochs
        if rest.get("model") is not None:
            rest["model"] = str(rest["model"])
        try:
            return cls(
                preset=preset,
                fp=features,
                cae=replace(CAEConfig(), **trained),
                seed=seed,
                **rest,
            )
        except TypeError as error:
            raise ConfigError(f"unknown setting: {error}") from error

    @property
    def n_neighbors(self) -> int:
        """Neighbors that a slice should have cells for."""
        return (self.fp or FPConfig()).n_neighbors

    def aligns(self, embedder: Embedder) -> bool:
        """Whether the run makes features from expression, for which it needs a reference.

        Without LLOKI-FP a pretrained embedder reads raw counts, and an embedder that learns from the run
        reads log-normalized counts.
        """
        return embedder.uses_expression and (self.fp is not None or embedder.joint)

    def to_dict(self) -> dict[str, Any]:
        """As plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RunConfig:
        """From what ``to_dict`` gave."""
        values = dict(values)
        values["fp"] = FPConfig.from_dict(values["fp"]) if values["fp"] else None
        values["cae"] = CAEConfig.from_dict(values["cae"])
        return cls(**values)
