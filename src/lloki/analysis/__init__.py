"""What people do with a joint embedding. Arrays in, arrays out."""

from lloki.analysis.calibration import Calibration, expected_error, reliability
from lloki.analysis.labels import UNKNOWN, LabelTransfer, transfer_labels
from lloki.analysis.neighbours import Near, nearest

__all__ = [
    "UNKNOWN",
    "Calibration",
    "LabelTransfer",
    "Near",
    "expected_error",
    "nearest",
    "reliability",
    "transfer_labels",
]
