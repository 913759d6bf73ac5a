"""What gene programs mean: the types that use them, their order in space, their genes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pandas as pd
from anndata import AnnData

from lloki import keys
from lloki.errors import InputError
from lloki.tl._parts import read_parts

_NONE = "Run lloki.tl.metagenes first."


def enrichment(
    adatas: AnnData | Sequence[AnnData],
    label_key: str,
    *,
    key: str = keys.METAGENES,
    slice_key: str = keys.SLICE,
    least: int = 10,
) -> dict[str, pd.DataFrame]:
    """Tell how strongly each cell type uses each metagene, slice by slice.

    Parameters
    ----------
    adatas
        All slices in one AnnData, or one AnnData each, with metagenes of :func:`lloki.tl.metagenes`.
    label_key
        ``obs`` column of cell types; cells without a value are left out.
    key
        ``obsm`` key of the states.
    slice_key
        ``obs`` column that names the slices.
    least
        Cells that a type must have in a slice.

    Returns
    -------
    Slice → types by metagenes (``"metagene1"``, ``"metagene2"``, …), see :func:`lloki.analysis.enrichment`;
    slices without labels are left out.

    Raises
    ------
    InputError
        If the states are absent, or no slice has a type of enough cells.
    """
    from lloki import analysis
    from lloki.tl import _programs

    parts = read_parts(adatas, slice_key=slice_key)
    columns = {part.name: part.column(label_key) for part in parts}
    slot = f"obs[{label_key!r}]"
    if all(column is None for column in columns.values()):
        there = ", ".join(map(str, parts[0].own.obs))
        raise InputError("the column is absent", slot=slot, hint=f"There are: {there}.")
    found = {}
    for part in parts:
        labels, states = columns[part.name], part.obsm(key, hint=_NONE)
        if labels is not None and max(Counter(labels[labels != ""]).values(), default=0) >= least:
            table = analysis.enrichment(states, labels, least=least)
            found[part.name] = table.set_axis(_programs.names(table.shape[1]), axis=1)
    if not found:
        raise InputError(f"no slice has a type of {least} cells", slot=slot, hint="Name another column.")
    return found


def moran(
    adatas: AnnData | Sequence[AnnData],
    *,
    key: str = keys.METAGENES,
    slice_key: str = keys.SLICE,
    neighbors: int | None = None,
) -> pd.DataFrame:
    """Compute Moran's I of every metagene, or every column of another embedding, in each slice.

    Parameters
    ----------
    adatas
        All slices in one AnnData, or one AnnData each, with positions.
    key
        ``obsm`` key, (n, K).
    slice_key
        ``obs`` column that names the slices.
    neighbors
        Make the spatial graph of as many nearest cells; default the Delaunay triangulation.

    Returns
    -------
    pandas.DataFrame
        A column a slice, and K rows: ``"metagene1"``, ``"metagene2"``, …, or of another key ``"X_pca"``
        ``"X_pca:0"``, …. See :func:`lloki.analysis.moran`; NaN where a metagene is constant in a slice.

    Raises
    ------
    InputError
        If values or positions are absent or not finite, or a slice has no neighbors.
    """
    from lloki import analysis
    from lloki.tl import _programs
    from lloki.tl._sections import read_sections

    sections = read_sections(adatas, key=key, slice_key=slice_key)
    found = {
        s.name: analysis.moran(s.values, graph)
        for s, graph in zip(sections, _programs.graphs(sections, neighbors))
    }
    width = sections[0].values.shape[1]
    rows = _programs.names(width) if key == keys.METAGENES else [f"{key}:{i}" for i in range(width)]
    return pd.DataFrame(found, index=rows)


def gene_loadings(
    adatas: AnnData | Sequence[AnnData],
    *,
    key: str = keys.METAGENES,
    slice_key: str = keys.SLICE,
    layer: str | None = None,
    ridge: float = 1e-2,
) -> pd.DataFrame:
    """Name the genes of metagenes, slice by slice, whatever features these were found in.

    A metagene of the embedding has no genes of its own. Each slice says what it can of it: every gene that
    it measured is regressed on the states of its cells.

    Parameters
    ----------
    adatas
        All slices in one AnnData, or one AnnData each, with metagenes of :func:`lloki.tl.metagenes` and
        counts.
    key
        ``obsm`` key of the states, (n, K).
    slice_key
        ``obs`` column that names the slices.
    layer
        Layer of counts, where ``X`` does not hold them.
    ridge
        Of :func:`lloki.analysis.gene_loadings`.

    Returns
    -------
    pandas.DataFrame
        Columns slice, metagene (``"metagene1"``, …), gene and weight: by how many standard deviations more of
        the gene a cell has that uses the metagene alone than the slice's mean cell. The largest weights of a
        metagene first.

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
    from lloki.tl import _programs

    found = []
    for part in read_parts(adatas, slice_key=slice_key):
        states = part.obsm(key, hint=_NONE)
        counts, genes = part.counts(layer)
        table = analysis.gene_loadings(log_normalize(counts), states, genes, ridge=ridge)
        for name, weights in zip(_programs.names(table.shape[1]), table.to_numpy().T):
            down = np.argsort(-weights, kind="stable")
            columns = {"slice": part.name, "metagene": name, "gene": table.index[down]}
            found.append(pd.DataFrame(columns | {"weight": weights[down]}))
    return pd.concat(found, ignore_index=True)
