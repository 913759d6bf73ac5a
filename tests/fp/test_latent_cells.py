"""Propagation of the embedding for some cells only."""

from __future__ import annotations

import numpy as np
import pytest

from lloki.fp import propagate_embedding


@pytest.mark.parametrize("alpha", [0.0, 0.4, 1.0])
def test_some_cells_get_the_rows_that_they_get_among_all(alpha: float) -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(120, 5)).astype(np.float32)
    coords = rng.uniform(size=(120, 2))
    known = rng.uniform(size=120) > 0.1
    rows[~known] = 0
    own = np.flatnonzero(known)
    # more neighbors than have a positive cosine: both leave the others out
    for n_neighbors in (10, 100):
        among_all = propagate_embedding(rows, coords, alpha, n_neighbors, known=known)
        some = propagate_embedding(rows, coords, alpha, n_neighbors, known=known, cells=own[::3])
        np.testing.assert_allclose(some, among_all[own[::3]], atol=1e-6)
    among_all = propagate_embedding(rows, coords, alpha, 10, known=known)
    for cells in (own, own[::-1], np.repeat(own[::2], 2)[: len(own)]):  # in the order asked for
        some = propagate_embedding(rows, coords, alpha, 10, known=known, cells=cells)
        np.testing.assert_allclose(some, among_all[cells], atol=1e-6)
