"""Evidence that a reference is of the slices' tissue: whether their clusters have their like in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse
from scipy.cluster.vq import kmeans2

from lloki._parallel import single_threaded
from lloki.fp import root_shares

Doubles = NDArray[np.float64]

KINDS = 25  # of cells in a reference: a good one has all of a tissue's major types among them
CELLS = 3_000  # of the reference, and of a slice, at most
LEAST_CELLS = 15  # of a kind, and of half a cluster: profiles of fewer are noise
LEAST_GENES = 20  # common ones: with fewer, some kind resembles any profile by chance
COMPONENTS = 20


@dataclass(frozen=True)
class CellKinds:
    """Kinds of cells that a data set holds, found without labels.

    Attributes
    ----------
    genes
        Names of the g genes.
    profiles
        (k, g) mean standardized expression of each kind.
    """

    genes: tuple[str, ...]
    profiles: Doubles


def cell_kinds(
    counts: sparse.csr_matrix,
    genes: Sequence[str],
    *,
    among: Sequence[str],
    n_kinds: int = KINDS,
    seed: int = 0,
) -> CellKinds | None:
    """Find the kinds of cells of a reference by k-means on its leading components.

    Parameters
    ----------
    counts
        (m, G) raw counts.
    genes
        Their names.
    among
        Genes of the slice to compare with: kinds are separated by genes that it measures.
    n_kinds
        At most so many. Twice as many as there are types do no harm.
    seed
        Draws at most 3,000 cells, and the centers that k-means starts from.

    Returns
    -------
    ``None`` with fewer than 20 common genes.

    Notes
    -----
    A gene that the reference measured and never saw is no high one in any kind: in a slice where it is high,
    that tells tissues apart. Time grows with 3,000 x genes² and memory with 3,000 x genes.
    """
    wanted = set(among)
    columns = np.array([i for i, gene in enumerate(genes) if gene in wanted], dtype=np.int64)
    rows = np.random.default_rng(seed).permutation(counts.shape[0])[:CELLS]
    if len(columns) < LEAST_GENES:
        return None
    x = _standardized(root_shares(counts[np.sort(rows)][:, columns]))
    with single_threaded():
        _, directions = np.linalg.eigh(x.T @ x)
        _, kind = kmeans2(x @ directions[:, -COMPONENTS:], min(n_kinds, len(x)), minit="++", seed=seed)
    size = np.bincount(kind)
    profiles = np.stack([x[kind == i].mean(0) for i in np.flatnonzero(size >= min(LEAST_CELLS, size.max()))])
    return CellKinds(tuple(genes[int(i)] for i in columns), profiles)


def likeness(
    counts: sparse.csr_matrix,
    genes: Sequence[str],
    clusters: NDArray[np.integer],
    kinds: CellKinds,
    *,
    seed: int = 0,
) -> pd.DataFrame:
    r"""Compare the clusters of a slice with the kinds of cells of a reference.

    Which genes are high in a cluster, and which low, relative to its slice, is what a kind of cell has in
    common between instruments. The gene–gene correlations of two tissues may agree, since both hold
    vessels, stroma and immune cells; most of their clusters have no like in each other all the same.

    Parameters
    ----------
    counts
        (n, G) raw counts of the slice.
    genes
        Their names.
    clusters
        (n,) clusters of its cells.
    kinds
        Of the reference, by `cell_kinds` with this slice's genes.
    seed
        Draws at most 3,000 cells.

    Returns
    -------
    pandas.DataFrame
        A row a cluster with at least 30 of these cells: ``cluster``, ``cells``, ``itself``, the correlation
        over genes of the mean profiles of two halves of its cells, and ``like``, that of its profile with the
        kind that resembles it most.
    """
    at = {gene: i for i, gene in enumerate(genes)}
    rows = np.sort(np.random.default_rng(seed).permutation(counts.shape[0])[:CELLS])
    x = _standardized(root_shares(counts[rows][:, [at[gene] for gene in kinds.genes]]))
    own, found = np.asarray(clusters)[rows], []
    for cluster, cells in zip(*np.unique(own, return_counts=True)):
        if cells >= 2 * LEAST_CELLS:
            y = x[own == cluster]
            itself = _correlations(y[::2].mean(0)[None], y[1::2].mean(0)[None])
            like = _correlations(y.mean(0)[None], kinds.profiles)
            found.append((int(cluster), int(cells), float(itself[0, 0]), float(like.max())))
    return pd.DataFrame(found, columns=["cluster", "cells", "itself", "like"])


def _standardized(x: Doubles) -> Doubles:
    sd = x.std(0)
    out: Doubles = (x - x.mean(0)) / np.where(sd > 1e-9, sd, np.inf)
    return out


def _correlations(a: Doubles, b: Doubles) -> Doubles:
    """Correlate rows: (p, g) and (q, g) → (p, q), 0 where a row does not vary."""
    a, b = (part - part.mean(1, keepdims=True) for part in (a, b))
    norms = np.linalg.norm(a, axis=1)[:, None] * np.linalg.norm(b, axis=1)
    out: Doubles = (a @ b.T) / np.where(norms > 1e-12, norms, np.inf)
    return out
