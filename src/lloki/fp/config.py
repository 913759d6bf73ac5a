"""Parameters of LLOKI-FP and the named sets of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, TypedDict, Unpack

from lloki._config import Config
from lloki.errors import ConfigError
from lloki.fp.latent import BANDWIDTH, NEIGHBORS, Propagation
from lloki.graph import EXACT

# Neighbors, and their share in Eq 5, where none are given: with imputation, and of averages alone.
K, K_ALONE = 40, 10
ALPHA, ALPHA_ALONE = 0.5, 0.3
# Nothing is imputed, and no budget kept.
EQ_5_ALONE: Mapping[str, Any] = MappingProxyType(
    {
        **{"iterations": 0, "tol": 2e-2, "keep": "largest", "preserve_observed": False},
        **{"respect_budget": False, "reference_genes": "panel", "transport": False},
    }
)
# Cells above which neighbors for the average alone are found by an index: they need not be exact.
APPROXIMATE_ALONE = 100_000


class FPOptions(TypedDict, total=False):
    """Fields of `FPConfig` as keywords; those left out keep their defaults."""

    n_neighbors: int | None
    iterations: int
    tol: float
    keep: Literal["largest", "random"]
    impute: bool | None
    alpha: float | None
    preserve_observed: bool
    respect_budget: bool
    reference_genes: Literal["panel", "all"]
    spatial: bool
    transport: bool
    sigma_pairs: int
    approximate_above: int
    latent_alpha: float | None
    latent_neighbors: int
    latent_bandwidth: float
    seed: int


@dataclass(frozen=True, kw_only=True)
class FPConfig(Config):
    """Parameters of LLOKI-FP. The fields' defaults are the preset ``default``.

    Attributes
    ----------
    n_neighbors
        Neighbors per cell in expression. Slices of fewer cells use all of them. ``None`` is 40 with
        imputation (the paper's) and 10 without.
    iterations
        Maximum number of propagation steps (Eq 2; paper: 40).
    tol
        Propagation stops when a step changes the imputed values by less than this fraction of their Euclidean
        norm. The imputed values serve only to find neighbors for denoising; at 0.02 these neighbors agree to
        99 % or more with those found after 150 steps, as do 99.9 % of the genes chosen (simulated and real
        slices; ``benchmarks/fp.py --tolerance``). 0 stops only where nothing changes at all.
    keep
        Which candidates fill a cell's budget: ``"largest"``, those best supported by its neighbors, or
        ``"random"``, as reference implementations do. A random choice is fixed: every pair of cell and gene
        has one random number for a given seed, and the positive candidates with the highest numbers are kept.
        It is the same at every step, so that propagation converges, and again after denoising.
    impute
        Whether values are imputed within budgets before denoising (Eq 2-4), or cells are only averaged with
        their neighbors (Eq 5 alone). ``None`` leaves it to the embedder, see `for_embedder`: one that was
        trained on single-cell data gets imputed values, one that learns from the slices averages.
    alpha
        Share of the neighbors in denoising (Eq 5), from 0 to 1. At 0 the result is the log-normalized
        counts, and nothing is propagated. ``None`` is 0.5 after imputation and 0.3 without.
    preserve_observed
        Whether denoising keeps observed values unchanged (the paper's text) or replaces them by the weighted
        mean as well (the paper's equation).
    respect_budget
        Whether the number of non-zero values of a cell stays within its budget after denoising too. If not,
        almost every gene of a cell becomes non-zero and the sparsity targets are lost again.
    reference_genes
        Genes over which the reference's sparsity is computed: ``"panel"``, those it shares with the slice, or
        ``"all"``.
    spatial
        Whether near neighbors weigh more (Eq 1). If not, all neighbors in expression have equal weight; for
        ablations.
    transport
        Whether the sparsity targets limit what is imputed in a cell (Eq 3-4). If not, every gene may be
        imputed, as in plain feature propagation, and memory nears 8·n·g bytes; for ablations.
    sigma_pairs
        Number of pairs of cells sampled to estimate the spatial bandwidth (paper: 100), which is about half
        the section.
    approximate_above
        Number of cells above which neighbors are found by an approximate index. Lower is faster: at 250,000
        cells, each is compared with a tenth of all.
    latent_alpha
        Share of the neighbors in the propagation of the embedding (`lloki.fp.latent`), from 0 to 1; 0 leaves
        it out. ``None``: chosen for each slice by genes that the embedding has not seen, which needs an
        embedder that can leave genes out, as ``"factor"``; for others it is then 0.
    latent_neighbors
        Neighbors per cell in the embedding. Fewer blur less, more remove more noise; from 30 to 300 label
        transfer hardly changed.
    latent_bandwidth
        Bandwidth of their spatial weights, in units of the distance between neighboring cells. From 3 to 6
        transfer was best; 10 was worse on layered tissue.
    seed
        Random seed.
    """

    n_neighbors: int | None = None
    iterations: int = 40
    tol: float = 2e-2
    keep: Literal["largest", "random"] = "largest"
    impute: bool | None = None
    alpha: float | None = None
    preserve_observed: bool = True
    respect_budget: bool = True
    reference_genes: Literal["panel", "all"] = "panel"
    spatial: bool = True
    transport: bool = True
    sigma_pairs: int = 100
    approximate_above: int = EXACT
    latent_alpha: float | None = None
    latent_neighbors: int = NEIGHBORS
    latent_bandwidth: float = BANDWIDTH
    seed: int = 0

    def __post_init__(self) -> None:
        self._at_least(n_neighbors=1, iterations=0, tol=0, sigma_pairs=1, approximate_above=0, seed=0)
        self._share("alpha", "latent_alpha")
        self._at_least(latent_neighbors=1)
        self._above_zero("latent_bandwidth")
        if self.keep not in ("largest", "random"):
            raise ConfigError(f"keep must be 'largest' or 'random', got {self.keep!r}")
        if self.reference_genes not in ("panel", "all"):
            raise ConfigError(f"reference_genes must be 'panel' or 'all', got {self.reference_genes!r}")

    def for_embedder(self, *, joint: bool) -> FPConfig:
        """Give ``impute``, ``n_neighbors`` and ``alpha`` their values for an embedder.

        One that learns from the slices has no use for the sparsity of single-cell data, but its cells are
        noisy: Eq 5 averages them, observed values included, with the neighbors that their own expression
        finds; nothing is imputed before, and there is no budget. On five tasks of real slices this added 0.00
        to 0.04 to the accuracy of label transfer after batch alignment; imputing values first added no more
        and mixed less.
        """
        impute = not joint if self.impute is None else self.impute
        k, alpha = (K, ALPHA) if impute else (K_ALONE, ALPHA_ALONE)
        own = {
            "impute": impute,
            "n_neighbors": k if self.n_neighbors is None else self.n_neighbors,
            "alpha": alpha if self.alpha is None else self.alpha,
        }
        if not impute:
            own |= {**EQ_5_ALONE, "approximate_above": min(self.approximate_above, APPROXIMATE_ALONE)}
        return FPConfig.from_dict({**self.to_dict(), **own})

    @property
    def imputes(self) -> bool:
        """Whether values are imputed, and sparsity is a target."""
        return bool(self.alpha) and self.impute is not False

    @property
    def propagation(self) -> Propagation:
        """Parameters of the propagation of the embedding alone."""
        return Propagation(self.latent_alpha, self.latent_neighbors, self.latent_bandwidth)

    @classmethod
    def preset(cls, name: str, **overrides: Unpack[FPOptions]) -> FPConfig:
        """Return a preset, with some fields replaced.

        Raises
        ------
        ConfigError
            If there is no such preset, field or value.
        """
        if name not in PRESETS:
            raise ConfigError(f"no preset {name!r}. Choose one of: {', '.join(PRESETS)}")
        return cls.from_dict({**PRESETS[name].to_dict(), **overrides})


PRESETS: Mapping[str, FPConfig] = MappingProxyType(
    {
        # What evaluation on real slices favors.
        "default": FPConfig(),
        # The paper's text: candidates dropped at random, observed values and sparsity kept to the end.
        "paper": FPConfig(
            impute=True,
            keep="random",
            alpha=ALPHA,
            preserve_observed=True,
            respect_budget=True,
            latent_alpha=0.0,
        ),
        # What the published results were made with: Eq 5 alone, with alpha 1, and no budget after it.
        "published-code": FPConfig(
            impute=True,
            keep="random",
            alpha=1.0,
            latent_alpha=0.0,
            preserve_observed=False,
            respect_budget=False,
            reference_genes="all",
            tol=0.0,
        ),
    }
)

# Log-normalized counts and embeddings as they are.
OFF = FPConfig(alpha=0.0, latent_alpha=0.0)
