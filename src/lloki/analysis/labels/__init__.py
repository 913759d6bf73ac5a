"""Cell types: transferred from labeled cells with a calibrated confidence, or assigned by marker genes."""

from lloki.analysis.labels.calibration import Calibration, expected_error, reliability
from lloki.analysis.labels.marker_table import MarkerTable
from lloki.analysis.labels.markers import SliceMarkers, marker_posterior
from lloki.analysis.labels.transfer import UNKNOWN, LabelTransfer, transfer_labels

__all__ = [
    "UNKNOWN",
    "Calibration",
    "LabelTransfer",
    "MarkerTable",
    "SliceMarkers",
    "expected_error",
    "marker_posterior",
    "reliability",
    "transfer_labels",
]
