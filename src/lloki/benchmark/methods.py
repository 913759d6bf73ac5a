"""What can be compared: the methods and ablations that are built in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal

from lloki import keys
from lloki.fp import FPConfig
from lloki.run import RunConfig


@dataclass(frozen=True)
class Baseline:
    """A method on the counts alone.

    Attributes
    ----------
    title
        What figures call it.
    genes
        ``"shared"``: those that every slice measures; ``"union"``: all, 0 where a slice did not measure one.
    model
        ``"pca"`` or ``"scvi"``.
    harmony
        Whether Harmony follows.
    """

    title: str
    genes: Literal["shared", "union"]
    model: Literal["pca", "scvi"] = "pca"
    harmony: bool = False


@dataclass(frozen=True)
class Peer:
    """A method that reads each slice's own panel, and the scRNA-seq reference.

    Attributes
    ----------
    title
        What figures call it.
    model
        Its name in :mod:`lloki.benchmark.peers`.
    harmony
        Whether Harmony follows.
    """

    title: str
    model: Literal["mofa", "stabmap", "scvi-masked", "reference-knn", "reference-ridge"]
    harmony: bool = False


@dataclass(frozen=True)
class Variant:
    """lloki under changed settings.

    Attributes
    ----------
    title
        What figures call it; ``{embedder}`` stands for the run's.
    slot
        Which embedding is judged: ``keys.JOINT``, or ``keys.FP`` from before batch alignment.
    fp, cae
        Fields of the two configurations that are changed; ``None`` leaves LLOKI-FP out.
    preset
        LLOKI-FP preset in place of the run's parameters.
    harmony
        Whether Harmony follows.
    """

    title: str
    slot: str = keys.JOINT
    fp: Mapping[str, Any] | None = field(default_factory=dict)
    cae: Mapping[str, Any] = field(default_factory=dict)
    preset: str | None = None
    harmony: bool = False

    def change(self, config: RunConfig, repeat: int = 0) -> RunConfig:
        """Change a run's configuration; ``repeat`` is added to every seed in it."""
        fp = config.fp
        if self.preset:
            limit = (fp or FPConfig()).approximate_above
            seed = fp.seed if fp is not None else config.seed
            fp = FPConfig.preset(self.preset, seed=seed, approximate_above=limit)
        if fp is not None:
            fp = None if self.fp is None else replace(fp, **self.fp, seed=fp.seed + repeat)
        return replace(
            config,
            preset=self.preset or config.preset,
            fp=fp,
            cae=replace(config.cae, **self.cae, seed=config.cae.seed + repeat),
            seed=config.seed + repeat,
        )


Method = Baseline | Peer | Variant

# The order is that of tables and figures.
METHODS: Mapping[str, Method] = MappingProxyType(
    {
        "lloki": Variant("LLOKI"),
        "fp-harmony": Variant("LLOKI-FP + {embedder} + Harmony", keys.FP, harmony=True),
        "fp": Variant("LLOKI-FP + {embedder}", keys.FP),
        "embedder-harmony": Variant("{embedder} + Harmony", keys.FP, fp=None, harmony=True),
        "embedder": Variant("{embedder} alone", keys.FP, fp=None),
        "mofa-harmony": Peer("MOFA+ + Harmony", "mofa", harmony=True),
        "mofa": Peer("MOFA+", "mofa"),
        "stabmap-harmony": Peer("StabMap + Harmony", "stabmap", harmony=True),
        "stabmap": Peer("StabMap", "stabmap"),
        "scvi-masked-harmony": Peer("scVI, measured genes + Harmony", "scvi-masked", harmony=True),
        "scvi-masked": Peer("scVI, measured genes", "scvi-masked"),
        "reference-ridge-harmony": Peer("Reference PCs, ridge + Harmony", "reference-ridge", harmony=True),
        "reference-ridge": Peer("Reference PCs, ridge", "reference-ridge"),
        "reference-knn-harmony": Peer("Reference PCs, neighbors + Harmony", "reference-knn", harmony=True),
        "reference-knn": Peer("Reference PCs, neighbors", "reference-knn"),
        "pca-union-harmony": Baseline("PCA, union of genes + Harmony", "union", harmony=True),
        "pca-union": Baseline("PCA, union of genes", "union"),
        "pca-shared-harmony": Baseline("PCA, shared genes + Harmony", "shared", harmony=True),
        "pca-shared": Baseline("PCA, shared genes", "shared"),
        "scvi": Baseline("scVI, union of genes", "union", model="scvi"),
    }
)
SLOW = ("scvi", "scvi-masked", "scvi-masked-harmony")  # minutes to hours without a GPU: only on request
DEFAULT_METHODS = tuple(name for name in METHODS if name not in SLOW)

ABLATIONS: Mapping[str, Variant] = MappingProxyType(
    {
        "no-reconstruction": Variant("no reconstruction loss", cae={"reconstruction": 0.0}),
        "no-triplet": Variant("no triplet loss", cae={"triplet": 0.0}),
        "no-conservation": Variant("no conservation loss", cae={"conservation": 0.0}),
        "no-mnn": Variant("no shifts toward mutual neighbors", cae={"mnn_rounds": 0}),
        "no-components": Variant("no offsets between panels", cae={"components": 0}),
        "no-fp": Variant("no LLOKI-FP", fp=None),
        "no-average": Variant("no averages of expression", fp={"alpha": 0.0}),
        "no-latent": Variant("no propagation of the embedding", fp={"latent_alpha": 0.0}),
        "imputation": Variant("imputation within budgets in place of averages", fp={"impute": True}),
        "no-transport": Variant("the same without budgets", fp={"impute": True, "transport": False}),
        "published-code": Variant("preset published-code", preset="published-code"),
        "no-cae": Variant("no LLOKI-CAE", keys.FP),
        "harmony": Variant("Harmony in place of LLOKI-CAE", keys.FP, harmony=True),
        "embedder-alone": Variant("{embedder} alone", keys.FP, fp=None),
    }
)
