"""STARmap PLUS: ``raw_expression_pd.csv``, genes × cells, and ``spatial.csv``, with a line of types."""

from __future__ import annotations

import numpy as np
import pandas as pd

from lloki.io.vendors._dense import id_column, read_dense, read_table
from lloki.io.vendors._export import Cells, Export, Vendor, require_columns
from lloki.io.vendors._join import joined

_XYZ = ("X", "Y", "Z")


def read(export: Export) -> Cells:
    """Read counts and the table of cells. The files do not state the unit of positions."""
    dense = read_dense(export.counts, ["GENE"])
    table = read_table(export.cells, ["NAME"])
    names = id_column(table, ["NAME"])
    table = table[names.to_numpy() != "TYPE"].set_index(pd.Index(names[names != "TYPE"], dtype=object))
    require_columns(table, _XYZ[:2], export.cells)
    axes = [axis for axis in _XYZ if axis in table]
    rows, obs, notes = joined(
        np.array(dense.columns, object), table, counts=export.counts, cells=export.cells
    )
    positions = obs[axes].apply(pd.to_numeric, errors="coerce").to_numpy(float)
    notes.append(
        "the unit of positions is not stated in the files: they are used as they are; only scale bars and "
        "the reported spacing depend on it"
    )
    return Cells(
        counts=dense.counts.T.tocsr()[rows],
        features=pd.DataFrame(index=pd.Index(id_column(dense.ids, ["GENE"]).str.strip(), dtype=object)),
        obs=obs.drop(columns=[names.name, *axes]),
        positions=positions,
        unit="",
        notes=notes,
    )


STARMAP = Vendor(
    technology="STARmap PLUS",
    counts=("*raw_expression_pd.csv",),
    cells=("spatial.csv",),
    read=read,
    example="raw_expression_pd.csv and spatial.csv",
)
