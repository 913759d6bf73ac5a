"""Propagation of a slice's embedding, by a share of neighbors that its own genes choose."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from lloki.embed.base import Embedder, HoldsOut, SliceSummary
from lloki.fp import Propagation, choose_alpha, gene_folds, propagate_embedding

Floats = NDArray[np.float32]


def propagate_slice(
    rows: Floats,
    coords: NDArray[np.floating],
    propagation: Propagation,
    *,
    embedder: Embedder,
    expression: sparse.csr_matrix,
    genes: Sequence[str],
    state: SliceSummary,
    observed: sparse.csr_matrix | None = None,
    known: NDArray[np.bool_],
    seed: int = 0,
) -> tuple[Floats, float]:
    """Blend the embedded cells of a slice with near cells of their kind.

    Parameters
    ----------
    rows, coords
        (n, d) embedding and (n, 2) or (n, 3) centroids.
    propagation
        Its parameters. Without a share of neighbors, held-out genes choose it; it is 0 if the embedder cannot
        leave genes out.
    embedder, expression, genes, state
        What the cells were embedded by and from: (n, g) expression of the genes, and the slice's summary.
    observed
        (n, g) log-normalized values of held-out genes, where ``expression`` is an average of them.
    known
        (n,) cells that have counts.
    seed
        Draws folds of genes, and cells.

    Returns
    -------
    rows, alpha
        (n, d) float32 and the share of neighbors.
    """
    alpha, shape = propagation.alpha, (propagation.n_neighbors, propagation.bandwidth)
    if alpha is None and isinstance(embedder, HoldsOut):
        folds = gene_folds(genes, seed=seed)
        held = embedder.hold_out(expression, genes, folds, state=state, observed=observed)
        made = ((h.rows, h.predict, h.values) for h in held)
        alpha = choose_alpha(made, coords, *shape, known=known, seed=seed)
    return propagate_embedding(rows, coords, alpha or 0.0, *shape, known=known), alpha or 0.0
