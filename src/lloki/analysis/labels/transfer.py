"""Transfer of cell types from labeled cells to others, with a calibrated confidence."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lloki._progress import Advance
from lloki.analysis.labels import votes
from lloki.analysis.labels.calibration import Calibration, cross_calibrated, expected_error, reliability
from lloki.errors import ConfigError, InputError
from lloki.graph import nearest

Doubles = NDArray[np.float64]
Codes = NDArray[np.int64]

UNKNOWN = "unknown"


@dataclass(frozen=True, eq=False)
class LabelTransfer:
    """Result of :func:`transfer_labels`, over n cells and T types.

    Attributes
    ----------
    types
        (T,) names.
    labels
        (n,) label of each cell: its own if it had one, else the predicted type or ``"unknown"``.
    best
        (n,) most likely type, whatever its confidence.
    confidence
        (n,) probability that ``best`` is correct, if the cell's type is among those known. NaN for labeled
        cells.
    novelty
        (n,) how typical a cell's distance to its labeled neighbors is: the share of left-out cells, correctly
        predicted as ``best``, that were at least as far from theirs. Near 0: unlike any labeled cell.
    given
        (n,) bool, whether the cell had a label.
    table
        One row per type; see :func:`transfer_labels`.
    curve
        Reliability of the confidence on left-out cells, each calibrated without its own slice: columns
        confidence, accuracy, n_cells.
    error
        Expected calibration error: the mean gap in that curve.
    left_out
        ``"slices"`` if the confidence was calibrated by leaving out slices, ``"cells"`` if that was
        impossible.
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


def transfer_labels(
    embedding: NDArray[np.floating],
    labels: NDArray,
    slices: NDArray,
    *,
    n_neighbors: int = 15,
    threshold: float = 0.5,
    novelty: float = 0.01,
    usable: NDArray[np.bool_] | None = None,
    threads: int | None = None,
    advance: Advance | None = None,
) -> LabelTransfer:
    r"""Transfer labels from labeled cells to all others by nearest neighbors in a joint embedding.

    A cell's score for type t is the share of the weight (:meth:`Near.weights`) of its k nearest labeled
    cells that those of type t have. The winner's score is turned into a probability by leaving out each
    labeled slice in turn: what share of its cells, predicted from the other slices, with that score were
    correct? An isotonic (monotone) curve through these outcomes is the confidence. With one labeled slice
    single cells are left out instead, which does not measure differences between slices.

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
        If no cell is labeled, all are, or the embedding is not finite.
    ConfigError
        If ``n_neighbors`` is below 1, or ``threshold`` or ``novelty`` is outside [0, 1].

    Notes
    -----
    Time grows with n·m·d, m being the labeled cells; memory as for :func:`lloki.graph.nearest`,
    and 8·n·k bytes.
    """
    x, ok = np.asarray(embedding), np.ones(len(labels), bool) if usable is None else usable
    labels = np.where(np.asarray(labels, str) == UNKNOWN, "", np.asarray(labels, str))
    _check(x[ok], labels[ok], n_neighbors=n_neighbors, threshold=threshold, novelty=novelty)
    given = (labels != "") & ok
    types, codes = np.unique(labels[given], return_inverse=True)
    voters, asked, code = np.flatnonzero(given), np.flatnonzero(~given & ok), np.full(len(x), -1)
    code[voters] = codes
    within = votes.distance_within_slice(x, slices, ok, n_neighbors, threads)
    across, tested, (predicted, share, far) = votes.left_out(
        x, slices, voters, code, n_neighbors, len(types), threads
    )
    correct, far = predicted == code[tested], far**2 / within[tested]
    fitted = Calibration.fit(share, correct)
    known = far[correct], predicted[correct]  # distances and types of the correct predictions

    near = nearest(x[asked], x[voters], n_neighbors, threads=threads, advance=advance)
    best, raw, distance = votes.score(near, codes, len(types))
    confidence, typical = np.full(len(x), np.nan), np.full(len(x), np.nan)
    confidence[~ok], typical[~ok] = 0.0, 0.0
    confidence[asked] = fitted.predict(raw)
    typical[asked] = votes.typicality(distance**2 / within[asked], best, *known, len(types))
    code[asked] = best
    accepted = (confidence >= threshold) & (typical >= novelty)
    names = np.append(types, UNKNOWN).astype(object)
    rejected = (fitted.predict(share) < threshold) | (
        votes.typicality(far, predicted, *known, len(types)) < novelty
    )
    n_assigned = np.bincount(code[accepted], minlength=len(types))
    curve = reliability(cross_calibrated(share, correct, _folds(slices[tested], tested, across)), correct)
    return LabelTransfer(
        tuple(map(str, types)),
        np.where(given | accepted, names[code], UNKNOWN).astype(object),
        names[code],
        confidence,
        typical,
        given,
        _table(types, codes, slices[voters], code[tested], predicted, rejected, n_assigned),
        curve,
        expected_error(curve),
        "slices" if across else "cells",
    )


def _folds(slices: NDArray, rows: NDArray[np.int64], across: bool) -> NDArray:
    """Group left-out cells: by slice, or into five groups that do not depend on the order of slices."""
    if across:
        return slices
    folds = np.empty(len(rows), np.int64)
    folds[np.lexsort((rows, slices))] = np.arange(len(rows)) % 5
    return folds


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
    types: NDArray,
    codes: Codes,
    slices: NDArray,
    truth: Codes,
    predicted: Codes,
    rejected: NDArray,
    n_assigned: Codes,
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
                "unknown": _share(rejected[own].sum(), own.sum()),
                "confused_with": str(types[wrong.argmax()]) if wrong.any() else "",
                "n_assigned": int(n_assigned[t]),
            }
        )
    return pd.DataFrame(rows)


def _share(part: int, whole: int) -> float:
    return float(part / whole) if whole else np.nan
