"""Metrics of integration quality."""

from lloki.evaluate._quality import effective_dimensions, mixing, preservation, purity, quality
from lloki.evaluate.baselines import expression_pca, harmony, normalized
from lloki.evaluate.held_out import HeldOutScore, UnseenGenes, held_out_score
from lloki.evaluate.metrics import METRICS, PROFILES, aggregate, entering, min_max
from lloki.evaluate.sampling import scored_cells, stratified
from lloki.evaluate.score import scib, score_cells
from lloki.evaluate.transfer import transfer_accuracy

__all__ = [
    "METRICS",
    "PROFILES",
    "HeldOutScore",
    "UnseenGenes",
    "aggregate",
    "effective_dimensions",
    "entering",
    "expression_pca",
    "harmony",
    "held_out_score",
    "min_max",
    "mixing",
    "normalized",
    "preservation",
    "purity",
    "quality",
    "scib",
    "score_cells",
    "scored_cells",
    "stratified",
    "transfer_accuracy",
]
