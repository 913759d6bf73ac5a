"""Expression of genes that a slice did not measure, from neighbors in slices that did."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse
from scipy.stats import rankdata

from lloki._parallel import blocks
from lloki._progress import Advance
from lloki.analysis.gene_regression import FEWEST_SHARED, regress, shared_space
from lloki.analysis.intervals import Intervals
from lloki.errors import ConfigError, InputError
from lloki.fp import gene_folds
from lloki.graph import Near, nearest

Doubles = NDArray[np.float64]
Floats = NDArray[np.float32]

BLOCK = 1024  # cells imputed at a time; bounds memory at 24 bytes x BLOCK x genes beyond the result
FOLDS = 5  # of genes that are left out together
DONORS = 10_000  # cells of a source that give in the hold-out
COMMON = 200  # genes of the target that it is tried on
ENOUGH = 10  # genes that tell what another slice costs
MOST = 1.5  # times, by which a target may be easier than the sources
FIGURES = ("error", "spread")
ENDS = ("lower", "upper")  # of the interval of a value
Method = Literal["combined", "neighbors", "ridge", "reference"]
METHODS = ("combined", "neighbors", "ridge", "reference")
Without = Callable[[int, NDArray[np.int64], Sequence[Sequence[str]]], Iterable[NDArray[np.floating]]]
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
    reference
        Whether these are dissociated cells.
    """

    name: str
    expression: sparse.csr_matrix
    genes: tuple[str, ...]
    embedding: NDArray[np.floating]
    reference: bool = False


@dataclass(frozen=True, eq=False)
class _Tried:
    """One gene in the tried cells of one source: how, estimates, spread among neighbors, measurements."""

    how: str
    target: bool
    predicted: Floats
    sd: Floats
    measured: Floats

    @cached_property
    def score(self) -> float:
        return float(spearman_columns(self.measured[:, None], self.predicted[:, None])[0])

    @property
    def error(self) -> float:
        difference = self.measured.astype(np.float64) - self.predicted
        return float(np.sqrt((difference**2).mean()))

    @property
    def spread(self) -> float:
        usual = float(np.sqrt((self.sd.astype(np.float64) ** 2).mean()))
        return self.error / usual if usual > 0 else 1.0


