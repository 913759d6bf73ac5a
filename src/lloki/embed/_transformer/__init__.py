"""What all transformer embedders share: batches by length, and draws that belong to a cell."""

from lloki.embed._transformer.batching import BatchRunner, length_buckets
from lloki.embed._transformer.inputs import checked_counts
from lloki.embed._transformer.precision import PRECISIONS, check_precision, precision_on
from lloki.embed._transformer.seeding import cell_keys, uniform

__all__ = [
    "PRECISIONS",
    "BatchRunner",
    "cell_keys",
    "check_precision",
    "checked_counts",
    "length_buckets",
    "precision_on",
    "uniform",
]
