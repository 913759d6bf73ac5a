"""LLOKI-FP: give a slice's cells the sparsity of single-cell data, from neighbors, and denoise them."""

from lloki.fp._propagate import denoise, propagate
from lloki.fp.align import PASSES, FPResult, align_features
from lloki.fp.config import OFF, PRESETS, FPConfig, FPOptions
from lloki.fp.expression import log_normalize
from lloki.fp.sparsity import (
    cell_sparsity,
    imputation_budgets,
    reference_sparsity,
    sparsity_targets,
    wasserstein,
)

__all__ = [
    "OFF",
    "PASSES",
    "PRESETS",
    "FPConfig",
    "FPOptions",
    "FPResult",
    "align_features",
    "cell_sparsity",
    "denoise",
    "imputation_budgets",
    "log_normalize",
    "propagate",
    "reference_sparsity",
    "sparsity_targets",
    "wasserstein",
]
