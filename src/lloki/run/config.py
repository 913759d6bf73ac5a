"""The parameters of a run, all in one place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, TypedDict, Unpack

from lloki._config import MOST_SEED
from lloki._names import did_you_mean
from lloki.cae.config import CAEConfig, CAEOptions
from lloki.embed.base import Embedder
from lloki.errors import ConfigError
from lloki.fp import Propagation
from lloki.fp.config import EQ_5_ALONE, OFF, PRESETS, FPConfig, FPOptions, K


class RunKeywords(TypedDict, total=False):
    """Keywords of :func:`lloki.integrate` that make a configuration."""

    embedder: str
    model: str | Path | None
    preset: str
    fp: FPConfig | FPOptions | Literal[False] | None
    cae: CAEConfig | CAEOptions | None
    n_neighbors: int | None
    alpha: float | None
    latent_alpha: float | None
    epochs: int | None
    label_key: str | None
    train_labels: str | None
    train_label_slices: Sequence[str]
    benchmark: Literal["fast", "full", "none"]
    resolution: float
    umap: bool
    seed: int


# Parameters of LLOKI-FP that are given beside the preset.
_OF_FP = ("n_neighbors", "alpha", "latent_alpha")
_KNOWN = frozenset(RunKeywords.__annotations__)


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """What a run computes. Inputs, places, device and workers are not part of it.

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
        Leiden resolution.
    umap
        Whether to lay out all cells in two dimensions.
    seed
        Random seed.
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
    umap: bool = True
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
    def make(cls, **options: Unpack[RunKeywords]) -> RunConfig:
        """Put a configuration together from a preset and what the user changed; see :func:`lloki.integrate`.

        Raises
        ------
        ConfigError
            If a name is unknown or a value out of range.
        """
        given: dict[str, Any] = dict(options)
        cae, epochs, seed = given.pop("cae", None), given.pop("epochs", None), given.setdefault("seed", 0)
        if not isinstance(seed, int) or not 0 <= seed <= MOST_SEED:  # before a stage reports it
            raise ConfigError(f"seed must be a whole number from 0 to {MOST_SEED}, got {seed!r}")
        fp = _fp(options)
        trained = cae if isinstance(cae, CAEConfig) else CAEConfig.from_dict({"seed": seed} | dict(cae or {}))
        if given.get("model") is not None:
            given["model"] = str(given["model"])
        own = {name: value for name, value in given.items() if name not in ("fp", *_OF_FP)}
        unknown = sorted(own.keys() - {f.name for f in fields(cls)})
        if unknown:
            raise ConfigError(f"there is no option {unknown[0]!r}. {did_you_mean(unknown[0], _KNOWN)}")
        return cls(fp=fp, cae=trained if epochs is None else replace(trained, epochs=epochs), **own)

    @property
    def n_neighbors(self) -> int:
        """Neighbors that a slice should have cells for."""
        return (self.fp or FPConfig()).n_neighbors or K

    def aligns(self, embedder: Embedder) -> bool:
        """Whether the run makes features from expression, for which it needs a reference.

        Without LLOKI-FP a pretrained embedder reads raw counts, and an embedder that learns from the run
        reads log-normalized counts.
        """
        return embedder.uses_expression and (self.fp is not None or embedder.joint)

    def features(self, embedder: Embedder) -> FPConfig:
        """Parameters of LLOKI-FP for an embedder, without those that come after it."""
        fp = (self.fp or OFF).for_embedder(joint=embedder.joint)
        latent = {name: value for name, value in OFF.to_dict().items() if name.startswith("latent")}
        return FPConfig.from_dict(fp.to_dict() | latent)

    def propagation(self, embedder: Embedder) -> Propagation | None:
        """Parameters of the propagation of the embedding; ``None`` leaves it out."""
        if self.fp is None or self.fp.latent_alpha == 0 or not embedder.uses_expression:
            return None
        return self.fp.propagation

    def without_effect(self, embedder: Embedder) -> list[str]:
        """Name changed parameters of LLOKI-FP that are idle, as expression is only averaged."""
        if self.fp is None or self.features(embedder).impute:
            return []
        default = FPConfig()
        return [name for name in EQ_5_ALONE if getattr(self.fp, name) != getattr(default, name)]

    def to_dict(self) -> dict[str, Any]:
        """As plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RunConfig:
        """Make a configuration from the result of ``to_dict``."""
        values = dict(values)
        values["fp"] = FPConfig.from_dict(values["fp"]) if values["fp"] else None
        values["cae"] = CAEConfig.from_dict(values["cae"])
        return cls(**values)


def _fp(options: RunKeywords) -> FPConfig | None:
    """Parameters of LLOKI-FP, or ``None`` to leave it out."""
    preset, fp = options.get("preset", "default"), options.get("fp")
    given = {name: value for name, value in options.items() if name in _OF_FP and value is not None}
    if fp is False:
        if given or preset != "default":
            first = ", ".join(given) or "preset"
            raise ConfigError(f"{first} is a setting of LLOKI-FP, which fp=False (--no-fp) leaves out")
        return None
    if isinstance(fp, FPConfig):
        if preset != "default":
            raise ConfigError("a whole FPConfig was given and a preset as well. Give one of them.")
        return FPConfig.from_dict(fp.to_dict() | given)
    if preset not in PRESETS:
        raise ConfigError(f"no preset {preset!r}. Choose one of: {', '.join(PRESETS)}")
    return FPConfig.from_dict(
        PRESETS[preset].to_dict() | {"seed": options.get("seed", 0)} | given | dict(fp or {})
    )
