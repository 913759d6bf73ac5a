"""Marker-based annotation: cell types by marker genes, in slices without labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse
from scipy.special import logsumexp, xlogy

from lloki.analysis.labels.marker_table import MarkerTable
from lloki.analysis.labels.transfer import UNKNOWN
from lloki.errors import ConfigError, InputError
from lloki.graph import nearest

Doubles = NDArray[np.float64]

_START = 4.0  # initial rate of a marker over its mean
_MIN_RATE = 1e-4  # in counts per mean cell
_TOLERANCE = 1e-4  # mean change of the probabilities at which the iteration ends


@dataclass(frozen=True, eq=False)
class SliceMarkers:
    """Types of one slice by its markers.

    Attributes
    ----------
    posterior
        (n, T + 1) probability of each type and, last, of none of them; rows sum to 1.
    identifiable
        (T,) bool: the panel has a marker of the type, and its markers differ from those of all other types.
    table
        One row per type: slice, type, n_markers (in the panel), n_markers_listed (in the table), fold (median
        over markers of how much higher they are in cells of the type), identifiable, note (why it is not).
    """

    posterior: Doubles
    identifiable: NDArray[np.bool_]
    table: pd.DataFrame


def marker_posterior(
    counts: sparse.csr_matrix,
    panel: Sequence[str],
    markers: MarkerTable,
    *,
    name: str = "",
    fold: float = 1.5,
    dispersion: float = 0.3,
    iterations: int = 100,
) -> SliceMarkers:
    r"""Compute the probability of each type by a mixture of negative binomials over the panel's markers.

    The model follows CellAssign (Zhang et al., Nature Methods 2019): a cell of type t with size s has
    :math:`y_g \sim \mathrm{NB}(s\, r_g, \varphi)` counts of gene g, its rate being :math:`r^+_g` where g
    is a positive marker of t, :math:`r^-_g` where it is a negative one, and :math:`r_g` otherwise, with
    :math:`r^+_g \ge f r_g` and :math:`r^-_g \le r_g / f`. Rates and shares of types are fitted to the slice
    by expectation maximization, so that a platform's sensitivity for each gene is learned. Cells of no type
    have :math:`r_g` throughout.

    Parameters
    ----------
    counts
        (n, g) of one slice.
    panel
        (g,) its genes.
    markers
        Marker table; genes that the panel lacks are ignored.
    name
        Name of the slice, for the table.
    fold
        f, above 1. With 2, a quarter fewer cells of two real slices were assigned a type, at slightly higher
        accuracy.
    dispersion
        :math:`\varphi` of the variance :math:`\mu + \varphi\mu^2`; large values give single counts less
        weight.
    iterations
        Maximum number of iterations.

    Raises
    ------
    ConfigError
        If ``fold`` is not above 1, or ``dispersion`` not above 0.

    Notes
    -----
    Time and memory grow with n·(h + T), h being the markers in the panel, for each iteration.
    """
    if not fold > 1 or not dispersion > 0:
        raise ConfigError(f"fold must be above 1 and dispersion above 0, got {fold} and {dispersion}")
    columns, sign = markers.within(panel)
    n, n_types = counts.shape[0], len(markers.types)
    identifiable, notes = _identifiable(sign, markers.types)
    total = np.asarray(counts.sum(axis=1)).ravel()
    size = np.maximum(total, 1) / max(float(total[total > 0].mean()) if total.any() else 1.0, 1e-12)
    y = counts[:, columns].toarray().astype(np.float64)
    # a type without markers in the panel looks like no type here: only neighbors can assign it
    used = np.vstack([sign[identifiable], np.zeros((1, len(columns)), np.int8)])
    r, ratio = _em(y, size, used, fold, dispersion, iterations)
    posterior = np.zeros((n, n_types + 1))
    posterior[:, np.append(identifiable, True)] = r
    posterior[total == 0] = np.append(np.zeros(n_types), 1.0)
    table = pd.DataFrame(
        {
            "slice": name,
            "type": markers.types,
            "n_markers": (sign > 0).sum(1),
            "n_markers_listed": (markers.sign > 0).sum(1),
            "fold": [float(np.median(ratio[s > 0])) if (s > 0).any() else np.nan for s in sign],
            "identifiable": identifiable,
            "note": notes,
        }
    )
    return SliceMarkers(posterior, identifiable, table)


def smooth(
    posteriors: Sequence[SliceMarkers],
    embedding: NDArray[np.floating],
    *,
    n_neighbors: int = 15,
    threads: int | None = None,
) -> Doubles:
    """Average probabilities over neighbors in the joint embedding, across slices.

    A cell's probability of a type counts only if its slice's panel can identify that type, so that types
    that one panel cannot identify are assigned by neighbors from slices whose panels can.

    Parameters
    ----------
    posteriors
        One per slice.
    embedding
        (n, d) of all cells, slice after slice.
    n_neighbors
        Number of neighbors beside the cell itself; 0 does not smooth.
    threads
        Number of threads; the result does not depend on it.

    Returns
    -------
    (n, T + 1) probabilities; rows sum to 1.
    """
    p = np.concatenate([s.posterior for s in posteriors])
    if n_neighbors < 1 or len(p) < 2:
        return p
    near = nearest(embedding, embedding, n_neighbors, exclude=np.arange(len(p)), threads=threads)
    weights = (near.weights() + sparse.identity(len(p), format="csr")).tocsr()
    able = np.concatenate(
        [np.broadcast_to(np.append(s.identifiable, True), s.posterior.shape) for s in posteriors]
    ).astype(np.float64)
    votes, total = weights @ (p * able), weights @ able
    out = np.divide(votes, total, out=np.zeros_like(votes), where=total > 0)
    return out / out.sum(axis=1, keepdims=True)


def assign(
    probability: Doubles, types: Sequence[str], *, threshold: float = 0.5
) -> tuple[NDArray[np.object_], Doubles]:
    """Type of each cell and its probability; *unknown* below the threshold or where none is most likely."""
    best = probability.argmax(1)
    confidence = probability[np.arange(len(best)), best]
    names = np.array([*types, UNKNOWN], object)[best]
    names[confidence < threshold] = UNKNOWN
    return names, np.where(best == len(types), 0.0, confidence)


def _identifiable(sign: NDArray[np.int8], types: Sequence[str]) -> tuple[NDArray[np.bool_], list[str]]:
    notes = []
    for t, row in enumerate(sign):
        same = [types[i] for i, other in enumerate(sign) if i != t and (other == row).all()]
        if not (row > 0).any():
            notes.append("no marker in the panel")
        elif same:
            notes.append(f"same markers as {', '.join(same)}")
        else:
            notes.append("")
    return np.array([not note for note in notes], bool), notes


def _em(
    y: Doubles, size: Doubles, sign: NDArray[np.int8], fold: float, dispersion: float, iterations: int
) -> tuple[Doubles, Doubles]:
    """Responsibilities (n, T) of the mixture, and each gene's rate as a positive marker over neutral."""
    n, n_types = len(y), len(sign)
    mean = np.maximum(y.sum(0) / max(size.sum(), 1e-12), _MIN_RATE)
    rates = np.stack([mean / _START, mean * 0.8, mean * _START])  # negative, neutral, positive
    share = np.full(n_types, 1 / n_types)
    r = np.full((n, n_types), 1 / n_types)
    level = sign + 1
    for _ in range(iterations):
        before = r
        log = np.tile(np.log(share), (n, 1))
        for which in range(3):
            mu = size[:, None] * rates[which]
            # the terms of log NB(y; mu, dispersion) that depend on mu
            likely = xlogy(y, mu) - (y + 1 / dispersion) * np.log1p(dispersion * mu)
            log += likely @ (level == which).T
        r = np.exp(log - logsumexp(log, axis=1, keepdims=True))
        share = (r.sum(0) + 1) / (n + n_types)
        for which in range(3):
            member = r @ (level == which)  # (n, g) weight of each cell at this level
            seen, exposure = (member * y).sum(0), (member * size[:, None]).sum(0)
            # one pseudo-cell of the previous rate keeps a level that no cell has in place
            rates[which] = (seen + rates[which]) / (exposure + 1)
        rates = np.maximum(rates, _MIN_RATE)
        rates[2] = np.maximum(rates[2], fold * rates[1])
        rates[0] = np.minimum(rates[0], rates[1] / fold)
        if np.abs(r - before).mean() < _TOLERANCE:
            break
    return r, rates[2] / rates[1]


def check(markers: MarkerTable, panels: Sequence[Sequence[str]]) -> None:
    """Raise an error if no panel has a marker.

    Raises
    ------
    InputError
        With examples of both gene names.
    """
    if not any(len(markers.within(panel)[0]) for panel in panels):
        text = f"no slice measured any of the {len(markers.genes)} markers, such as {markers.genes[0]!r}"
        raise InputError(text, slot="var_names", hint=f"Its genes are named like {panels[0][0]!r}.")
