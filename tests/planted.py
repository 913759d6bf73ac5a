"""Cells of known types in a joint embedding, in several slices: for tests of what is done with one."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse

from lloki import keys

TYPES = ("Astro", "Neuron", "Oligo", "Vascular")


def planted(
    names: str = "abc", cells: int = 150, *, spread: float = 0.25, genes: int = 12, seed: int = 0
) -> ad.AnnData:
    """Slices in one AnnData, rows mixed: types are directions in 8 dimensions, gene i marks type i % 4."""
    rng = np.random.default_rng(seed)
    centers = np.random.default_rng(99).normal(0, 1, (len(TYPES), 8)) + 2 * np.eye(len(TYPES), 8)
    parts = []
    for name in names:
        kind = rng.integers(len(TYPES), size=cells)
        rates = np.where(np.arange(genes) % len(TYPES) == kind[:, None], 6.0, 0.4)
        part = ad.AnnData(
            sparse.csr_matrix(rng.poisson(rates).astype(np.float32)),
            obs=pd.DataFrame(index=[f"{name}{i}" for i in range(cells)]),
            var=pd.DataFrame(index=[f"G{i}" for i in range(genes)]),
        )
        part.obs["slice"] = name
        part.obs["cell_type"] = np.array(TYPES)[kind]
        part.obsm[keys.JOINT] = centers[kind] + rng.normal(0, spread, (cells, 8))
        part.obsm[keys.SPATIAL] = rng.uniform(0, 100, (cells, 2))
        parts.append(part)
    whole = ad.concat(parts)
    return whole[rng.permutation(whole.n_obs)].copy()
