"""Expression of genes that a slice did not measure, from neighbors in slices that did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse
from scipy.stats import rankdata

from lloki._parallel import blocks
from lloki._progress import Advance
from lloki.errors import ConfigError, InputError
from lloki.graph import Near, nearest

Doubles = NDArray[np.float64]
Floats = NDArray[np.float32]

BLOCK = 1024  # cells imputed at a time; bounds memory at 24 bytes x BLOCK x genes beyond the result
ACROSS, WITHIN, NOT = "across slices", "within one slice", "no"
DETECTED = "detected in "  # followed by the name of a source: column of `detection`


@dataclass(frozen=True, eq=False)
class Source:
    """Cells whose measured expression is used to impute that of others.

    Attributes
    ----------
    name
        Name of the slice or reference.
    expression
        (m, g) log-normalized.
    genes
        (g,) unique.
    embedding
        (m, d) in the joint space.
    """

    name: str
    expression: sparse.csr_matrix
    genes: tuple[str, ...]
    embedding: NDArray[np.floating]


def impute(
    embedding: NDArray[np.floating],
    sources: Sequence[Source],
    genes: Sequence[str],
    *,
    n_neighbors: int = 30,
    own: bool = False,
    threads: int | None = None,
    advance: Advance | None = None,
) -> tuple[Floats, Floats]:
    r"""Impute genes as weighted means over the nearest cells that measured them.

    :math:`\hat x_{ig} = \sum_j w_{ij} x_{jg} / \sum_j w_{ij}` over the k nearest cells j of each source that
    measured gene g, :math:`w_{ij} = \exp(-\tfrac12 (d_{ij}/h_i)^2)` with :math:`h_i` the distance of the k-th
    nearest of all of them: sources in which a cell has no close neighbors get little weight.

    Parameters
    ----------
    embedding
        (n, d) of the cells to impute.
    sources
        Cells that measured the genes, embedded in the same space.
    genes
        (G,) names.
    n_neighbors
        Number of neighbors in each source, k.
    own
        Whether the cells are those of the only source: each is then imputed from the others.
    threads
        Number of threads; the result does not depend on it.
    advance
        Called with numbers of cells done, which sum to n.

    Returns
    -------
    mean, sd
        (n, G) float32 in the sources' unit: estimates, and the weighted standard deviation among neighbors.
        NaN for a gene that no source measured.

    Raises
    ------
    InputError
        If there is no source.
    ConfigError
        If ``n_neighbors`` is below 1.

    Notes
    -----
    Time grows with n·m·d for the neighbors and n·k·G for the means. Memory beyond the result is
    20·n·k bytes per source, and does not grow with n otherwise.
    """
    if not sources:
        raise InputError(
            "no cells to impute from", hint="Name slices or a reference that measured the genes."
        )
    if n_neighbors < 1:
        raise ConfigError(f"n_neighbors must be at least 1, got {n_neighbors}")
    exclude = np.arange(len(embedding)) if own else None
    near = [nearest(embedding, s.embedding, n_neighbors, exclude=exclude, threads=threads) for s in sources]
    distances = np.sort(np.concatenate([a.distance for a in near], axis=1), axis=1)
    width = distances[:, min(n_neighbors, distances.shape[1]) - 1]
    known = [_columns(source, genes) for source in sources]
    mean = np.empty((len(embedding), len(genes)), np.float32)
    sd = np.empty_like(mean)
    for rows in blocks(len(embedding), BLOCK):
        first, second, total = (np.zeros((rows.stop - rows.start, len(genes))) for _ in range(3))
        for a, (x, squares, at) in zip(near, known):
            part = Near(a.index[rows], a.distance[rows], a.size).weights(width[rows])
            first[:, at] += (part @ x).toarray()
            second[:, at] += (part @ squares).toarray()
            total[:, at] += np.asarray(part.sum(axis=1))
        with np.errstate(invalid="ignore", divide="ignore"):
            average = first / total
            sd[rows] = np.sqrt(np.maximum(second / total - average**2, 0))
        mean[rows] = average
        if advance is not None:
            advance(rows.stop - rows.start)
    return mean, sd


def held_out(
    sources: Sequence[Source],
    genes: Sequence[str],
    *,
    n_neighbors: int = 30,
    n_cells: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """Evaluate how well genes can be imputed: each source's own measurement against its imputation.

    A gene that several sources measured is imputed into cells of each from the others. One that a single
    source measured is imputed into its cells from its other cells: this shows whether the embedding reflects
    the gene, but not whether it transfers to another platform.

    Parameters
    ----------
    sources, genes, n_neighbors
        As for :func:`impute`.
    n_cells
        Maximum number of cells of each source to test on, drawn at random.
    seed
        Random seed.

    Returns
    -------
    pandas.DataFrame
        Indexed by gene: n_sources (how many measured it), validated (``"across slices"``, ``"within one
        slice"``, ``"no"``), score (Spearman over cells, mean over sources; NaN where it does not vary), error
        (root mean square difference), and spread: the factor between the standard deviation among neighbors
        and the error.
    """
    rows: dict[str, dict[str, list[float]]] = {
        gene: {"score": [], "error": [], "spread": []} for gene in genes
    }
    across = dict.fromkeys(genes, NOT)
    counted = {gene: sum(gene in set(s.genes) for s in sources) for gene in genes}
    for i, source in enumerate(sources):
        rng = np.random.default_rng([seed, len(source.embedding)])
        chosen = np.sort(rng.permutation(len(source.embedding))[:n_cells])
        others = [s for j, s in enumerate(sources) if j != i]
        there = [g for g in source.genes if g in rows]
        shared = [g for g in there if counted[g] > 1]
        alone = [g for g in there if counted[g] == 1]
        if shared and others:
            found = impute(source.embedding[chosen], others, shared, n_neighbors=n_neighbors)
            _score(rows, source, chosen, shared, *found)
            across.update(dict.fromkeys(shared, ACROSS))
        if alone and len(chosen) > 1:
            few = Source(source.name, source.expression[chosen], source.genes, source.embedding[chosen])
            found = impute(few.embedding, [few], alone, n_neighbors=n_neighbors, own=True)
            _score(rows, source, chosen, alone, *found)
            across.update(dict.fromkeys(alone, WITHIN))
    table = []
    for gene, measured in rows.items():
        means = {name: float(np.mean(v)) if v else np.nan for name, v in measured.items()}
        how = across[gene] if np.isfinite(means["score"]) else NOT
        table.append({"gene": gene, "n_sources": counted[gene], "validated": how, **means})
    return pd.DataFrame(table).set_index("gene")


def detection(sources: Sequence[Source], genes: Sequence[str]) -> pd.DataFrame:
    """Compute in what share of its cells each source detected each gene.

    A source that measured a gene and rarely detected it contributes zeros, which lower the estimates. All
    sources count alike all the same: weights by detection or by hold-out score predicted hidden genes no
    better.

    Parameters
    ----------
    sources, genes
        As for :func:`impute`.

    Returns
    -------
    pandas.DataFrame
        Genes by sources, columns ``"detected in NAME"`` with ``_`` for ``/``, which HDF5 does not allow
        there; NaN where a source did not measure a gene.
    """
    table = pd.DataFrame(index=pd.Index(list(genes), name="gene"))
    for source in sources:
        share = np.full(len(table), np.nan)
        values, _, at = _columns(source, genes)
        share[at] = np.bincount(values.indices, values.data > 0, minlength=len(at)) / max(values.shape[0], 1)
        table[DETECTED + source.name.replace("/", "_")] = share
    return table


def spearman_columns(a: NDArray, b: NDArray) -> Doubles:
    """Spearman correlation of each column of (n, G) with that of another; NaN if one is constant."""
    x, y = (rankdata(v, axis=0) for v in (a, b))
    x, y = x - x.mean(0), y - y.mean(0)
    scale = np.sqrt((x**2).sum(0) * (y**2).sum(0))
    return np.divide((x * y).sum(0), scale, out=np.full(x.shape[1], np.nan), where=scale > 0)


def _score(
    rows: dict[str, dict[str, list[float]]],
    source: Source,
    chosen: NDArray,
    genes: list[str],
    mean: Floats,
    sd: Floats,
) -> None:
    truth = _columns(source, genes)[0][chosen].toarray()
    error = np.sqrt(((truth - mean) ** 2).mean(0))
    usual = np.sqrt((sd.astype(np.float64) ** 2).mean(0))
    for gene, score, e, u in zip(genes, spearman_columns(truth, mean), error, usual):
        if np.isfinite(score):
            rows[gene]["score"].append(score)
            rows[gene]["error"].append(e)
            rows[gene]["spread"].append(e / u if u > 0 else 1.0)


def _columns(
    source: Source, genes: Sequence[str]
) -> tuple[sparse.csr_matrix, sparse.csr_matrix, NDArray[np.int64]]:
    """Values and their squares of the genes that a source measured, and their indices in ``genes``."""
    at = {gene: i for i, gene in enumerate(source.genes)}
    there = np.array([i for i, gene in enumerate(genes) if gene in at], np.int64)
    x = sparse.csr_matrix(source.expression[:, [at[genes[i]] for i in there]], dtype=np.float64)
    return x, x.multiply(x).tocsr(), there