def impute(
    embedding: NDArray[np.floating],
    sources: Sequence[Source],
    genes: Sequence[str],
    *,
    n_neighbors: int = 30,
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
    near = [nearest(embedding, s.embedding, n_neighbors, threads=threads) for s in sources]
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


def estimate(
    target: Source,
    sources: Sequence[Source],
    genes: Sequence[str],
    *,
    method: Method = "combined",
    n_neighbors: int = 30,
    threads: int | None = None,
    advance: Advance | None = None,
) -> tuple[Floats, Floats]:
    """Impute genes of a target by one of four methods.

    Parameters
    ----------
    target
        Cells to impute. Their expression of ``genes``, where they have any, is not used.
    sources
        Cells that measured the genes, embedded in the same space.
    genes
        (G,) names.
    method
        ``"neighbors"``: :func:`impute` in the joint space. ``"ridge"``: :func:`regress` on the genes that
        target and source share. ``"combined"``: the mean of the two, or the one there is; on each of 16
        slices with hidden genes it was better than both, and than the neighbors in the reference.
        ``"reference"``: means over the nearest cells of the sources that are references, by shared genes.
    n_neighbors, threads, advance
        As for :func:`impute`.

    Returns
    -------
    mean, sd
        (n, G) float32 estimates, and the spread among neighbors; 1 everywhere by ridge regression, which has
        none. NaN for a gene that no source can give.

    Raises
    ------
    InputError
        If there is no source.
    ConfigError
        If ``method`` is unknown or ``n_neighbors`` below 1.
    """
    if method not in METHODS:
        raise ConfigError(f"method must be one of {', '.join(METHODS)}, got {method!r}")
    if method == "reference":
        return _by_reference(target, sources, genes, n_neighbors, threads, advance)
    mean = sd = np.full((len(target.embedding), len(genes)), np.nan, np.float32)
    if method != "ridge":
        mean, sd = impute(
            target.embedding, sources, genes, n_neighbors=n_neighbors, threads=threads, advance=advance
        )
    if method == "neighbors":
        return mean, sd
    line = regress(target, sources, genes)
    if method == "ridge":
        return line, np.where(np.isfinite(line), np.float32(1), np.float32(np.nan))
    return np.where(np.isfinite(line), (mean + line) / 2, mean), sd


def _by_reference(
    target: Source,
    sources: Sequence[Source],
    genes: Sequence[str],
    n_neighbors: int,
    threads: int | None,
    advance: Advance | None,
) -> tuple[Floats, Floats]:
    """Means over the cells of the first reference that are nearest by the genes it shares with the target."""
    known = next((s for s in sources if s.reference), None)
    if known is None:
        raise InputError('method "reference" needs a reference', hint="Give one, or choose another method.")
    asked, cells = shared_space(target, known, genes)
    if asked.shape[1] < FEWEST_SHARED:
        nothing = np.full((len(asked), len(genes)), np.nan, np.float32)
        return nothing, nothing
    only = replace(known, embedding=cells)
    return impute(asked, [only], genes, n_neighbors=n_neighbors, threads=threads, advance=advance)


@dataclass(frozen=True, eq=False)
class HoldOut:
    """What predictions of measured values have shown.

    Attributes
    ----------
    table
        Indexed by gene: n_sources (how many measured it), validated (``"across slices"``, ``"within one
        slice"``, ``"no"``), score (predicted Spearman correlation over cells of the target; NaN where the
        gene does not vary), error (root mean square difference in the sources), and spread: the factor
        between the standard deviation among neighbors and the error.
    intervals
        Gene → intervals of its values, of the genes with enough predictions.
    transfer, of_target
        The ratios r and t of `held_out`.
    """

    table: pd.DataFrame
    intervals: Mapping[str, Intervals]
    transfer: float = 1.0
    of_target: float = 1.0

    def bounds(self, genes: Sequence[str], mean: Floats) -> tuple[Floats, Floats]:
        """Give the ends (n, G) of the intervals of estimates (n, G); NaN for genes without."""
        lower, upper = (np.full(mean.shape, np.nan, np.float32) for _ in range(2))
        for i, gene in enumerate(genes):
            if gene in self.intervals:
                lower[:, i], upper[:, i] = self.intervals[gene].of(mean[:, i])
        return lower, upper


def held_out(
    sources: Sequence[Source],
    genes: Sequence[str],
    *,
    target: Source | None = None,
    method: Method = "combined",
    n_neighbors: int = 30,
    n_cells: int = 2000,
    without: Without | None = None,
    seed: int = 0,
) -> HoldOut:
    r"""Predict how well genes can be imputed: each source's own measurement against its imputation.

    A gene is imputed into cells of each source that measured it, from the other sources and from the source's
    own other cells. Genes are tried in five folds, of which neither the regression nor, by ``without``, the
    embedding of the tried cells knows anything, as they do not in the slice that lacks the genes. Cells that
    give do know them, as they do there. References are tried only on genes that no slice measured.

    The score of a gene is :math:`t\,\bar a_g` with :math:`\bar a_g` its mean over sources when imputed from
    others. Where a single source measured it, :math:`\bar a_g = r\,w_g` with :math:`w_g` its score within the
    source and r the sum of scores across sources over that within, of the genes that have both: what the step
    to another slice costs. t is the same ratio between the target and the sources, of the genes that it
    measured as well: some slices are harder than others. Each is 1 where fewer than 10 genes tell.

    Parameters
    ----------
    sources, genes, method, n_neighbors
        As for :func:`estimate`. Of a large source, 10,000 cells drawn at random give.
    target
        The slice to impute; it is tried on up to 200 of its own genes that sources measured.
    n_cells
        Maximum number of cells of each source to test on, drawn at random among those with counts.
    without
        Called with the index of a source (after the last: the target), the rows (m,) of its tried cells and
        the folds; gives their (m, d) embedding without each. ``None`` takes the embedding as it is: it has
        seen the genes, and scores of neighbors are then too high.
    seed
        Random seed, of cells, genes and folds.

    Returns
    -------
    HoldOut
        Scores, and intervals of 90 % of the values.

    Notes
    -----
    Time grows with folds · sources² · n_cells · 10,000 · d; memory with 12 bytes · genes · n_cells · sources.
    """
    tested = [*sources, *([] if target is None else [target])]
    counted = Counter(g for s in sources for g in set(s.genes))
    in_slices = {g for s in sources if not s.reference for g in s.genes}
    common = sorted(set(counted) & set(target.genes) - set(genes)) if target else []
    common = list(np.random.default_rng(seed).permutation(np.array(common, object))[:COMMON])
    folds = gene_folds([*(g for g in genes if counted[g]), *common], n_folds=FOLDS, seed=seed)
    found: dict[str, list[_Tried]] = {gene: [] for gene in [*genes, *common]}
    for i, source in enumerate(tested):
        chosen, rest = _halves(source, n_cells, seed)
        tried = {g for g in source.genes if g in found and not (source.reference and g in in_slices)}
        if source is target:
            tried &= set(common)
        if len(chosen) < 2 or not tried:
            continue
        others = [_some(s, [seed, j]) for j, s in enumerate(sources) if j != i]
        own = [] if source is target else [_take(source, rest)]
        rows = without(i, chosen, folds) if without else [source.embedding[chosen]] * len(folds)
        for fold, embedding in zip(folds, rows):
            asked = [g for g in fold if g in tried]
            aim = _less(_take(source, chosen), fold, embedding)
            for how, donors in ((ACROSS, others), (WITHIN, own)):
                if method == "reference":
                    donors = [d for d in donors if d.reference]
                given = [g for g in asked if any(g in d.genes for d in donors)]
                if not given:
                    continue
                mean, sd = estimate(aim, donors, given, method=method, n_neighbors=n_neighbors)
                truth = _columns(source, given)[0][chosen].toarray().astype(np.float32)
                for k, gene in enumerate(given):
                    if np.isfinite(mean[:, k]).all():
                        one = _Tried(how, source is target, mean[:, k], sd[:, k], truth[:, k])
                        if np.isfinite(one.score):
                            found[gene].append(one)
    transfer = _ratio(
        [
            ([t.score for t in v if t.how == ACROSS], [t.score for t in v if t.how == WITHIN])
            for v in ([t for t in w if not t.target] for w in found.values())
        ]
    )
    base = {gene: _base(v, transfer) for gene, v in found.items()}
    of_target = _ratio([([t.score for t in found[g] if t.target], [base[g]]) for g in common])
    table, intervals = [], {}
    for gene in genes:
        across = [t for t in found[gene] if t.how == ACROSS]
        used = across or found[gene]
        figures = {n: float(np.mean([getattr(t, n) for t in used])) if used else np.nan for n in FIGURES}
        how = ACROSS if across else WITHIN if used else NOT
        row = {"gene": gene, "n_sources": counted[gene], "validated": how, "score": base[gene] * of_target}
        table.append(row | figures)
        if used:
            pair = (np.concatenate([getattr(t, n) for t in used]) for n in ("predicted", "measured"))
            fitted = Intervals.fit(*pair)
            if fitted:
                intervals[gene] = fitted
    return HoldOut(pd.DataFrame(table).set_index("gene"), intervals, transfer, of_target)


def _base(tried: Sequence[_Tried], transfer: float) -> float:
    """Score of a gene in sources, other than the target; NaN without any."""
    for how, factor in ((ACROSS, 1.0), (WITHIN, transfer)):
        scores = [t.score for t in tried if t.how == how and not t.target]
        if scores:
            return factor * float(np.mean(scores))
    return float("nan")


def _ratio(pairs: Sequence[tuple[Sequence[float], Sequence[float]]]) -> float:
    """Sum of mean scores over the sum of others, of the genes that have both; 1 where few have."""
    means = [(np.mean(a), np.mean(b)) for a, b in pairs if len(a) and len(b) and np.isfinite(b).all()]
    if len(means) < ENOUGH:
        return 1.0
    above, below = np.sum(means, axis=0)
    return float(np.clip(above / below, 0, MOST)) if below > 0 else 1.0


def _halves(source: Source, n_cells: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Cells with counts to try genes in, and others that give; of a small source, half of them each."""
    rng = np.random.default_rng([seed, len(source.embedding)])
    order = rng.permutation(np.flatnonzero(np.diff(source.expression.indptr) > 0))
    n = min(n_cells, len(order) // 2)
    return np.sort(order[:n]), np.sort(order[n:][:DONORS])


def _take(source: Source, rows: NDArray[np.int64]) -> Source:
    return replace(source, expression=source.expression[rows], embedding=source.embedding[rows])


def _some(source: Source, seed: list[int]) -> Source:
    """At most `DONORS` cells of a source."""
    n = len(source.embedding)
    if n <= DONORS:
        return source
    return _take(source, np.sort(np.random.default_rng(seed).permutation(n)[:DONORS]))


def _less(source: Source, genes: Sequence[str], embedding: NDArray[np.floating]) -> Source:
    """Leave genes out of a source; its embedding is the one given."""
    out = set(genes)
    keep = [i for i, g in enumerate(source.genes) if g not in out]
    left = tuple(source.genes[i] for i in keep)
    return replace(source, expression=source.expression[:, keep], genes=left, embedding=embedding)


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


def _columns(
    source: Source, genes: Sequence[str]
) -> tuple[sparse.csr_matrix, sparse.csr_matrix, NDArray[np.int64]]:
    """Values and their squares of the genes that a source measured, and their indices in ``genes``."""
    at = {gene: i for i, gene in enumerate(source.genes)}
    there = np.array([i for i, gene in enumerate(genes) if gene in at], np.int64)
    x = sparse.csr_matrix(source.expression[:, [at[genes[i]] for i in there]], dtype=np.float64)
    return x, x.multiply(x).tocsr(), there
