"""Analyses of a joint embedding: gene programs, domains, labels, genes. Arrays in, arrays out."""

from lloki.analysis._enrichment import by_maximum, consistency, enrichment, match_metagenes
from lloki.analysis._moran import moran
from lloki.analysis.domain_config import DomainConfig, DomainOptions, Domains
from lloki.analysis.domains import find_domains
from lloki.analysis.gene_regression import regress
from lloki.analysis.gene_score import score_weights
from lloki.analysis.imputation import (
    ACROSS,
    DETECTED,
    NOT,
    WITHIN,
    HoldOut,
    Method,
    Source,
    detection,
    estimate,
    held_out,
    impute,
    spearman_columns,
)
from lloki.analysis.intervals import Intervals
from lloki.analysis.labels import (
    UNKNOWN,
    Calibration,
    LabelTransfer,
    MarkerTable,
    SliceMarkers,
    Widening,
    conflicts,
    expected_error,
    marker_posterior,
    read_label_map,
    read_parents,
    reliability,
    rename,
    share_few,
    suggest_label_map,
    transfer_labels,
)
from lloki.analysis.loadings import gene_loadings, top_genes
from lloki.analysis.neighborhood import NeighborhoodProgram, neighbor_share, neighborhood_program
from lloki.analysis.neighborhood_inputs import NeighborhoodConfig, NeighborhoodOptions, Tissue
from lloki.analysis.programs import ProgramConfig, ProgramOptions, Programs, fit_programs
from lloki.analysis.spatial_graph import spatial_neighbors

__all__ = [
    "ACROSS",
    "DETECTED",
    "NOT",
    "UNKNOWN",
    "WITHIN",
    "Calibration",
    "DomainConfig",
    "DomainOptions",
    "Domains",
    "HoldOut",
    "Intervals",
    "LabelTransfer",
    "MarkerTable",
    "Method",
    "NeighborhoodConfig",
    "NeighborhoodOptions",
    "NeighborhoodProgram",
    "ProgramConfig",
    "ProgramOptions",
    "Programs",
    "SliceMarkers",
    "Source",
    "Tissue",
    "Widening",
    "by_maximum",
    "conflicts",
    "consistency",
    "detection",
    "enrichment",
    "estimate",
    "expected_error",
    "find_domains",
    "fit_programs",
    "gene_loadings",
    "held_out",
    "impute",
    "marker_posterior",
    "match_metagenes",
    "moran",
    "neighbor_share",
    "neighborhood_program",
    "read_label_map",
    "read_parents",
    "regress",
    "reliability",
    "rename",
    "score_weights",
    "share_few",
    "spatial_neighbors",
    "spearman_columns",
    "suggest_label_map",
    "top_genes",
    "transfer_labels",
]
