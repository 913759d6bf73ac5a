"""Methods of others for slices of different panels: counts of each slice and of a reference in, rows out.

All read only genes that a slice measured, use the scRNA-seq reference, and give the same rows whatever the
order of slices, cells and genes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from lloki.benchmark.measured import Measured
from lloki.benchmark.peers._mofa import mofa
from lloki.benchmark.peers._mosaic import Rows
from lloki.benchmark.peers._reference import reference_knn, reference_ridge
from lloki.benchmark.peers._scvi_masked import scvi_masked
from lloki.benchmark.peers._stabmap import stabmap

SEEDED: Mapping[str, Callable[..., list[Rows]]] = MappingProxyType({"mofa": mofa, "scvi-masked": scvi_masked})
UNSEEDED: Mapping[str, Callable[[Sequence[Measured], Measured], list[Rows]]] = MappingProxyType(
    {"stabmap": stabmap, "reference-knn": reference_knn, "reference-ridge": reference_ridge}
)

__all__ = [
    "SEEDED",
    "UNSEEDED",
    "Measured",
    "Rows",
    "mofa",
    "reference_knn",
    "reference_ridge",
    "scvi_masked",
    "stabmap",
]
