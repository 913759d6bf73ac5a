"""Molecular Cartography (Resolve): ``cellxgene.csv``, counts and cells in one, of nf-core/molkart.

The instrument itself writes transcripts only (``results.txt``).
"""

from __future__ import annotations

import pandas as pd

from lloki.io.vendors._dense import id_column, read_dense
from lloki.io.vendors._export import Cells, Export, Vendor, require_columns

PIXEL = 0.138  # micrometers per pixel
_XY = ("X_centroid", "Y_centroid")
_SHAPE = (
    *("Area", "MajorAxisLength", "MinorAxisLength", "Eccentricity", "Solidity", "Extent", "Orientation"),
)


def read(export: Export) -> Cells:
    """Read counts and cells; positions are pixels of the image."""
    dense = read_dense(export.counts, ("CellID",), rest=(*_XY, *_SHAPE))
    require_columns(dense.ids, _XY, export.counts)
    ids = id_column(dense.ids, ("CellID",))
    obs = dense.ids.drop(columns=[ids.name, *_XY]).apply(pd.to_numeric, errors="coerce")
    obs.index = pd.Index(ids.str.strip(), dtype=object)
    pixel = export.pixel_size or PIXEL
    if "Area" in obs:
        obs["Area_px2"], obs["Area"] = obs["Area"], obs["Area"] * pixel**2
    return Cells(
        counts=dense.counts,
        features=pd.DataFrame(index=pd.Index(dense.columns, dtype=object)),
        obs=obs,
        positions=dense.ids[list(_XY)].apply(pd.to_numeric, errors="coerce").to_numpy(float) * pixel,
        size="Area" if "Area" in obs else "",
        notes=[f"positions are taken as pixels of {pixel:g} micrometers"],
    )


MOLECULAR_CARTOGRAPHY = Vendor(
    technology="Molecular Cartography",
    counts=("cellxgene.csv",),
    cells=("cellxgene.csv",),
    read=read,
    example="*.cellxgene.csv of nf-core/molkart",
)
