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

BLOCK = 1024  # cells imputed at a time; bounds memory at 24 bytes x BLOCK x genes beside the result
ACROSS, WITHIN, NOT = "across slices", "within one slice", "no"
DETECTED = "detected in "  # and a donor's name: column of `detection`


@dataclass(frozen=True, eq=False)
class Donor:
    """Cells whose expression can be lent.

    Attributes
    ----------
    name
        Of the slice or reference.
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
    donors: Sequence[Donor],
    genes: Sequence[str],
    *,
    k: int = 30,
    own: bool = False,
    threads: int | None = None,
    advance: Advance | None = None,
) -> tuple[Floats, Floats]:
    r"""Estimate genes as weighted means over the nearest cells that measured them.

    :math:`\hat x_{ig} = \sum_j w_{ij} x_{jg} / \sum_j w_{ij}` over the k nearest cells j of each donor that
    measured gene g, :math:`w_{ij} = \exp(-\tfrac12 (d_{ij}/h_i)^2)` with :math:`h_i` the distance of the k-th
    nearest of all of them: donors in which a cell has no near neighbors hardly count.

    Parameters
    ----------
    embedding
        (n, d) of the cells that get values.
    donors
        Who lends; embedded in the same space.
    genes
        (G,) names.
    k
        Neighbors in each donor.
    own
        The cells are those of the one donor, and must not lend to themselves.
    threads
        Threads; the result does not depend on it.
    advance
        Called with numbers of cells done, which sum to n.

    Returns
    -------
    mean, sd
        (n, G) float32 in the donors' unit: estimates, and the weighted standard deviation of neighbors. NaN
        for a gene that no donor measured.

    Raises
    ------
    InputError
        If there is no donor.
    ConfigError
        If k is below 1.

    Notes
    -----
    Time grows with n·m·d for the neighbors and n·k·G for the means. Memory beside the result does not grow
    with n but for 20·n·k bytes a donor.
    """
    if not donors:
        raise InputError(
            "no cells to impute from", hint="Name slices or a reference that measured the genes."
        )
    if k < 1:
        raise ConfigError(f"k must be at least 1, got {k}")
    exclude = np.arange(len(embedding)) if own else None
    near = [nearest(embedding, d.embedding, k, exclude=exclude, threads=threads) for d in donors]
    distances = np.sort(np.concatenate([a.distance for a in near], axis=1), axis=1)
    width = distances[:, min(k, distances.shape[1]) - 1]
    lent = [_columns(donor, genes) for donor in donors]
    mean = np.empty((len(embedding), len(genes)), np.float32)
    sd = np.empty_like(mean)
    for rows in blocks(len(embedding), BLOCK):
        first, second, total = (np.zeros((rows.stop - rows.start, len(genes))) for _ in range(3))
        for a, (x, squares, at) in zip(near, lent):
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
    donors: Sequence[Donor], genes: Sequence[str], *, k: int = 30, cells: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """Say how well genes can be imputed: each donor's own measurement against what the others lend it.

    A gene that several donors measured is imputed into cells of each from the others. One that a single donor
    measured is imputed into its cells from its other cells: that says whether the embedding knows the gene,
    but not whether it carries over to another platform.

    Parameters
    ----------
    donors, genes, k
        As for :func:`impute`.
    cells
        At most this many of each donor are tried, drawn at random.
    seed
        Of the draw.

    Returns
    -------
    pandas.DataFrame
        Indexed by gene: donors (how many measured it), validated (``"across slices"``, ``"within one
        slice"``, ``"no"``), score (Spearman over cells, mean over donors; NaN where it does not vary), error
        (root mean square difference), and spread: by what the standard deviation among neighbors has to be
        multiplied to be as large as the error.
    """
    rows: dict[str, dict[str, list[float]]] = {
        gene: {"scores": [], "error": [], "spread": []} for gene in genes
    }
    across = dict.fromkeys(genes, NOT)
    counted = {gene: sum(gene in set(d.genes) for d in donors) for gene in genes}
    for i, donor in enumerate(donors):
        rng = np.random.default_rng([seed, len(donor.embedding)])
        chosen = np.sort(rng.permutation(len(donor.embedding))[:cells])
        others = [d for j, d in enumerate(donors) if j != i]
        there = [g for g in donor.genes if g in rows]
        shared = [g for g in there if counted[g] > 1]
        alone = [g for g in there if counted[g] == 1]
        if shared and others:
            _try(rows, donor, chosen, shared, *impute(donor.embedding[chosen], others, shared, k=k))
            across.update(dict.fromkeys(shared, ACROSS))
        if alone and len(chosen) > 1:
            few = Donor(donor.name, donor.expression[chosen], donor.genes, donor.embedding[chosen])
            _try(rows, donor, chosen, alone, *impute(few.embedding, [few], alone, k=k, own=True))
            across.update(dict.fromkeys(alone, WITHIN))
    table = []
    for gene, found in rows.items():
        means = {name: float(np.mean(v)) if v else np.nan for name, v in found.items()}
        said = across[gene] if np.isfinite(means["scores"]) else NOT
        table.append(
            {"gene": gene, "donors": counted[gene], "validated": said, "score": means.pop("scores"), **means}
        )
    return pd.DataFrame(table).set_index("gene")


def detection(donors: Sequence[Donor], genes: Sequence[str]) -> pd.DataFrame:
    """Tell in what share of its cells each donor found each gene.

    A donor that measured a gene and hardly ever found it lends zeros, which draw the level down: estimates
    take all donors alike, as weights by detection or by hold-out score foretold hidden genes no better.

    Parameters
    ----------
    donors, genes
        As for :func:`impute`.

    Returns
    -------
    pandas.DataFrame
        Genes by donors, columns ``"detected in NAME"`` with ``_`` for ``/``, which files cannot have there;
        NaN where a donor did not measure a gene.
    """
    table = pd.DataFrame(index=pd.Index(list(genes), name="gene"))
    for donor in donors:
        share = np.full(len(table), np.nan)
        values, _, at = _columns(donor, genes)
        share[at] = np.bincount(values.indices, values.data > 0, minlength=len(at)) / max(values.shape[0], 1)
        table[DETECTED + donor.name.replace("/", "_")] = share
    return table


def spearman_columns(a: NDArray, b: NDArray) -> Doubles:
    """Spearman correlation of each column of (n, G) with that of another; NaN if one is constant."""
    x, y = (rankdata(v, axis=0) for v in (a, b))
    x, y = x - x.mean(0), y - y.mean(0)
    scale = np.sqrt((x**2).sum(0) * (y**2).sum(0))
    return np.divide((x * y).sum(0), scale, out=np.full(x.shape[1], np.nan), where=scale > 0)


def _try(
    rows: dict[str, dict[str, list[float]]],
    donor: Donor,
    chosen: NDArray,
    genes: list[str],
    mean: Floats,
    sd: Floats,
) -> None:
    truth = _columns(donor, genes)[0][chosen].toarray()
    error = np.sqrt(((truth - mean) ** 2).mean(0))
    usual = np.sqrt((sd.astype(np.float64) ** 2).mean(0))
    for gene, score, e, u in zip(genes, spearman_columns(truth, mean), error, usual):
        if np.isfinite(score):
            rows[gene]["scores"].append(score)
            rows[gene]["error"].append(e)
            rows[gene]["spread"].append(e / u if u > 0 else 1.0)


def _columns(
    donor: Donor, genes: Sequence[str]
) -> tuple[sparse.csr_matrix, sparse.csr_matrix, NDArray[np.int64]]:
    """Values and their squares of those genes that a donor measured, and where among ``genes`` they are."""
    at = {gene: i for i, gene in enumerate(donor.genes)}
    there = np.array([i for i, gene in enumerate(genes) if gene in at], np.int64)
    x = sparse.csr_matrix(donor.expression[:, [at[genes[i]] for i in there]], dtype=np.float64)
    return x, x.multiply(x).tocsr(), there
