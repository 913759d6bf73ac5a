"""Which genes a section of a file measured: those of other panels are stored as zeros in a merged file."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray
from scipy import sparse

from lloki import keys

_EXPECTED = 5.0  # counts expected of a gene from the other sections, at which none is no chance
_MANY = 0.05  # share of the genes that must be so for another panel, rather than tissue that lacks them
_LEAST = 3
_MASKS = ("measured_{}", "{}_measured", "measured in {}", "in_{}", "measured:{}")  # names of columns of var


def measured_by_slice(adata: AnnData) -> dict[str, NDArray[np.bool_]]:
    """Slice → (g,) whether it measured each gene, as an integration recorded it; empty without a record.

    A join with other AnnData leaves NaN for genes that were not in the integration: not measured.
    """
    info = adata.uns.get(keys.UNS, {})
    known = list(map(str, info.get("slices", []))) if isinstance(info, Mapping) else []
    if keys.MEASURED not in adata.varm:
        return {}
    table = np.asarray(adata.varm[keys.MEASURED])
    if table.ndim != 2 or table.shape[1] != len(known):  # a record of other slices
        return {}
    return {name: table[:, i] == 1 for i, name in enumerate(known)}


def measured_genes(
    x: sparse.csr_matrix,
    var: pd.DataFrame,
    sections: Mapping[str, np.ndarray],
    recorded: Mapping[str, np.ndarray] | None = None,
) -> dict[str, np.ndarray]:
    """(g,) bool for each section: the genes that it measured.

    Parameters
    ----------
    x
        (n, g) counts of all sections.
    var
        (g rows) of boolean columns named after a section (``measured_NAME``), which are believed.
    sections
        Rows of each.
    recorded
        Section → (g,) what an integration recorded (:func:`measured_by_slice`), which is believed too.

    Notes
    -----
    Joining files of different panels stores 0 where a panel lacks a gene. Genes without a count in a section
    are judged together: if many would be expected to have counts, by their counts elsewhere and the section's
    depth, the section has another panel, and all genes without a count here that are counted elsewhere were
    not measured. A few such genes are taken as measured, and not expressed.
    """
    totals = np.stack(
        [
            np.bincount(part.indices, part.data, minlength=x.shape[1])
            for part in (x[r] for r in sections.values())
        ]
    )
    cells = np.array([len(rows) for rows in sections.values()], dtype=float)
    counted = totals > 0
    out = {}
    for i, name in enumerate(sections):
        mask = _mask(var, name) if name not in (recorded or {}) else (recorded or {})[name]
        if mask is not None:
            out[name] = mask | counted[i]
            continue
        others = counted.copy()
        others[i] = False
        size = np.maximum(others.T @ cells, 1.0)
        rate = np.where(others, totals, 0.0).sum(axis=0) / size
        shared = counted[i] & (rate > 0)
        depth = totals[i, shared].sum() / cells[i] / rate[shared].sum() if shared.any() else 0.0
        absent = ~counted[i] & (rate > 0)
        missed = absent & (rate * cells[i] * min(depth, 1.0) >= _EXPECTED)
        many = missed.sum() >= max(_LEAST, _MANY * counted.any(axis=0).sum())
        out[name] = ~absent if many else np.ones(x.shape[1], dtype=bool)
    return out


def _mask(var: pd.DataFrame, section: str) -> np.ndarray | None:
    for pattern in _MASKS:
        name = pattern.format(section)
        if name in var.columns and pd.api.types.is_bool_dtype(var[name].dtype):
            return var[name].to_numpy(dtype=bool)
    return None
