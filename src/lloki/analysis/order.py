"""One order of slices, whatever order they come in, so that results do not depend on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import sparse

from lloki.cae.checkpoint import fingerprint


def content_order(features: Sequence[Any], graphs: Sequence[Any]) -> list[int]:
    """Order slices by a hash of what they hold.

    Sums over slices and draws from them then come in one order, to the bit. Time grows with the size of the
    data; CSR is not copied.

    Parameters
    ----------
    features
        (n_i, D) of each slice, dense or sparse.
    graphs
        (n_i, n_i) sparse adjacency of each.

    Returns
    -------
    Indices of the slices.
    """
    hashes = [fingerprint(None, [*_buffers(x), *_buffers(g)]) for x, g in zip(features, graphs)]
    return sorted(range(len(hashes)), key=hashes.__getitem__)


def given_order(items: Sequence[Any], order: Sequence[int]) -> tuple[Any, ...]:
    """Put items that lie in `content_order` back into the order that slices came in."""
    return tuple(items[i] for i in np.argsort(order))


def _buffers(x: Any) -> list[Any]:
    if not sparse.issparse(x):
        return [np.asarray(x)]
    rows = sparse.csr_matrix(x)
    return [rows.data, rows.indices, rows.indptr]
