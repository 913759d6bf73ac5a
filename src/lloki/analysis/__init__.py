"""What people do with a joint embedding: programs, domains, labels, genes. Arrays in, arrays out."""

from lloki.analysis.calibration import Calibration, expected_error, reliability
from lloki.analysis.domain_config import DomainConfig, Domains
from lloki.analysis.domains import find_domains
from lloki.analysis.enrichment import by_maximum, consistency, enrichment, match_metagenes
from lloki.analysis.gene_score import score_weights
from lloki.analysis.imputation import (
    ACROSS,
    DETECTED,
    NOT,
    WITHIN,
    Donor,
    detection,
    held_out,
    impute,
    spearman_columns,
)
from lloki.analysis.labels import UNKNOWN, LabelTransfer, transfer_labels
from lloki.analysis.loadings import gene_loadings, top_genes
from lloki.analysis.marker_table import MarkerTable
from lloki.analysis.markers import SliceMarkers, marker_posterior
from lloki.analysis.moran import moran
from lloki.analysis.neighborhood import NeighborhoodProgram, neighbor_share, neighborhood_program
from lloki.analysis.neighborhood_inputs import NeighborhoodConfig, Tissue
from lloki.analysis.programs import ProgramConfig, Programs, fit_programs
from lloki.analysis.spatial_graph import spatial_neighbors

__all__ = [
    "ACROSS",
    "DETECTED",
    "NOT",
    "UNKNOWN",
    "WITHIN",
    "Calibration",
    "DomainConfig",
    "Domains",
    "Donor",
    "LabelTransfer",
    "MarkerTable",
    "NeighborhoodConfig",
    "NeighborhoodProgram",
    "ProgramConfig",
    "Programs",
    "SliceMarkers",
    "Tissue",
    "by_maximum",
    "consistency",
    "detection",
    "enrichment",
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
    "reliability",
    "score_weights",
    "spatial_neighbors",
    "spearman_columns",
    "top_genes",
    "transfer_labels",
]
