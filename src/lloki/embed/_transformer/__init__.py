"""What all transformer embedders share: batches by length, and draws that belong to a cell."""

from lloki.embed._transformer.batching import BatchRunner, length_buckets
from lloki.embed._transformer.seeding import cell_keys, uniform

__all__ = ["BatchRunner", "cell_keys", "length_buckets", "uniform"]
