"""Classifiers that label transfer chooses from, each over another view of the cells, and their average."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from lloki._parallel import single_threaded
from lloki.analysis.labels import votes
from lloki.graph import nearest

Doubles = NDArray[np.float64]
Codes = NDArray[np.int64]
Rows = NDArray[np.int64]

NEIGHBORS, JOINT, BEFORE, GENES, AVERAGE = "neighbors", "joint", "before", "genes", "average"
HEADS = (NEIGHBORS, JOINT, BEFORE, GENES)  # those that are averaged

_MOST_CELLS = 2000  # that a regression learns from, per slice: more hardly change its accuracy
_MOST_SOURCES = 4  # slices that the regressions on genes of one target learn from
_FEWEST_GENES = 5  # shared, for a regression on them
# Inverse strength of the L2 penalty on standardized features; the joint embedding has many, correlated.
_PENALTY = {JOINT: 0.01, BEFORE: 0.1, GENES: 0.1}
_STEPS = 200
_LEAST_TRUST = 0.05  # of a head that agrees with none, so that it answers where no other does
_TRUST = 8.0  # power of a head's agreement with the others that is its weight in the average
_NEAR = 10  # cells of its slice that a cell's average is smoothed over
_SMOOTH = 0.5  # share of these in it
_RARE = 0.2  # power of a type's share of the slice by which its probabilities are divided
_RAREST = 1e-3  # added to that share


@dataclass(frozen=True, eq=False)
class Views:
    """What is known of n cells, for the heads to read.

    Attributes
    ----------
    slices
        (n,) slice of each cell.
    joint
        (n, d) joint embedding.
    before
        (n, d') embedding before batch alignment, or None.
    genes
        Slice → its counts (cells in the order of their rows, g) and the names of its g genes. Slices that
        are absent, and ``{}``, have no counts.
    """

    slices: NDArray[np.str_]
    joint: NDArray[np.floating]
    before: NDArray[np.floating] | None
    genes: Mapping[str, tuple[sparse.csr_matrix, tuple[str, ...]]]

    @classmethod
    def of(
        cls,
        joint: NDArray[np.floating],
        slices: NDArray[np.str_],
        before: NDArray[np.floating] | None,
        counts: Mapping[str, tuple[sparse.csr_matrix, Sequence[str]]],
        order: Rows,
    ) -> Views:
        """Arrange views of cells in another order.

        Parameters
        ----------
        joint, slices, before, counts
            Of n cells, as for :func:`lloki.analysis.transfer_labels`.
        order
            (n,) rows.
        """
        place, now = _place(slices), slices[order]
        genes = {
            s: (sparse.csr_matrix(x)[place[order[now == s]]], tuple(map(str, names)))
            for s, (x, names) in counts.items()
        }
        return cls(now, joint[order], None if before is None else np.asarray(before)[order], genes)

    @property
    def heads(self) -> tuple[str, ...]:
        """Heads that these views allow."""
        here = {NEIGHBORS, JOINT} | ({BEFORE} if self.before is not None else set())
        return tuple(h for h in HEADS if h in here | ({GENES} if len(self.genes) > 1 else set()))


class Fitted:
    """Heads fitted to labeled cells.

    Parameters
    ----------
    views
        Of n cells.
    heads
        Names among `HEADS`.
    voters
        Rows of labeled cells.
    code
        (n,) type of each cell; only those of the voters are read.
    n_types
        T.
    n_neighbors, threads
        As for :func:`lloki.analysis.transfer_labels`.
    """

    def __init__(
        self,
        views: Views,
        heads: Sequence[str],
        voters: Rows,
        code: Codes,
        n_types: int,
        *,
        n_neighbors: int,
        threads: int | None = None,
    ) -> None:
        self.views, self.heads, self.voters, self.code, self.n_types = views, heads, voters, code, n_types
        self.n_neighbors, self.threads = n_neighbors, threads
        self._linear = {
            head: self._regression_on(x, _PENALTY[head])
            for head, x in ((JOINT, views.joint), (BEFORE, views.before))
            if head in heads and x is not None
        }

    def predict(self, asked: Rows, exclude: Rows | None = None) -> tuple[dict[str, Doubles], Doubles]:
        """Predict cells of one slice.

        Parameters
        ----------
        asked
            Rows of m cells.
        exclude
            (m,) voter (as position among the voters) that is no neighbor of each cell: itself.

        Returns
        -------
        Head → (m, T) probabilities, that of the smoothed average first, and (m,) mean distances to the
        neighbors in the joint embedding. Where a head cannot say anything, as between slices without shared
        genes, its row is 0.
        """
        x = self.views.joint
        near = nearest(x[asked], x[self.voters], self.n_neighbors, exclude=exclude, threads=self.threads)
        shares = votes.shares(near, self.code[self.voters], self.n_types)
        found = {}
        for head in self.heads:
            if head == NEIGHBORS:
                found[head] = shares
            elif head == GENES:
                found[head] = self._by_genes(asked)
            else:
                found[head] = self._linear[head](asked)
        return {AVERAGE: smoothed(average(found), self._near(asked)), **found}, near.distance.mean(1)

    def _near(self, asked: Rows) -> Rows:
        """(m, k) positions among m cells of one slice of those nearest to each; itself, if it is alone."""
        if len(asked) < 2:
            return np.zeros((len(asked), 1), np.int64)
        x, itself = self.views.joint[asked], np.arange(len(asked))
        return nearest(x, x, _NEAR, exclude=itself, threads=self.threads).index

    def _regression_on(self, x: NDArray[np.floating], penalty: float) -> Callable[[Rows], Doubles]:
        rows = _some(self.voters, self.views.slices)
        center, scale = _moments(x[rows])
        fitted = _Regression((x[rows] - center) / scale, self.code[rows], self.n_types, penalty)
        return lambda asked: fitted((x[asked] - center) / scale)

    def _by_genes(self, asked: Rows) -> Doubles:
        """Mean over source slices of a regression on the genes that source and target share.

        Values are square roots of shares of the counts of these genes, standardized in each slice: between
        platforms, genes differ in their sensitivity.
        """
        views, out = self.views, np.zeros((len(asked), self.n_types))
        target = str(views.slices[asked[0]])
        if target not in views.genes:
            return out
        there, names = views.genes[target]
        place = _place(views.slices)
        of = views.slices[self.voters]
        shared = {s: _common(views.genes[s][1], names) for s in np.unique(of) if s in views.genes}
        ranked = sorted(shared, key=lambda s: (-len(shared[s][0]), s))
        for source in ranked[:_MOST_SOURCES]:
            ours, theirs = shared[source]
            if len(ours) < _FEWEST_GENES:
                break
            known = _some(self.voters[of == source], views.slices)
            x, q = _standardized(views.genes[source][0][:, ours]), _standardized(there[:, theirs])
            fitted = _Regression(x[place[known]], self.code[known], self.n_types, _PENALTY[GENES])
            out += fitted(q[place[asked]])
        return out / np.maximum(out.sum(1, keepdims=True), 1e-12)


def average(found: Mapping[str, Doubles]) -> Doubles:
    r"""Average the heads' probabilities in one slice, weighted by how often each agrees with the others.

    The weight of head h is :math:`a_h^8`, where :math:`a_h` is the share of the slice's cells that another
    head gives the same type, averaged over the other heads. A head that does not carry over to that slice,
    such as a regression on genes of very different sensitivity, agrees with none.

    Parameters
    ----------
    found
        Head → (m, T) probabilities; a row of 0 is no answer.

    Returns
    -------
    (m, T) probabilities.
    """
    stacked = np.stack(list(found.values()))  # (H, m, T)
    best, answered = stacked.argmax(2), stacked.sum(2) > 0
    trust = np.maximum(agreement(best, answered), _LEAST_TRUST) ** _TRUST
    weight = trust[:, None] * answered  # (H, m)
    total = np.maximum(weight.sum(0), 1e-12)
    return np.asarray((weight[:, :, None] * stacked).sum(0) / total[:, None])


def smoothed(p: Doubles, near: Rows) -> Doubles:
    r"""Average probabilities with those of the nearest cells of the same slice.

    .. math:: q_i = \tfrac12 p_i + \tfrac1{2k} \sum_{j \in N(i)} p_j, \quad
        r_{it} \propto q_{it} \, (\bar q_t + 0.001)^{-0.2}

    Cells that lie together in one slice are mostly of one type, even where it is not clear of which. The mean
    favors types that are frequent in the slice; the power restores the rare ones. All constants were chosen
    on the cortex, hypothalamus-45 and breast, by accuracy and macro-F1 (docs, *Transferring labels*).

    Parameters
    ----------
    p
        (m, T) probabilities in one slice.
    near
        (m, k) rows of the nearest cells of each, N(i).

    Returns
    -------
    (m, T) probabilities.
    """
    q = (1 - _SMOOTH) * p + _SMOOTH * p[near].mean(1)
    q = q / (q.mean(0) + _RAREST) ** _RARE
    return np.asarray(q / np.maximum(q.sum(1, keepdims=True), 1e-12))


def agreement(best: Codes, assigned: NDArray[np.bool_]) -> Doubles:
    """(H,) share of cells for which another head has the same answer, averaged over other heads.

    Parameters
    ----------
    best, assigned
        (H, m) answers, and whether there is one.
    """
    h = len(best)
    if h == 1:
        return np.ones(1)
    out = np.zeros((h, h))
    for i in range(h):
        for j in range(h):
            both = assigned[i] & assigned[j]
            out[i, j] = (best[i] == best[j])[both].mean() if both.any() and i != j else 0.0
    return np.asarray(out.sum(1) / (h - 1))


def _place(slices: NDArray) -> Rows:
    """(n,) position of each cell among those of its slice."""
    out = np.empty(len(slices), np.int64)
    for name in np.unique(slices):
        rows = np.flatnonzero(slices == name)
        out[rows] = np.arange(len(rows))
    return out


def _common(ours: Sequence[str], theirs: Sequence[str]) -> tuple[list[int], list[int]]:
    """Columns of the genes that two panels share, in the order of their names."""
    at, there = ({g: i for i, g in enumerate(panel)} for panel in (ours, theirs))
    shared = sorted(at.keys() & there.keys())
    return [at[g] for g in shared], [there[g] for g in shared]


def _standardized(counts: sparse.csr_matrix) -> Doubles:
    x = counts.toarray().astype(np.float64)
    x = np.sqrt(x / np.maximum(x.sum(1, keepdims=True), 1e-12))
    center, scale = _moments(x)
    return (x - center) / scale


def _moments(x: NDArray[np.floating]) -> tuple[Doubles, Doubles]:
    scale = x.std(0, dtype=np.float64)
    return x.mean(0, dtype=np.float64), np.where(scale > 1e-8, scale, 1.0)


def _some(rows: Rows, slices: NDArray) -> Rows:
    """At most `_MOST_CELLS` rows of each slice."""
    kept = []
    for name in np.unique(slices[rows]):
        own = rows[slices[rows] == name]
        if len(own) > _MOST_CELLS:
            own = np.sort(np.random.default_rng(0).choice(own, _MOST_CELLS, replace=False))
        kept.append(own)
    return np.concatenate(kept)


class _Regression:
    """Multinomial logistic regression over T types, of which some may be absent."""

    def __init__(self, x: Doubles, codes: Codes, n_types: int, penalty: float) -> None:
        from sklearn.linear_model import LogisticRegression

        self.n_types, self.there = n_types, np.unique(codes)
        if len(self.there) > 1:
            with single_threaded():
                self.model = LogisticRegression(C=penalty, max_iter=_STEPS).fit(x, codes)

    def __call__(self, x: Doubles) -> Doubles:
        out = np.zeros((len(x), self.n_types))
        with single_threaded():
            out[:, self.there] = self.model.predict_proba(x) if len(self.there) > 1 else 1.0
        return out
