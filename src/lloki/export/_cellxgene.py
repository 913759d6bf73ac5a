"""The file that CZ CELLxGENE Annotate opens: ``cellxgene launch cells.h5ad``."""

from __future__ import annotations

import warnings
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd

from lloki import keys
from lloki.errors import LlokiWarning
from lloki.export._cells import Cells
from lloki.io import atomic
from lloki.pl._coloring import NOT_GIVEN
from lloki.pl._palette import OTHER

MOST_ABSENT = 150_000_000  # values of genes that slices did not measure: 1.2 GB of memory


def write(cells: Cells, out: Path) -> list[Path]:
    """Write ``cells.h5ad``: log-normalized ``X`` by columns, and layouts umap, tissue and aligned.

    Warns
    -----
    LlokiWarning
        If genes that few slices measured are left out, as the file would become too large.
    """
    path = out / "cells.h5ad"
    with atomic(path) as temporary:
        table_of(cells, chosen_genes(cells)).write_h5ad(temporary, compression="gzip")
    return [path]


def table_of(cells: Cells, genes: list[str] | None, *, results_only: bool = False) -> ad.AnnData:
    """Make an AnnData with the layouts and columns that viewers take.

    Parameters
    ----------
    cells
        What to export.
    genes
        To take; None for all.
    results_only
        Leave out columns of ``obs`` that are not results.
    """
    x, names = cells.expression(genes)
    obs = cells.obs.copy()
    if results_only:
        kept = [keys.CELL_ID, cells.slice_key, keys.TECHNOLOGY, *cells.groups]
        obs = obs[[c for c in dict.fromkeys(kept) if c in obs]]
    for column in obs.columns.drop(keys.CELL_ID):  # ids stay text: as many kinds as cells are none
        values = obs[column]
        if values.dtype == bool or values.dtype == object:
            values = values.astype(str).where(values.notna()).astype("category")
        if isinstance(values.dtype, pd.CategoricalDtype):
            obs[column] = _without_gaps(values)
        elif pd.api.types.is_extension_array_dtype(values.dtype):
            obs[column] = values.to_numpy(float, na_value=np.nan)
    found = ad.AnnData(X=x, obs=obs, var=pd.DataFrame(index=pd.Index(names, dtype=object)))
    found.var["n_slices"] = np.sum([np.isin(names, cells.counts(s)[1]) for s in cells.rows], axis=0)
    if keys.UMAP in cells.adata.obsm:
        found.obsm["X_umap"] = np.asarray(cells.adata.obsm[keys.UMAP], np.float32)[cells.all_rows]
    if keys.SPATIAL in cells.adata.obsm:
        found.obsm["X_tissue"] = cells.in_a_row().astype(np.float32)
    if keys.ALIGNED in cells.adata.obsm:
        xy = cells.positions(keys.ALIGNED)
        if np.isfinite(xy).all():
            found.obsm["X_aligned"] = (xy * (1, -1)).astype(np.float32)
    for column in [*cells.groups, cells.slice_key, keys.TECHNOLOGY]:
        if column in found.obs:
            color = cells.colors(column) | {NOT_GIVEN: OTHER}
            found.uns[f"{column}_colors"] = [color[c] for c in found.obs[column].cat.categories]
    return found


def _without_gaps(values: pd.Series) -> pd.Series:
    """Give cells without a category one, which viewers need."""
    values = values.cat.remove_unused_categories()
    if not values.isna().any():
        return values
    if NOT_GIVEN not in values.cat.categories:
        values = values.cat.add_categories([NOT_GIVEN])
    return values.fillna(NOT_GIVEN)


def chosen_genes(cells: Cells) -> list[str]:
    """Choose genes, those of most slices first, until the values to mark as absent are too many."""
    measured = {name: set(cells.counts(name)[1]) for name in cells.rows}
    sizes = {name: len(rows) for name, rows in cells.rows.items()}
    absent = {
        str(g): sum(sizes[s] for s, own in measured.items() if g not in own) for g in cells.adata.var_names
    }
    order = sorted(absent, key=lambda g: absent[g])
    total = np.cumsum([absent[g] for g in order])
    kept = order[: int(np.searchsorted(total, MOST_ABSENT, side="right"))]
    if len(kept) < len(order):
        warnings.warn(
            f"{len(order) - len(kept):,} of {len(order):,} genes, those measured in the fewest cells, are "
            "left out: the file would become too large. Export fewer slices with --slice (slices=).",
            LlokiWarning,
            stacklevel=4,
        )
    return kept
