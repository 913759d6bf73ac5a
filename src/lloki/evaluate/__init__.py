"""Metrics of integration quality."""

from lloki.evaluate._quality import effective_dimensions, mixing, preservation, purity, quality
from lloki.evaluate.baselines import expression_pca, harmony, normalized
from lloki.evaluate.evidence import (
    GeneCorrelations,
    GeneStructure,
    gene_correlations,
    gene_structure,
    spatial_coherence,
)
from lloki.evaluate.held_out import HeldOutScore, UnseenGenes, held_out_score
from lloki.evaluate.kinds import CellKinds, cell_kinds, likeness
from lloki.evaluate.metrics import METRICS, PROFILES, aggregate, entering, min_max
from lloki.evaluate.sampling import scored_cells, stratified
from lloki.evaluate.score import scib, score_cells
from lloki.evaluate.transfer import transfer_accuracy
from lloki.evaluate.types import shared_names, type_agreement
from lloki.evaluate.verdict import Evidence, Verdict, judge

__all__ = [
    "METRICS",
    "PROFILES",
    "CellKinds",
    "Evidence",
    "GeneCorrelations",
    "GeneStructure",
    "HeldOutScore",
    "UnseenGenes",
    "Verdict",
    "aggregate",
    "cell_kinds",
    "effective_dimensions",
    "entering",
    "expression_pca",
    "gene_correlations",
    "gene_structure",
    "harmony",
    "held_out_score",
    "judge",
    "likeness",
    "min_max",
    "mixing",
    "normalized",
    "preservation",
    "purity",
    "quality",
    "scib",
    "score_cells",
    "scored_cells",
    "shared_names",
    "spatial_coherence",
    "stratified",
    "transfer_accuracy",
    "type_agreement",
]
