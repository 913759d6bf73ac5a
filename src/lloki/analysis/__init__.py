"""What people do with a joint embedding. Arrays in, arrays out."""

from lloki.analysis.calibration import Calibration, expected_error, reliability
from lloki.analysis.labels import UNKNOWN, LabelTransfer, transfer_labels
from lloki.analysis.marker_table import MarkerTable
from lloki.analysis.markers import SliceMarkers, marker_posterior
from lloki.analysis.neighbours import Near, nearest

__all__ = [
    "UNKNOWN",
    "Calibration",
    "LabelTransfer",
    "MarkerTable",
    "Near",
    "SliceMarkers",
    "expected_error",
    "marker_posterior",
    "nearest",
    "reliability",
    "transfer_labels",
]
