"""Xenium (10x Genomics): ``cell_feature_matrix`` and ``cells``, each in several forms."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd

from lloki.errors import MissingExtraError
from lloki.io.vendors._dense import id_column, read_table
from lloki.io.vendors._export import Cells, Export, Vendor, require_columns
from lloki.io.vendors._join import joined
from lloki.io.vendors._tenx import cell_names, open_zip, read_matrix, text

_XY = ("x_centroid", "y_centroid")
_ZARR = {"cell_centroid_x": _XY[0], "cell_centroid_y": _XY[1]}
_FACTS = {"region_name": "region", "analysis_sw_version": "software", "panel_tissue_type": "panel_tissue"}


def read(export: Export) -> Cells:
    """Read counts, and the table of cells, whose order may differ; positions are in micrometers."""
    matrix = read_matrix(export.counts)
    table, path = _cells(export)
    require_columns(table, _XY, path)
    rows, obs, notes = joined(matrix.cells, table, counts=export.counts, cells=path)
    panel, facts = _experiment(export)
    return Cells(
        counts=matrix.counts[rows],
        features=matrix.features,
        obs=obs.drop(columns=list(_XY)),
        positions=obs[list(_XY)].to_numpy(float),
        size="cell_area" if "cell_area" in obs else "",
        panel=panel,
        facts=facts,
        notes=notes,
    )


def _cells(export: Export) -> tuple[pd.DataFrame, Path]:
    """Table of cells under their ids; parquet only where a package for it is installed."""
    path = export.cells
    if path.suffix == ".parquet":
        other = export.find("cells.zarr.zip")
        if find_spec("pyarrow") is None:
            if other is None:
                raise MissingExtraError("pyarrow", "parquet", f"Reading {path}")
            path = other
    if path.name.endswith(".zarr.zip"):
        return _zarr(path), path
    if path.suffix == ".parquet":
        table = pd.read_parquet(path)
        return table.set_index(pd.Index(text(id_column(table, ["cell_id"])), dtype=object)), path
    table = read_table(path, ["cell_id"])
    return table.set_index(pd.Index(id_column(table, ["cell_id"]), dtype=object)), path


def _zarr(path: Path) -> pd.DataFrame:
    group = open_zip(path)
    summary = group["cell_summary"]
    names = [_ZARR.get(name, name) for name in dict(summary.attrs)["column_names"]]
    ids = cell_names(np.asarray(group["cell_id"][:]))
    return pd.DataFrame(np.asarray(summary[:]), columns=names, index=pd.Index(ids, dtype=object))


def _experiment(export: Export) -> tuple[str, dict[str, str]]:
    """Panel, and facts for ``uns``, from ``experiment.xenium``, which an excerpt may lack."""
    path = export.find("experiment.xenium")
    if path is None:
        return "", {}
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise export.damaged(path, f"is not valid JSON ({error})") from error
    known = {key: str(value) for key, value in about.items() if value not in ("", "N/A", None)}
    panel = known.get("panel_name", "")
    if panel and about.get("panel_num_targets_custom"):  # genes added to a panel of that name
        panel += f" + {about['panel_num_targets_custom']} custom"
    return panel, {name: known[key] for key, name in _FACTS.items() if key in known}


XENIUM = Vendor(
    technology="Xenium",
    counts=("cell_feature_matrix.h5", "cell_feature_matrix", "cell_feature_matrix.zarr.zip"),
    cells=("cells.csv", "cells.parquet", "cells.zarr.zip"),
    read=read,
    example="cell_feature_matrix.h5 and cells.csv.gz",
)
