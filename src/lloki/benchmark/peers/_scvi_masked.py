"""The model of scVI (Lopez et al. 2018), whose likelihood is that of the measured genes only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from lloki._parallel import single_threaded
from lloki.benchmark.measured import Measured
from lloki.benchmark.peers._mosaic import Mosaic, Rows

LATENT = 30  # columns, as many as the PCA baselines have
EPOCHS = 100


def scvi_masked(
    slices: Sequence[Measured],
    reference: Measured,
    *,
    seed: int = 0,
    epochs: int = EPOCHS,
    latent: int = LATENT,
) -> list[Rows]:
    """Compute the latent space of a variational autoencoder of counts that reads each slice's panel alone.

    Parameters
    ----------
    slices
        Counts of each slice, over its own genes.
    reference
        Counts of the scRNA-seq reference, which is one more batch.
    seed
        Random seed.
    epochs
        Passes over all cells.
    latent
        Columns.

    Returns
    -------
    Of each slice, (n, latent) float32: means of the posterior.

    Raises
    ------
    InputError
        If a data set has no counts.

    Notes
    -----
    The scVI of scvi-tools cannot leave genes of a batch out of the likelihood, so this is an own
    implementation of its model: negative binomial counts with a dispersion for each gene, the batch as
    covariate of the decoder, the observed total as the size of a cell, two hidden layers of 128, and scVI's
    optimizer settings. Different from it: the proportions that the decoder gives are normalized over the
    genes of the cell's own panel, only these enter the likelihood, and the weight of the Kullback-Leibler
    divergence rises over the first half of the epochs. The encoder reads log(1 + count), 0 where a gene was
    not measured.

    Time grows with epochs x cells x genes, memory with the stored counts, the parameters and the result. On a
    CPU, the same seed gives the same rows.

    The paper: Nature Methods 15, 1053-1058, doi:10.1038/s41592-018-0229-2.
    """
    from lloki.benchmark.peers._vae import train

    mosaic = Mosaic.of(slices, reference)
    genes = mosaic.genes
    at = {gene: i for i, gene in enumerate(genes)}
    measured = np.zeros((len(mosaic.data), len(genes)), bool)
    parts = []
    for i, data in enumerate(mosaic.data):
        columns = np.array([at[gene] for gene in data.genes], np.int64)
        measured[i, columns] = True
        x = sparse.coo_matrix(data.counts)
        parts.append(sparse.csr_matrix((x.data, (x.row, columns[x.col])), (x.shape[0], len(genes))))
    sizes = [part.shape[0] for part in parts]
    batches = np.repeat(np.arange(len(parts)), sizes)
    with single_threaded():
        z = train(
            sparse.csr_matrix(sparse.vstack(parts)),
            batches,
            measured,
            seed=seed,
            epochs=epochs,
            latent=latent,
        )
    ends: NDArray[np.int64] = np.cumsum(sizes)
    return mosaic.as_given(np.split(z, ends[:-1])[:-1])
