"""Transfer of cell types from labeled cells to others, with a calibrated confidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from lloki._progress import Advance
from lloki.analysis.labels import votes
from lloki.analysis.labels.answers import Answers, answer, choose, leave_out
from lloki.analysis.labels.calibration import (
    Calibration,
    Widening,
    cross_calibrated,
    expected_error,
    reliability,
)
from lloki.analysis.labels.heads import AVERAGE, HEADS, Fitted, Views
from lloki.analysis.labels.hierarchy import Hierarchy
from lloki.errors import ConfigError, InputError

Doubles = NDArray[np.float64]
Codes = NDArray[np.int64]
Counts = Mapping[str, tuple[sparse.csr_matrix, Sequence[str]]]

UNKNOWN = "unknown"
AUTO = "auto"
METHODS = (AUTO, AVERAGE, *HEADS)


@dataclass(frozen=True, eq=False)
class LabelTransfer:
    """Result of :func:`transfer_labels`, over n cells and T types.

    Attributes
    ----------
    types
        (T,) names.
    labels
        (n,) label of each cell: its own if it had one, else the predicted type, the group that holds it if
        only that is certain, or ``"unknown"``.
    best
        (n,) most likely type, whatever its confidence.
    confidence
        (n,) probability that the label is correct, or ``best`` where the label is ``"unknown"``, if the
        cell's type is among those known. NaN for labeled cells.
    novelty
        (n,) how typical a cell's distance to its labeled neighbors is: the share of left-out cells, correctly
        predicted as ``best``, that were at least as far from theirs. Near 0: unlike any labeled cell.
    given
        (n,) bool, whether the cell had a label.
    table
        One row per type; see :func:`transfer_labels`.
    curve
        Reliability of the confidence on left-out cells, each calibrated without its slice: columns
        confidence, accuracy, n_cells.
    error
        Expected calibration error: the mean gap in that curve. Where the confidence is widened, what it was
        on other data, :attr:`Widening.error`.
    left_out
        What was left out to calibrate: ``"slices"``, ``"batches"`` (all slices of a technology and panel),
        or ``"cells"`` if there is one source.
    method
        The head that was used: ``"average"``, ``"neighbors"``, ``"joint"``, ``"before"`` or ``"genes"``.
    tried
        One row per head: method, accuracy (mean over left-out slices).
    widened
        Whether confidences are lowered by what a step between slices or technologies cost on other data,
        because the sources do not show it.
    """

    types: tuple[str, ...]
    labels: NDArray[np.object_]
    best: NDArray[np.object_]
    confidence: Doubles
    novelty: Doubles
    given: NDArray[np.bool_]
    table: pd.DataFrame
    curve: pd.DataFrame
    error: float
    left_out: str
    method: str
    tried: pd.DataFrame
    widened: bool


def transfer_labels(
    embedding: NDArray[np.floating],
    labels: NDArray,
    slices: NDArray,
    *,
    before: NDArray[np.floating] | None = None,
    counts: Counts | None = None,
    batches: NDArray | None = None,
    method: str = AUTO,
    parents: Mapping[str, str] | None = None,
    n_neighbors: int = 15,
    threshold: float = 0.5,
    novelty: float = 0.01,
    usable: NDArray[np.bool_] | None = None,
    threads: int | None = None,
    advance: Advance | None = None,
) -> LabelTransfer:
    r"""Transfer labels from labeled cells to all others.

    Several heads give each cell a probability of each type: *neighbors*, the share of the weight
    (:meth:`Near.weights`) of its k nearest labeled cells in the joint embedding; *joint* and *before*,
    logistic regressions on the joint embedding and on that before batch alignment; *genes*, the mean over
    source slices of logistic regressions on the genes that source and target share; and their *average*,
    weighted by how often each head agrees with the others in the target slice, and half of it taken from
    the 10 nearest cells of that slice. Which one is best differs
    from data to data: each labeled slice in turn is labeled from the others, and the head with the highest
    accuracy is used, the average unless another is better by .005. With one source the average is used.

    The winner's probability is turned into a confidence by the same left-out slices: what share of their
    cells with that score were correct? The confidence is an isotonic (monotone) curve through these
    outcomes; that of the average is the mean of this curve and of :class:`Widening`, which was fitted on
    other data. If the sources span several batches and a target has none of these, whole batches are left
    out. If they show nothing of that step, because there is one source or one batch, the confidence is
    that of :class:`Widening` alone in slices that are no source; `widened` is then true.

    A cell is *unknown* if its confidence is below ``threshold``, or if it is farther from labeled cells
    than all but the share ``novelty`` of the left-out cells that were correctly predicted as its type.
    Distance is measured by :math:`d^2 / d_0`, d being its mean distance to the k labeled neighbors and
    :math:`d_0` that to as many cells of its own slice: a type that no labeled slice holds is dense in its
    own slice and far from everything else.

    Parameters
    ----------
    embedding
        (n, d) joint embedding, finite.
    labels
        (n,) strings, ``""`` or ``"unknown"`` where the type is not known.
    slices
        (n,) slice of each cell.
    before
        (n, d') embedding before batch alignment, finite.
    counts
        Slice → its counts (cells in the order of its rows in ``embedding``, g) and the names of its genes.
    batches
        (n,) batch of each cell, such as its technology and panel.
    method
        ``"auto"``, ``"average"``, ``"neighbors"``, ``"joint"``, ``"before"`` or ``"genes"``.
    parents
        Type → the group that holds it, and group → larger group. A cell whose type is below the threshold
        gets the smallest of its groups whose confidence is not, before it is called unknown.
    n_neighbors
        Number of labeled neighbors that vote, k.
    threshold
        Minimum confidence of a label; 0 labels every cell that is not novel.
    novelty
        See above; 0 calls no cell novel.
    usable
        (n,) bool. Other cells, such as those without counts, do not vote and are labeled *unknown*.
    threads
        Number of threads; the result does not depend on it.
    advance
        Called with numbers of cells done, which sum to n.

    Returns
    -------
    LabelTransfer
        Its ``table`` has one row per type: n_labeled (cells), n_slices (that have it), n_tested (left-out
        cells of the type), recall, precision and f1 on left-out cells before any is called unknown, unknown
        (share of left-out cells of the type that would be), confused_with (most frequent wrong prediction),
        n_assigned (cells that were given the type). A type that only one slice has cannot be tested across
        slices: NaN.

    Raises
    ------
    InputError
        If no cell is labeled, all are, an embedding is not finite, or the parents form a circle.
    ConfigError
        If ``n_neighbors`` is below 1, ``threshold`` or ``novelty`` is outside [0, 1], or there is no such
        method, or not without ``before`` or ``counts``.

    Notes
    -----
    Time grows with n·m·d, m being the labeled cells; memory as for :func:`lloki.graph.nearest`,
    and 32·T bytes per cell of the largest slice. Regressions learn from at most 2,000 cells of a slice, and
    at most five sets of slices are left out. The result does not depend on the order of cells.
    """
    ok = np.ones(len(labels), bool) if usable is None else np.asarray(usable)
    labels = np.where(np.asarray(labels, str) == UNKNOWN, "", np.asarray(labels, str))
    x, of = np.asarray(embedding), np.asarray(slices, str)
    _check(x[ok], labels[ok], n_neighbors=n_neighbors, threshold=threshold, novelty=novelty)
    if before is not None and not np.isfinite(before[ok]).all():
        raise InputError(
            "the embedding before alignment holds NaN or infinity", hint="Leave these cells out."
        )
    order = _canonical(x, labels, of)
    views = Views.of(x, of, before, counts or {}, order)
    if method not in (AUTO, AVERAGE, *views.heads):
        there = ", ".join(dict.fromkeys((AUTO, AVERAGE, *views.heads)))
        raise ConfigError(f"method must be one of {there}, got {method!r}")
    found = _transfer(
        views,
        labels[order],
        ok[order],
        None if batches is None else np.asarray(batches, str)[order],
        method=method,
        parents=parents or {},
        n_neighbors=n_neighbors,
        threshold=threshold,
        novelty=novelty,
        threads=threads,
        advance=advance,
    )
    back = np.argsort(order)
    each = {k: getattr(found, k)[back] for k in ("labels", "best", "confidence", "novelty", "given")}
    return replace(found, **each)


def _transfer(
    views: Views,
    labels: NDArray[np.str_],
    ok: NDArray[np.bool_],
    batches: NDArray[np.str_] | None,
    *,
    method: str,
    parents: Mapping[str, str],
    n_neighbors: int,
    threshold: float,
    novelty: float,
    threads: int | None,
    advance: Advance | None,
) -> LabelTransfer:
    slices, n = views.slices, len(labels)
    given = (labels != "") & ok
    types, codes = np.unique(labels[given], return_inverse=True)
    hierarchy = Hierarchy.build(tuple(map(str, types)), parents)
    voters, asked, code = np.flatnonzero(given), np.flatnonzero(~given & ok), np.full(n, -1)
    code[voters] = codes
    within = votes.distance_within_slice(views.joint, slices, ok, n_neighbors, threads)

    def fit(rows: Codes) -> Fitted:
        return Fitted(views, views.heads, rows, code, len(types), n_neighbors=n_neighbors, threads=threads)

    left = leave_out(fit, slices, batches, voters, asked, code, hierarchy)
    tried = left.tried(code)
    used = choose(left, tried) if method == AUTO else method
    tested, truth = left.answers[used], code[left.rows]
    curves = [
        Calibration.fit(tested.score[level], tested.best[level] == up[truth])
        for level, up in enumerate(hierarchy.of)
    ]
    predicted, correct = tested.best[0], tested.best[0] == truth
    across = used == AVERAGE and left.what != "cells"  # a step was left out: see Widening

    def sure_of(own: Answers) -> Doubles:
        """(L, m) confidence."""
        by_curve = np.stack([curve.predict(score) for curve, score in zip(curves, own.score)])
        return (by_curve + Widening.predict(own.mean)) / 2 if across else by_curve

    far = left.distance**2 / within[left.rows]
    known = far[correct], predicted[correct]  # distances and types of the correct predictions

    best, confidence, typical = np.full(n, -1), np.full(n, np.nan), np.full(n, np.nan)
    best[voters], confidence[~ok], typical[~ok] = codes, 0.0, 0.0
    names = np.full(n, UNKNOWN, object)
    names[voters] = types[codes]
    fitted, foreign = fit(voters), _foreign(left.what, slices, batches, voters)
    for name in np.unique(slices[asked]):
        rows = asked[slices[asked] == name]
        found, distance = fitted.predict(rows)
        own = answer(found, hierarchy)[used]
        if foreign[rows].all():
            sure = Widening.predict(own.mean)
        else:
            sure = sure_of(own)
        best[rows] = own.best[0]
        typical[rows] = votes.typicality(distance**2 / within[rows], own.best[0], *known, len(types))
        level = (sure >= threshold).argmax(0)  # the first that is sure enough, or 0
        confidence[rows] = sure[level, np.arange(len(rows))]
        accepted = (confidence[rows] >= threshold) & (typical[rows] >= novelty)
        called = np.array([hierarchy.names[a][own.best[a, i]] for i, a in enumerate(level)], object)
        names[rows] = np.where(accepted, called, UNKNOWN)
        if advance is not None:
            advance(len(rows))
    if advance is not None:
        advance(n - len(asked))

    unsure = (sure_of(tested)[0] < threshold) | (
        votes.typicality(far, predicted, *known, len(types)) < novelty
    )
    counted = pd.Series(names[asked]).value_counts()
    crossed = cross_calibrated(tested.score[0], correct, left.groups)
    if across:
        crossed = (crossed + Widening.predict(tested.mean[0])) / 2
    curve = reliability(crossed, correct)
    widened = bool(foreign[asked].any())
    table = _table(types, codes, slices[voters], truth, predicted, unsure)
    return LabelTransfer(
        tuple(map(str, types)),
        names,
        np.append(types, UNKNOWN).astype(object)[best],
        confidence,
        typical,
        given,
        table.assign(n_assigned=[int(counted.get(t, 0)) for t in types]),
        curve,
        Widening.error if widened else expected_error(curve),
        left.what,
        used,
        tried,
        widened,
    )


def _foreign(
    what: str, slices: NDArray[np.str_], batches: NDArray[np.str_] | None, voters: Codes
) -> NDArray[np.bool_]:
    """(n,) whether what was left out says nothing of the step to a cell's slice."""
    own = np.isin(slices, slices[voters])
    if what == "cells":
        return ~own
    if what == "slices" and batches is not None:
        return ~own & ~np.isin(batches, batches[voters])
    return np.zeros(len(slices), bool)


def _canonical(x: NDArray[np.floating], labels: NDArray[np.str_], slices: NDArray[np.str_]) -> Codes:
    """Order of the cells that does not depend on how they came: by slice, then by a hash of the embedding.

    Sums of floating point numbers, and with them the regressions, depend on the order of their terms.
    """
    key = np.zeros(len(x), np.uint64)
    for column in np.asarray(x, np.float64).T:
        key = (key * np.uint64(0x100000001B3)) ^ np.ascontiguousarray(column).view(np.uint64)
        key ^= key >> np.uint64(29)
    return np.lexsort((labels, key, slices))


def _check(
    x: NDArray[np.floating], labels: NDArray[np.str_], *, n_neighbors: int, threshold: float, novelty: float
) -> None:
    if n_neighbors < 1:
        raise ConfigError(f"n_neighbors must be at least 1, got {n_neighbors}")
    for name, value in (("threshold", threshold), ("novelty", novelty)):
        if not 0 <= value <= 1:
            raise ConfigError(f"{name} must lie between 0 and 1, got {value}")
    if not np.isfinite(x).all():
        raise InputError("the embedding holds NaN or infinity", hint="Leave these cells out.")
    if (labels != "").sum() < 2:
        raise InputError(
            "fewer than two cells have a label",
            hint="Name the column that holds labels, or give a labeled reference.",
        )
    if (labels != "").all():
        raise InputError(
            "all cells have a label",
            hint="Leave out the labels of some, or name the slices to take labels from: --source (sources=).",
        )


def _table(
    types: NDArray, codes: Codes, slices: NDArray, truth: Codes, predicted: Codes, unsure: NDArray
) -> pd.DataFrame:
    rows = []
    for t, name in enumerate(types):
        own, called = truth == t, predicted == t
        hits, wrong = int((own & called).sum()), np.bincount(predicted[own & ~called], minlength=len(types))
        rows.append(
            {
                "type": str(name),
                "n_labeled": int((codes == t).sum()),
                "n_slices": len(np.unique(slices[codes == t])),
                "n_tested": int(own.sum()),
                "recall": _share(hits, own.sum()),
                "precision": _share(hits, called.sum()),
                "f1": _share(2 * hits, own.sum() + called.sum()) if own.any() else np.nan,
                "unknown": _share(unsure[own].sum(), own.sum()),
                "confused_with": str(types[wrong.argmax()]) if wrong.any() else "",
            }
        )
    return pd.DataFrame(rows)


def _share(part: int, whole: int) -> float:
    return float(part / whole) if whole else np.nan
