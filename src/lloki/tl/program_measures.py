"""Interpretation of gene programs: cell types that use them, spatial autocorrelation, genes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from anndata import AnnData

from lloki import keys
from lloki._keywords import keywords
from lloki._metagene_tables import RUN_METAGENES, enrichment_by_slice, metagene_names, moran_by_slice
from lloki._parts import owners, read_parts, record


@keywords
def enrichment(
    adatas: AnnData | Sequence[AnnData],
    label_key: str,
    *,
    use_rep: str = keys.METAGENES,
    slice_key: str = keys.SLICE,
    min_cells: int = 10,
    key_added: str = "enrichment",
) -> dict[str, pd.DataFrame]:
    """Compute how strongly each cell type uses each metagene, slice by slice.

    Parameters
    ----------
    adatas
        All slices in one AnnData, or one AnnData each, with metagenes of :func:`lloki.tl.metagenes`.
    label_key
        ``obs`` column of cell types; cells without a value are left out.
    use_rep
        ``obsm`` key of the states.
    slice_key
        ``obs`` column that names the slices, as squidpy's ``library_key``.
    min_cells
        Minimum number of cells of a type in a slice.
    key_added
        Name under ``uns["lloki"]``.

    Returns
    -------
    Slice → types by metagenes (``"metagene1"``, ``"metagene2"``, …), see :func:`lloki.analysis.enrichment`;
    slices without labels are left out. Written into ``adatas``, with the columns slice and type in front:
    ``uns["lloki"]["enrichment"]["table"]``.

    Raises
    ------
    InputError
        If the states are absent, or no slice has a type of enough cells.
    """
    found = enrichment_by_slice(adatas, label_key, use_rep=use_rep, slice_key=slice_key, min_cells=min_cells)
    parameters = {"label_key": label_key, "use_rep": use_rep, "min_cells": min_cells}
    flat = pd.concat(found, names=["slice", "type"]).reset_index()
    record(owners(read_parts(adatas, slice_key=slice_key)), key_added, parameters, table=flat)
    return found


@keywords
def moran(
    adatas: AnnData | Sequence[AnnData],
    *,
    use_rep: str = keys.METAGENES,
    slice_key: str = keys.SLICE,
    n_neighbors: int | None = None,
    key_added: str = "moran",
) -> pd.DataFrame:
    """Compute Moran's I of every metagene, or every column of another embedding, in each slice.

    Parameters
    ----------
    adatas
        All slices in one AnnData, or one AnnData each, with positions.
    use_rep
        ``obsm`` key, (n, K).
    slice_key
        ``obs`` column that names the slices, as squidpy's ``library_key``.
    n_neighbors
        Number of nearest cells in the spatial graph; default the Delaunay triangulation without its longest
        edges.
    key_added
        Name under ``uns["lloki"]``.

    Returns
    -------
    pandas.DataFrame
        One column per slice, and K rows: ``"metagene1"``, ``"metagene2"``, …, or of another embedding
        ``"X_pca"``: ``"X_pca:0"``, …. See :func:`lloki.analysis.moran`; NaN where a metagene is constant in a
        slice. Written into ``adatas`` with one row per slice: ``uns["lloki"]["moran"]["table"]``.

    Raises
    ------
    InputError
        If values or positions are absent or not finite, or a slice has no neighbors.
    """
    table = moran_by_slice(adatas, use_rep=use_rep, slice_key=slice_key, n_neighbors=n_neighbors)
    flat = table.T.rename_axis(index="slice", columns=None).reset_index()
    parameters = {"use_rep": use_rep, "n_neighbors": n_neighbors}
    record(owners(read_parts(adatas, slice_key=slice_key)), key_added, parameters, table=flat)
    return table


@keywords
def gene_loadings(
    adatas: AnnData | Sequence[AnnData],
    *,
    use_rep: str = keys.METAGENES,
    slice_key: str = keys.SLICE,
    layer: str | None = None,
    ridge: float = 1e-2,
    key_added: str = "gene_loadings",
) -> pd.DataFrame:
    """Find the genes of metagenes, slice by slice, whatever features these were fitted to.

    A metagene of the embedding has no genes of its own. In each slice, every gene that it measured is
    regressed on the states of its cells.

    Parameters
    ----------
    adatas
        All slices in one AnnData, or one AnnData each, with metagenes of :func:`lloki.tl.metagenes` and
        counts.
    use_rep
        ``obsm`` key of the states, (n, K).
    slice_key
        ``obs`` column that names the slices, as squidpy's ``library_key``.
    layer
        Layer of counts, where ``X`` does not hold them.
    ridge
        See :func:`lloki.analysis.gene_loadings`.
    key_added
        Name under ``uns["lloki"]``.

    Returns
    -------
    pandas.DataFrame
        Columns slice, metagene (``"metagene1"``, …), gene and weight: how many standard deviations more of
        the gene a cell expresses that uses the metagene alone than the slice's mean cell. The largest weights
        of a metagene first. Written into ``adatas``: ``uns["lloki"]["gene_loadings"]["table"]``.

    Raises
    ------
    InputError
        If states or counts are absent, negative or not finite.

    Notes
    -----
    Time grows with cells x K x genes; the table has slices x K x genes rows.
    """
    from lloki import analysis
    from lloki.fp import log_normalize

    parts, found = read_parts(adatas, slice_key=slice_key), []
    for part in parts:
        states = part.obsm(use_rep, hint=RUN_METAGENES)
        counts, genes = part.counts(layer)
        table = analysis.gene_loadings(log_normalize(counts), states, genes, ridge=ridge)
        for name, weights in zip(metagene_names(table.shape[1]), table.to_numpy().T):
            down = np.argsort(-weights, kind="stable")
            columns = {"slice": part.name, "metagene": name, "gene": table.index[down]}
            found.append(pd.DataFrame(columns | {"weight": weights[down]}))
    table = pd.concat(found, ignore_index=True)
    record(owners(parts), key_added, {"use_rep": use_rep, "layer": layer, "ridge": ridge}, table=table)
    return table
