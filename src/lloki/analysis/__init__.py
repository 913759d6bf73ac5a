"""What people do with a joint embedding. Arrays in, arrays out."""

from lloki.analysis.calibration import Calibration, expected_error, reliability
from lloki.analysis.gene_score import score_weights
from lloki.analysis.imputation import ACROSS, NOT, WITHIN, Donor, held_out, impute, spearman_columns
from lloki.analysis.labels import UNKNOWN, LabelTransfer, transfer_labels
from lloki.analysis.marker_table import MarkerTable
from lloki.analysis.markers import SliceMarkers, marker_posterior
from lloki.analysis.neighbourhood import NeighbourhoodProgram, neighbour_share, neighbourhood_program
from lloki.analysis.neighbourhood_inputs import NeighbourhoodConfig, Tissue
from lloki.analysis.neighbours import Near, nearest

__all__ = [
    "ACROSS",
    "NOT",
    "UNKNOWN",
    "WITHIN",
    "Calibration",
    "Donor",
    "LabelTransfer",
    "MarkerTable",
    "Near",
    "NeighbourhoodConfig",
    "NeighbourhoodProgram",
    "SliceMarkers",
    "Tissue",
    "expected_error",
    "held_out",
    "impute",
    "marker_posterior",
    "nearest",
    "neighbour_share",
    "neighbourhood_program",
    "reliability",
    "score_weights",
    "spearman_columns",
    "transfer_labels",
]
