"""seqFISH (Spatial Genomics): ``CellxGene.csv`` and ``CellCoordinates.csv``, one pair a region."""

from __future__ import annotations

import pandas as pd

from lloki.io.vendors._dense import id_column, read_dense, read_table
from lloki.io.vendors._export import Cells, Export, Vendor, require_columns
from lloki.io.vendors._join import joined

_XY = ("center_x", "center_y")


def read(export: Export) -> Cells:
    """Read counts and coordinates of cells, which the instrument's software exports in micrometers."""
    dense = read_dense(export.counts, ("label", "cell", "cell_id", "cellid"))
    table = read_table(export.cells, ("label", "cell", "cell_id", "cellid"))
    require_columns(table, _XY, export.cells)
    ids = id_column(dense.ids, ("label", "cell", "cell_id", "cellid")).str.strip().to_numpy(object)
    own = id_column(table, ("label", "cell", "cell_id", "cellid")).astype(str)
    table = table.set_index(pd.Index(own, dtype=object))
    rows, obs, notes = joined(ids, table, counts=export.counts, cells=export.cells)
    return Cells(
        counts=dense.counts[rows],
        features=pd.DataFrame(index=pd.Index(dense.columns, dtype=object)),
        obs=obs.drop(columns=[own.name, *_XY]),
        positions=obs[list(_XY)].to_numpy(float),
        size="area" if "area" in obs else "",
        notes=notes,
    )


SEQFISH = Vendor(
    technology="seqFISH",
    counts=("CellxGene.csv",),
    cells=("CellCoordinates.csv",),
    read=read,
    example="CellxGene.csv and CellCoordinates.csv",
)
