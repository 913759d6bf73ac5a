"""The metrics of the paper, through scib-metrics: arrays in, a table out."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lloki.errors import ConfigError, InputError
from lloki.evaluate._scib_metrics import Cells, package, quiet
from lloki.evaluate.metrics import METRICS, PROFILES
from lloki.evaluate.sampling import LEAST, scored_cells

Floats = NDArray[np.floating]


def scib(
    embedding: Floats,
    labels: NDArray,
    batches: NDArray,
    pre: Floats | None = None,
    *,
    profile: Literal["fast", "full"] = "full",
    max_cells: int | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Score an embedding by how well it separates types and mixes batches.

    Parameters
    ----------
    embedding
        (n, d).
    labels
        (n,) cell types, ``""`` where unknown: such cells are left out.
    batches
        (n,) batch of each cell. One with 50 labeled cells or fewer is left out.
    pre
        (n, e) embedding from before integration, such as a PCA, which the PCR comparison needs.
    profile
        ``"full"``: all metrics, from at most 8,000 cells. ``"fast"``: without kBET and the batch silhouette,
        which compile longest, from at most 3,000 cells.
    max_cells
        Maximum number of cells, instead of the profile's. An equal share of every batch is drawn.
    seed
        Random seed.

    Returns
    -------
    pandas.DataFrame
        A row a metric (``lloki.evaluate.METRICS``): ``kind``, ``value`` (0 to 1, higher is better, or NaN),
        ``cells`` it was computed from, ``seconds``, and ``note``: why there is no value, or what to know of
        it.

    Raises
    ------
    MissingExtraError
        Without scib-metrics (the extra ``benchmark``).
    ConfigError
        If there is no such profile.
    InputError
        If the shapes of the arrays disagree, they hold NaN, or no batch has enough labeled cells.

    Notes
    -----
    Most time goes into compiling, once for every number of columns. Beyond that it grows with the square of
    the number of cells drawn; memory grows with that number times (d + 90). Neighbors are exact, where
    scib-metrics by itself takes approximate ones.
    """
    if profile not in PROFILES:
        raise ConfigError(f"no profile {profile!r}. Choose one of: {', '.join(PROFILES)}")
    labels, batches = np.asarray(labels).astype(str), np.asarray(batches).astype(str)
    if len(labels) != len(batches):
        raise InputError(f"{len(labels)} labels and {len(batches)} batches", hint="Give one a cell.")
    embedding = checked(embedding, len(labels), "the embedding")
    if pre is not None:
        pre = checked(pre, len(labels), "the embedding from before integration")
    rows = scored_cells(labels, batches, n_cells=max_cells or PROFILES[profile].cells, seed=seed)
    if not len(rows):
        raise InputError(
            f"no batch has more than {LEAST} labeled cells", hint="Name another column of cell types."
        )
    return score_cells(
        embedding[rows],
        labels[rows],
        batches[rows],
        None if pre is None else pre[rows],
        metrics=PROFILES[profile].metrics,
        seed=seed,
    )


def score_cells(
    x: Floats,
    labels: NDArray,
    batches: NDArray,
    pre: Floats | None = None,
    *,
    metrics: Sequence[str] = tuple(METRICS),
    seed: int = 0,
) -> pd.DataFrame:
    """Compute metrics from exactly the cells given, in their order, on which k-means depends.

    Parameters
    ----------
    x, labels, batches, pre
        As in :func:`scib`; every label is one.
    metrics
        Names from ``METRICS``.
    seed
        Random seed of kBET; k-means begins as scib-metrics has it.

    Returns
    -------
    pandas.DataFrame
        As from :func:`scib`.
    """
    before = None if pre is None else np.asarray(pre, np.float32)
    cells = Cells(np.ascontiguousarray(x, np.float32), labels, batches, before, seed)
    rows = []
    with quiet():
        for name in metrics:
            start, value = perf_counter(), np.nan
            note = _lacking(name, cells)
            if not note:
                try:
                    value = float(getattr(cells, name)())
                    note = _remark(name, value, cells)
                except Exception as error:  # one metric must not cost the others
                    note = f"{type(error).__name__}: {error}"
            used = len(cells.kbet_rows) if name == "kbet" else len(cells.x)
            value = value if np.isfinite(value) else np.nan
            rows.append((name, METRICS[name].kind, value, used, round(perf_counter() - start, 2), note))
    columns = ["metric", "kind", "value", "cells", "seconds", "note"]
    return pd.DataFrame(rows, columns=columns).set_index("metric")


def check_installed() -> None:
    """Raise a MissingExtraError with the pip command if scib-metrics is absent."""
    package()


def checked(x: NDArray, cells: int, what: str) -> Floats:
    """Return (n, d) finite numbers, or raise an InputError that says what is wrong with them."""
    x = np.asarray(x)
    if x.ndim != 2 or len(x) != cells or not x.shape[1]:
        raise InputError(f"{what} has shape {x.shape} for {cells} cells", hint="Give (cells, columns).")
    if x.dtype.kind not in "fiub" or not np.isfinite(x).all():
        raise InputError(f"{what} holds NaN, infinity or no numbers", hint="Fix or remove these rows.")
    return x


def _lacking(name: str, cells: Cells) -> str:
    """Say what a metric would need that these cells do not have."""
    if METRICS[name].kind == "bio" and len(np.unique(cells.labels)) < 2:
        return "there is a single type"
    if METRICS[name].kind == "batch" and len(np.unique(cells.batches)) < 2:
        return "there is a single batch with labels: it says nothing about how batches mix"
    if name == "pcr" and cells.pre is None:
        return "no embedding from before integration was given"
    return ""


def _remark(name: str, value: float, cells: Cells) -> str:
    if not np.isfinite(value):
        return "it has no finite value for these cells"
    if name == "kbet" and len(cells.kbet_rows) < len(cells.x):
        return f"from a sample of the {len(cells.x):,} cells, since its memory grows too fast"
    if name == "pcr" and value == 0:
        return "batches explain no less of the variance than before"
    return ""
