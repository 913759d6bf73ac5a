"""Cell types: transferred from labeled cells with a calibrated confidence, or assigned by marker genes."""

from lloki.analysis.labels.calibration import Calibration, Widening, expected_error, reliability
from lloki.analysis.labels.marker_table import MarkerTable
from lloki.analysis.labels.markers import SliceMarkers, marker_posterior
from lloki.analysis.labels.transfer import METHODS, UNKNOWN, LabelTransfer, transfer_labels
from lloki.analysis.labels.vocabulary import (
    conflicts,
    read_label_map,
    read_parents,
    rename,
    share_few,
    suggest_label_map,
)

__all__ = [
    "METHODS",
    "UNKNOWN",
    "Calibration",
    "LabelTransfer",
    "MarkerTable",
    "SliceMarkers",
    "Widening",
    "conflicts",
    "expected_error",
    "marker_posterior",
    "read_label_map",
    "read_parents",
    "reliability",
    "rename",
    "share_few",
    "suggest_label_map",
    "transfer_labels",
]
