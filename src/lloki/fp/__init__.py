"""LLOKI-FP: give a slice's cells the sparsity of single-cell data, from neighbors, and denoise them."""

from lloki.fp._propagate import denoise, propagate
from lloki.fp.align import PASSES, FPResult, align_features, average_neighbors
from lloki.fp.config import OFF, PRESETS, FPConfig, FPOptions
from lloki.fp.expression import log_normalize, root_shares
from lloki.fp.latent import Propagation, choose_alpha, gene_folds, propagate_embedding
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
    "Propagation",
    "align_features",
    "average_neighbors",
    "cell_sparsity",
    "choose_alpha",
    "denoise",
    "gene_folds",
    "imputation_budgets",
    "log_normalize",
    "propagate",
    "propagate_embedding",
    "reference_sparsity",
    "root_shares",
    "sparsity_targets",
    "wasserstein",
]
