"""A slice's hash is of which gene has which count, not of the counts alone."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse

from lloki.io import content_hash


def test_counts_of_other_genes_are_another_slice() -> None:
    hashes = []
    for columns in ([0, 1, 2], [0, 1, 2], [0, 2, 1]):
        x = sparse.csr_matrix(
            (np.array([1.0, 2, 3]), (np.arange(3), columns)), shape=(3, 3), dtype=np.float32
        )
        names = pd.DataFrame(index=["a", "b", "c"])
        hashes.append(content_hash(ad.AnnData(x, obs=names, var=names)))
    assert hashes[0] == hashes[1] != hashes[2]
