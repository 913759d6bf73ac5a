"""MERSCOPE (Vizgen): ``cell_by_gene.csv`` and ``cell_metadata.csv``, joined by ids of up to 39 digits."""

from __future__ import annotations

import pandas as pd

from lloki.io.vendors._dense import id_column, read_dense, read_table
from lloki.io.vendors._export import Cells, Export, Vendor, require_columns
from lloki.io.vendors._join import joined

_IDS = ("EntityID", "cell", "cell_id", "cellID")
_XY = ("center_x", "center_y")


def read(export: Export) -> Cells:
    """Read counts and the table of cells; positions are in micrometers."""
    dense = read_dense(export.counts, _IDS)
    table = read_table(export.cells, [*_IDS, "X"])
    require_columns(table, _XY, export.cells)
    # R calls the first column, which has no name, X
    first = id_column(table, [*_IDS, "X"] if table.columns[0] == "X" else _IDS)
    table = table.set_index(pd.Index(first, dtype=object))
    ids = id_column(dense.ids, _IDS).str.strip().to_numpy(object)
    rows, obs, notes = joined(ids, table, counts=export.counts, cells=export.cells)
    return Cells(
        counts=dense.counts[rows],
        features=pd.DataFrame(index=pd.Index(dense.columns, dtype=object)),
        obs=obs.drop(columns=[first.name, *_XY]),
        positions=obs[list(_XY)].to_numpy(float),
        size="volume" if "volume" in obs else "",
        notes=notes,
    )


MERSCOPE = Vendor(
    technology="MERSCOPE",
    counts=("cell_by_gene.csv",),
    cells=("cell_metadata.csv",),
    read=read,
    example="cell_by_gene.csv and cell_metadata.csv",
)
