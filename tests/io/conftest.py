"""A small good slice that the tests of this folder spoil in one way each."""

from __future__ import annotations

from collections.abc import Callable

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

GENES = [
    *("Slc17a7", "Slc17a6", "Gad1", "Gad2", "Sst", "Pvalb", "Vip", "Lamp5", "Cux2", "Rorb", "Fezf2", "Foxp2"),
    *(
        "Mbp",
        "Plp1",
        "Pdgfra",
        "Gfap",
        "Aqp4",
        "Cx3cr1",
        "Flt1",
        "Cldn5",
        "1700022I11Rik",
        "mt-Co1",
        "H2-K1",
        "C1ql3",
    ),
]


@pytest.fixture(scope="session")
def good() -> Callable[..., anndata.AnnData]:
    """Make ``n`` cells of 24 mouse genes: Poisson counts, micrometers, labels, a technology."""

    def make(n: int = 80, seed: int = 0) -> anndata.AnnData:
        rng = np.random.default_rng(seed)
        counts = rng.poisson(rng.gamma(0.5, 4.0, (n, len(GENES)))).astype(np.float32)
        counts[:, 0] += 1  # no empty cell, no cell without a single count
        counts[np.arange(min(n, len(GENES))), np.arange(min(n, len(GENES)))] += 1  # no empty gene
        return anndata.AnnData(
            X=sparse.csr_matrix(counts),
            obs=pd.DataFrame(
                {"cell_type": pd.Categorical(rng.choice(["Exc", "Inh", "Oligo"], n))},
                index=[f"cell{i}" for i in range(n)],
            ),
            var=pd.DataFrame(index=GENES),
            obsm={"spatial": rng.uniform(0, 500, (n, 2))},
            uns={"technology": "MERFISH"},
        )

    return make
