"""Expression as the user gives it, brought into the form that tokens are made of, or refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import sparse

from lloki.errors import InputError


def checked_counts(counts: Any, genes: Sequence[str], cell_ids: Sequence[str]) -> sparse.csr_matrix:
    """(n, g) canonical float32; InputError names the first gene and cell whose value is impossible."""
    x = sparse.csr_matrix(counts, dtype=np.float32)
    if not x.has_canonical_format:
        x = x.copy()
        x.sum_duplicates()
    if x.shape != (len(cell_ids), len(genes)):
        raise InputError(
            f"expression is {x.shape[0]} x {x.shape[1]}, but there are {len(cell_ids)} cell ids and "
            f"{len(genes)} genes"
        )
    bad = ~(np.isfinite(x.data) & (x.data >= 0))
    if bad.any():
        first = int(np.argmax(bad))
        row = int(np.searchsorted(x.indptr, first, side="right")) - 1
        raise InputError(
            f"{bad.sum()} values are negative or not finite, the first is {x.data[first]} of gene "
            f"{genes[x.indices[first]]!r} in cell {cell_ids[row]!r}",
            hint="Give counts or log-normalized expression, not scaled values.",
        )
    return x
