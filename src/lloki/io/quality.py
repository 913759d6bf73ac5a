"""Cells left out as asked: few counts, many counts of controls. Nothing is left out by default."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import sparse

from lloki.io._findings import Findings, number

CONTROL_COUNTS = "control_counts"  # obs column of the readers of instruments


def control_rate(x: sparse.csr_matrix, obs: pd.DataFrame) -> np.ndarray:
    """(n,) share of control probes in the counts of each cell; NaN where it is not known.

    Parameters
    ----------
    x
        (n, g) counts of genes.
    obs
        Its cells; ``control_counts`` from a reader of an instrument's folder.
    """
    if CONTROL_COUNTS not in obs:
        return np.full(x.shape[0], np.nan)
    controls = pd.to_numeric(obs[CONTROL_COUNTS], errors="coerce").to_numpy(float)
    total = controls + np.asarray(x.sum(axis=1), float).ravel()
    return np.where(total > 0, controls / np.maximum(total, 1.0), np.where(np.isnan(total), np.nan, 0.0))


def overall_control_rate(x: sparse.csr_matrix, obs: pd.DataFrame) -> float:
    """Share of control probes in all counts of a slice, arguments as above; NaN where it is not known."""
    if CONTROL_COUNTS not in obs:
        return float("nan")
    controls = float(pd.to_numeric(obs[CONTROL_COUNTS], errors="coerce").sum(min_count=1))
    total = controls + float(x.sum())
    return controls / total if total else 0.0


def drop_cells(
    x: sparse.csr_matrix,
    obs: pd.DataFrame,
    findings: Findings,
    *,
    min_counts: int,
    max_control_rate: float | None,
) -> np.ndarray:
    """(n,) bool: cells to keep; what is left out is reported, and leaving out all is refused."""
    keep = np.ones(x.shape[0], dtype=bool)
    if min_counts > 0:
        enough = np.asarray(x.sum(axis=1), float).ravel() >= min_counts
        _report(keep & ~enough, f"with fewer than {min_counts:,} counts", findings)
        keep &= enough
    if max_control_rate is not None:
        rate = control_rate(x, obs)
        if np.isnan(rate).all():
            findings.corrected(
                "the rate of control counts is not known, so max_control_rate is not used here"
            )
        high = rate > max_control_rate
        _report(keep & high, f"with more than {max_control_rate:.2%} control counts", findings)
        keep &= ~high
    if not keep.any():
        findings.refuse(
            "has no cell left within the limits",
            slot="X",
            hint="Lower --min-counts, raise --max-control-rate.",
        )
    return keep


def _report(gone: np.ndarray, why: str, findings: Findings) -> None:
    if gone.any():
        findings.corrected(f"{number(int(gone.sum()), 'cell')} of {len(gone):,} {why} left out, as asked")
