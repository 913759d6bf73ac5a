"""Cell types carried from labeled cells to others, with a confidence that means what it says."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lloki._progress import Advance
from lloki.analysis import votes
from lloki.analysis.calibration import Calibration, cross_calibrated, expected_error, reliability
from lloki.errors import ConfigError, InputError
from lloki.graph import nearest

Doubles = NDArray[np.float64]
Codes = NDArray[np.int64]

UNKNOWN = "unknown"


@dataclass(frozen=True, eq=False)
class LabelTransfer:
    """What :func:`transfer_labels` found, over n cells and T types.

    Attributes
    ----------
    types
        (T,) names.
    labels
        (n,) the label of each cell: its own if it had one, else what was carried over, or ``"unknown"``.
    best
        (n,) the most likely type, also where it was not believed.
    confidence
        (n,) probability that ``best`` is right, if the type is among those known. NaN for labeled cells.
    novelty
        (n,) how usual a cell's distance to its labeled neighbors is: the share of left-out cells, rightly
        labeled as ``best``, that lay at least as far from theirs. Near 0: like nothing that is labeled.
    given
        (n,) bool, whether the cell had a label.
    table
        One row a type; see :func:`transfer_labels`.
    curve
        Reliability of the confidence on left-out cells, each by a calibration that did not see its slice:
        columns confidence, accuracy, cells.
    error
        Expected calibration error: the mean gap in that curve.
    left_out
        ``"slices"`` if the confidence was calibrated by leaving out slices, ``"cells"`` if there was but one.
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
    k: int = 15,
    threshold: float = 0.5,
    novelty: float = 0.01,
    usable: NDArray[np.bool_] | None = None,
    threads: int | None = None,
    advance: Advance | None = None,
) -> LabelTransfer:
    r"""Carry labels from labeled cells to all others by nearest neighbors in a joint embedding.

    A cell's score for type t is the share of the weight (:meth:`Near.weights`) that its k nearest labeled
    cells of type t have. The score of the winner is turned into a probability by leaving out each labeled
    slice in turn: what share of its cells, labeled from the other slices, with that score was right? An
    isotonic (monotone) curve through these answers is the confidence. With one labeled slice single cells
    are left out instead, which says nothing about differences between slices.

    A cell is *unknown* if its confidence is below ``threshold``, or if it lies farther from labeled cells
    than all but the share ``novelty`` of the left-out cells that were rightly given its type. Farther is
    measured by :math:`d^2 / d_0`, d being its mean distance to the k labeled neighbors and
    :math:`d_0` that to as many cells of its own slice: a type that no labeled slice holds is dense at home
    and far from everything else.

    Parameters
    ----------
    embedding
        (n, d) joint embedding, finite.
    labels
        (n,) strings, ``""`` or ``"unknown"`` where it is not known.
    slices
        (n,) slice of each cell.
    k
        Neighbors that vote.
    threshold
        Least confidence of a label; 0 labels every cell that is not novel.
    novelty
        See above; 0 calls no cell novel.
    usable
        (n,) bool. Other cells, such as those without counts, neither give labels nor get any but *unknown*.
    threads
        Threads; the result does not depend on it.
    advance
        Called with numbers of cells done, which sum to n.

    Returns
    -------
    LabelTransfer
        Its ``table`` has one row a type: labeled (cells), slices (that have it), tested (left-out cells of
        the type), recall and precision among left-out cells before any is called unknown, unknown (share of
        left-out cells of the type that would be), mistaken_for (most frequent wrong answer), told (cells that
        were given it). A type that one slice alone holds cannot be tested across slices: NaN.

    Raises
    ------
    InputError
        If no cell is labeled, all are, or the embedding is not finite.
    ConfigError
        If k is below 1, or ``threshold`` or ``novelty`` lies outside [0, 1].

    Notes
    -----
    Time grows with n·m·d, m being the labeled cells; memory as for :func:`lloki.analysis.nearest`,
    and 8·n·k bytes.
    """
    x, ok = np.asarray(embedding), np.ones(len(labels), bool) if usable is None else usable
    labels = np.where(np.asarray(labels, str) == UNKNOWN, "", np.asarray(labels, str))
    _check(x[ok], labels[ok], k=k, threshold=threshold, novelty=novelty)
    given = (labels != "") & ok
    types, codes = np.unique(labels[given], return_inverse=True)
    voters, asked, code = np.flatnonzero(given), np.flatnonzero(~given & ok), np.full(len(x), -1)
    code[voters] = codes
    home = votes.at_home(x, slices, ok, k, threads)
    across, tested, (told, share, far) = votes.left_out(x, slices, voters, code, k, len(types), threads)
    right, far = told == code[tested], far**2 / home[tested]
    fitted = Calibration.fit(share, right)

    near = nearest(x[asked], x[voters], k, threads=threads, advance=advance)
    best, raw, distance = votes.score(near, codes, len(types))
    confidence, usual = np.full(len(x), np.nan), np.full(len(x), np.nan)
    confidence[~ok], usual[~ok] = 0.0, 0.0
    confidence[asked] = fitted.predict(raw)
    usual[asked] = votes.usual(distance**2 / home[asked], best, far[right], told[right], len(types))
    code[asked] = best
    believed = (confidence >= threshold) & (usual >= novelty)
    names = np.append(types, UNKNOWN).astype(object)
    doubted = (fitted.predict(share) < threshold) | (
        votes.usual(far, told, far[right], told[right], len(types)) < novelty
    )
    counts = np.bincount(code[believed], minlength=len(types))
    curve = reliability(cross_calibrated(share, right, _folds(slices[tested], tested, across)), right)
    return LabelTransfer(
        tuple(map(str, types)),
        np.where(given | believed, names[code], UNKNOWN).astype(object),
        names[code],
        confidence,
        usual,
        given,
        _table(types, codes, slices[voters], code[tested], told, doubted, counts),
        curve,
        expected_error(curve),
        "slices" if across else "cells",
    )


def _folds(slices: NDArray, rows: NDArray[np.int64], across: bool) -> NDArray:
    """Group left-out cells: by slices, or five of cells that do not hang on the order of slices."""
    if across:
        return slices
    folds = np.empty(len(rows), np.int64)
    folds[np.lexsort((rows, slices))] = np.arange(len(rows)) % 5
    return folds


def _check(
    x: NDArray[np.floating], labels: NDArray[np.str_], *, k: int, threshold: float, novelty: float
) -> None:
    if k < 1:
        raise ConfigError(f"k must be at least 1, got {k}")
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
            hint="Leave the labels of some out, or name the slices whose labels count: --source (sources=).",
        )


def _table(
    types: NDArray, codes: Codes, where: NDArray, truth: Codes, told: Codes, doubted: NDArray, counts: Codes
) -> pd.DataFrame:
    rows = []
    for t, name in enumerate(types):
        own, said = truth == t, told == t
        wrong = np.bincount(told[own & ~said], minlength=len(types))
        rows.append(
            {
                "type": str(name),
                "labeled": int((codes == t).sum()),
                "slices": len(np.unique(where[codes == t])),
                "tested": int(own.sum()),
                "recall": float((own & said).sum() / own.sum()) if own.any() else np.nan,
                "precision": float((own & said).sum() / said.sum()) if said.any() else np.nan,
                "unknown": float(doubted[own].mean()) if own.any() else np.nan,
                "mistaken_for": str(types[wrong.argmax()]) if wrong.any() else "",
                "told": int(counts[t]),
            }
        )
    return pd.DataFrame(rows)
