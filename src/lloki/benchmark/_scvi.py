"""scVI (Lopez et al. 2018) as a method to compare with: an optional extra."""

from __future__ import annotations

import numpy as np
from anndata import AnnData
from numpy.typing import NDArray
from scipy import sparse

from lloki.errors import MissingExtraError

LATENT = 30  # columns, as many as the PCA baselines have


def scvi(
    counts: sparse.csr_matrix, batches: NDArray[np.str_], *, seed: int = 0, epochs: int | None = None
) -> NDArray[np.float32]:
    """Latent space of scVI with the batch as its covariate, two layers, and its own defaults otherwise.

    Parameters
    ----------
    counts
        (n, g) raw counts over the union of genes, 0 where a slice did not measure one.
    batches
        (n,).
    seed
        Of the training.
    epochs
        ``None``: scVI's own heuristic (400 for 20,000 cells, which takes hours on a CPU).

    Returns
    -------
    (n, 30) float32.

    Raises
    ------
    MissingExtraError
        Without scvi-tools (the extra ``scvi``).
    """
    try:
        import scvi as package
    except ImportError as error:
        raise MissingExtraError("scvi-tools", "scvi", "The method scVI") from error
    package.settings.seed = seed
    adata = AnnData(sparse.csr_matrix(counts, dtype=np.float32))
    adata.obs["batch"] = batches
    seen = np.asarray(adata.X.sum(axis=0)).ravel() > 0
    adata = adata[:, seen].copy()
    package.model.SCVI.setup_anndata(adata, batch_key="batch")
    model = package.model.SCVI(adata, n_latent=LATENT, n_layers=2)
    model.train(max_epochs=epochs, enable_progress_bar=False)
    return np.asarray(model.get_latent_representation(), np.float32)
