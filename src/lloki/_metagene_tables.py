"""Enrichment and spatial autocorrelation of metagenes, slice by slice: for `tl` and `pl`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pandas as pd
from anndata import AnnData

from lloki import keys
from lloki._parts import read_parts
from lloki.errors import InputError

RUN_METAGENES = "Run lloki.tl.metagenes first."


def metagene_names(k: int) -> pd.Index:
    """Names of K metagenes in tables, from 1 as in figures."""
    return pd.Index([f"metagene{i + 1}" for i in range(k)], name="metagene")


def enrichment_by_slice(
    adatas: AnnData | Sequence[AnnData],
    label_key: str,
    *,
    use_rep: str = keys.METAGENES,
    slice_key: str = keys.SLICE,
    min_cells: int = 10,
) -> dict[str, pd.DataFrame]:
    """Compute enrichment; parameters, result and errors as of :func:`lloki.tl.enrichment`."""
    from lloki import analysis

    parts = read_parts(adatas, slice_key=slice_key)
    columns = {part.name: part.labels(label_key) for part in parts}
    slot = f"obs[{label_key!r}]"
    if all(column is None for column in columns.values()):
        there = ", ".join(map(str, parts[0].own.obs))
        raise InputError("the column is absent", slot=slot, hint=f"There are: {there}.")
    found = {}
    for part in parts:
        labels, states = columns[part.name], part.obsm(use_rep, hint=RUN_METAGENES)
        if labels is not None and max(Counter(labels[labels != ""]).values(), default=0) >= min_cells:
            table = analysis.enrichment(states, labels, min_cells=min_cells)
            found[part.name] = table.set_axis(metagene_names(table.shape[1]), axis=1)
    if not found:
        raise InputError(f"no slice has a type of {min_cells} cells", slot=slot, hint="Name another column.")
    return found


def moran_by_slice(
    adatas: AnnData | Sequence[AnnData],
    *,
    use_rep: str = keys.METAGENES,
    slice_key: str = keys.SLICE,
    n_neighbors: int | None = None,
) -> pd.DataFrame:
    """Compute Moran's I; parameters, result and errors as of :func:`lloki.tl.moran`."""
    from lloki import analysis

    found, rows = {}, pd.Index([])
    for part in read_parts(adatas, slice_key=slice_key):
        values = part.embedding(use_rep)
        graph = analysis.spatial_neighbors(part.positions(), n_neighbors=n_neighbors)
        found[part.name] = analysis.moran(values, graph)
        width = values.shape[1]
        named = use_rep == keys.METAGENES
        rows = metagene_names(width) if named else pd.Index([f"{use_rep}:{i}" for i in range(width)])
    return pd.DataFrame(found, index=rows)
