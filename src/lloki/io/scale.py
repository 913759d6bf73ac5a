"""Whether a matrix holds counts, and if not, what was done to them; arrays in, arrays out.

Normalizing a cell multiplies its counts by one factor, so the values of a cell stay whole multiples of a
unit: the value of a count of one, which sparse counts nearly always hold. That distinguishes a normalized
matrix from one that never was counts, reveals a logarithm (undone, the values are multiples again), and gives
the counts back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from scipy import sparse

ScaleName = Literal["counts", "proportional to counts", "log-normalized", "normalized", "scaled"]

_INTEGER = 1e-3  # how near a whole number a stored count must be
_MOSTLY = 0.9  # share of the values that must obey for the matrix to
_MULTIPLE = 0.01  # how near a whole multiple of its cell's unit a value must be
_LARGEST_LOG = 25.0  # e^25 counts is more than any cell holds
_SAMPLE = 2_000  # cells looked at
_UNDO: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "e": np.expm1,
    "2": lambda values: np.expm1(values * np.log(2.0)),
    "10": lambda values: np.expm1(values * np.log(10.0)),
}
_EVEN = 0.05  # relative spread of the cells' totals below which they were made equal
_SAME_TOTAL = 0.01  # and below which no depth of sequencing is that even, for whole numbers
_FULL = (127.0, 255.0, 32_767.0, 65_535.0)  # largest signed and unsigned integers of 8 and 16 bits
_ENOUGH = 20  # cells, and 10 values each, that are needed to doubt counts


def infer_scale(x: sparse.csr_matrix) -> ScaleName:
    """Infer what the values of a matrix are.

    Parameters
    ----------
    x
        (n, g) finite values, without stored zeros.

    Returns
    -------
    str
        ``"counts"``: at least 90 % of the non-zero values are whole numbers (corrected and expected counts
        have some fractions). ``"proportional to counts"``: whole multiples of one unit per cell, so divided
        by volume, by area or by library size, but not logged. ``"log-normalized"``: such multiples once
        ``log(1 + x)`` (base e, 2 or 10) is undone, or equal totals of all cells. ``"normalized"``: other
        fractions, such as expected counts; nothing shows that they are logarithms. ``"scaled"``: some value
        is negative.

    Notes
    -----
    One pass over the values; the test for multiples looks at 2,000 cells spread over the matrix.
    """
    if x.nnz and x.data.min() < 0:
        return "scaled"
    if not x.nnz:
        return "counts"
    whole = _whole(x.data)
    if whole.mean() >= _MOSTLY:
        return "log-normalized" if _logs_of_counts(x.data[~whole]) else "counts"
    sample = x[:: max(1, x.shape[0] // _SAMPLE)]
    if _proportional(sample):
        return "proportional to counts"
    return "log-normalized" if _log_base(sample)[0] else "normalized"


def doubt_of_counts(x: sparse.csr_matrix) -> str:
    """Reason to doubt that whole numbers are counts, as a clause; ``""`` if there is none.

    Parameters
    ----------
    x
        (n, g) values that :func:`infer_scale` takes for counts, without stored zeros.
    """
    filled = x[np.diff(x.indptr) > 0]
    if filled.shape[0] < _ENOUGH or filled.nnz < 10 * filled.shape[0]:
        return ""
    if (filled.data == filled.data[0]).all():
        return f"all are 0 or {filled.data[0]:g}: whether a gene was detected, not how often"
    if filled.nnz == filled.shape[0] * filled.shape[1]:
        return "no cell lacks any gene: a constant may have been added"
    top = filled.data.max()
    if top in _FULL and (filled.data == top).sum() > max(3, 1e-3 * filled.nnz):
        return f"many are {top:g}, the largest of a number of few bits: larger counts may have been cut off"
    totals = np.asarray(filled.sum(axis=1, dtype=np.float64)).ravel()
    if totals.std() < _SAME_TOTAL * totals.mean():
        return f"all cells add up to about {totals.mean():,.0f}: they were normalized and rounded, or thinned"
    return ""


def _logs_of_counts(fractions: np.ndarray) -> bool:
    """Whether the few fractions beside whole numbers are log2(1 + count), which keeps 1, and 3 whole."""
    if len(fractions) < 3 or fractions.max() > _LARGEST_LOG:
        return False
    undone = _UNDO["2"](fractions.astype(np.float64))
    return bool((np.abs(undone - np.rint(undone)) <= _INTEGER * np.maximum(undone, 1)).mean() >= _MOSTLY)


def round_counts(x: sparse.csr_matrix) -> tuple[sparse.csr_matrix, int]:
    """Round the noise of floating point off counts, and count the real fractions that are left."""
    whole = _whole(x.data)
    out = x.copy()
    out.data = np.where(whole, np.rint(x.data), x.data).astype(np.float32)
    return out, int((~whole).sum())


def recover_counts(x: sparse.csr_matrix) -> sparse.csr_matrix:
    """Recover counts from values proportional to them: every cell divided by its unit and rounded.

    The unit is the cell's smallest value, or a half to a sixth of it where only that makes all values whole
    (a cell without a count of one). A cell whose counts share a divisor comes out divided by it, which leaves
    its composition and its zeros as they were.
    """
    out = x.astype(np.float64)
    smallest = _row_min(out)
    cells = np.repeat(np.arange(x.shape[0]), np.diff(x.indptr))
    unit, open_ = smallest.copy(), smallest > 0
    for divisor in range(1, 7):
        ratio = out.data * divisor / smallest[cells]
        worst = np.zeros(len(smallest))
        np.maximum.at(worst, cells, np.abs(ratio - np.rint(ratio)) / _slack(ratio))
        fits = open_ & (worst <= 1)
        unit[fits] = smallest[fits] / divisor
        open_ &= ~fits
        if not open_.any():
            break
    out.data = np.maximum(np.rint(out.data / unit[cells]), 1.0)
    return out.astype(np.float32)


def undo_log(x: sparse.csr_matrix) -> tuple[sparse.csr_matrix, str]:
    """Undo ``log(1 + x)``: to counts where the values show the base, else to the values of base e.

    Returns
    -------
    tuple
        The matrix on a linear scale, and how it was got, in words.
    """
    sample = x[:: max(1, x.shape[0] // _SAMPLE)]
    base, multiples = _log_base(sample)
    undone = _apply(_UNDO[base or "e"], x)
    if multiples:
        return recover_counts(undone), f"log(1 + x) to base {base} was undone and counts recovered"
    how = f"log(1 + x) to base {base} was undone" if base else "exp(x) - 1 was taken"
    return undone.astype(np.float32), f"{how}, which need not be proportional to counts"


def _log_base(sample: sparse.csr_matrix) -> tuple[str, bool]:
    """Find the base of the logarithm that values show, ``""`` if none, and whether undone they are multiples.

    Small fractions alone are no evidence: expected counts are such too.
    """
    if not sample.nnz or sample.data.max() > _LARGEST_LOG:
        return "", False
    undone = {base: _apply(undo, sample) for base, undo in _UNDO.items()}
    for base, values in undone.items():
        if _proportional(values):
            return base, True
    spread = {base: _spread_of_totals(values) for base, values in undone.items()}
    best = min(spread, key=lambda base: spread[base])
    even = spread[best] < _EVEN and spread[best] < 0.5 * _spread_of_totals(sample)
    return (best if even else ""), False


def _spread_of_totals(x: sparse.csr_matrix) -> float:
    """Relative spread of the totals of cells with values; infinite for fewer than three."""
    totals = np.asarray(x.sum(axis=1), dtype=np.float64).ravel()
    totals = totals[totals > 0]
    return float(totals.std() / totals.mean()) if len(totals) > 2 else np.inf


def _whole(values: np.ndarray) -> np.ndarray:
    near = np.rint(values)
    # A fraction of a library (1e-5) is near zero too, but stored values that are counts are one or more.
    return (near >= 1) & (np.abs(values - near) <= _INTEGER)


def _proportional(x: sparse.csr_matrix) -> bool:
    """Whether values are whole multiples of the smallest value of their cell."""
    smallest = _row_min(x)
    base = np.repeat(smallest, np.diff(x.indptr))
    ratio = x.data[base > 0].astype(np.float64) / base[base > 0]
    ratio = ratio[ratio > 1.01]  # the smallest values are multiples of themselves
    return len(ratio) >= 3 and float((np.abs(ratio - np.rint(ratio)) <= _slack(ratio)).mean()) >= _MOSTLY


def _slack(ratio: np.ndarray) -> np.ndarray:
    # float32 logarithms lose about 1e-6 of the value they stand for
    return np.minimum(_MULTIPLE + 1e-5 * ratio, 0.1)


def _row_min(x: sparse.csr_matrix) -> np.ndarray:
    """(n,) smallest stored value of each row, 0 where there is none."""
    out = np.zeros(x.shape[0])
    filled = np.diff(x.indptr) > 0
    if filled.any():
        out[filled] = np.minimum.reduceat(x.data, x.indptr[:-1][filled])
    return out


def _apply(function: Callable[[np.ndarray], np.ndarray], x: sparse.csr_matrix) -> sparse.csr_matrix:
    return sparse.csr_matrix((function(x.data.astype(np.float64)), x.indices, x.indptr), shape=x.shape)
