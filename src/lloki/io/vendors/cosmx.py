"""CosMx (NanoString, Bruker): flat files ``exprMat_file.csv`` and ``metadata_file.csv``."""

from __future__ import annotations

import numpy as np
import pandas as pd

from lloki.errors import InputError
from lloki.io._findings import number, some
from lloki.io.vendors._dense import read_dense, read_table
from lloki.io.vendors._export import Cells, Export, Vendor, require_columns
from lloki.io.vendors._join import joined

PIXEL = 0.120280945  # micrometers per pixel
_KEY = ("fov", "cell_ID")
_NAMES = ("cell", "cell_id")  # a cell's own name, as c_1_1_1, in newer files
_IDS = ("slide_ID", "Run_Tissue_name", "Slide_name")
_AGREE = 0.02  # relative difference of two pixel sizes that is none


def read(export: Export) -> Cells:
    """Read counts and the table of cells.

    A cell is known by field of view *and* number. Positions are global pixels, else pixels in the field and
    the field's offset, else millimeters on the slide; pixels in the field alone are never used.
    """
    dense = read_dense(export.counts, [*_KEY, *_NAMES], rest=_IDS)
    table = read_table(export.cells, _NAMES)
    require_columns(dense.ids, _KEY, export.counts)
    require_columns(table, _KEY, export.cells)
    cell = _numbers(dense.ids["cell_ID"])
    outside = int((cell == 0).sum())
    inside = np.flatnonzero(cell != 0)
    table = table[_numbers(table["cell_ID"]) != 0]
    rows, obs, notes = joined(
        _keys(dense.ids.iloc[inside]),
        table.set_index(pd.Index(_keys(table), dtype=object)),
        counts=export.counts,
        cells=export.cells,
    )
    if outside:
        notes.append(
            f"{number(outside, 'row')} of {export.counts.name} with cell_ID 0, what lies outside cells, "
            "left out"
        )
    positions, pixel, how = _positions(obs, export)
    notes += how
    own = _own_names(obs)
    obs = obs.set_index(pd.Index(own, dtype=object)) if own is not None else obs
    size = "Area" if "Area" in obs else ""
    if size:
        obs = obs.assign(Area_px2=obs["Area"], Area=obs["Area"].astype(float) * pixel**2)
    return Cells(
        counts=dense.counts[inside[rows]],
        features=pd.DataFrame(index=pd.Index(dense.columns, dtype=object)),
        obs=obs.drop(columns=[name for name in _NAMES if name in obs and own is not None]),
        positions=positions,
        size=size,
        panel=_one(obs, "Panel"),
        notes=notes,
    )


def _keys(table: pd.DataFrame) -> np.ndarray:
    """Field of view and number of each cell as text, ``fov_cell``."""
    fov, cell = (_numbers(table[name]).astype(str) for name in _KEY)
    return np.char.add(np.char.add(fov, "_"), cell).astype(object)


def _numbers(column: pd.Series) -> np.ndarray:
    return pd.to_numeric(column, errors="coerce").fillna(-1).to_numpy(np.int64)


def _own_names(obs: pd.DataFrame) -> np.ndarray | None:
    """Names such as c_1_1_1, where the file has them and each is one cell's."""
    for name in _NAMES:
        if name in obs and obs[name].notna().all() and obs[name].is_unique:
            return obs[name].to_numpy(object)
    return None


def _positions(obs: pd.DataFrame, export: Export) -> tuple[np.ndarray, float, list[str]]:
    """(n, 2) micrometers, the size of a pixel, and what there is to say about both."""
    whole = _pair(obs, "CenterX_global_px", "CenterY_global_px")
    local = _pair(obs, "CenterX_local_px", "CenterY_local_px")
    slide = _pair(obs, "x_slide_mm", "y_slide_mm")
    fields = export.find("fov_positions_file.csv", "fov_positions.csv", "fov_positions_file.txt")
    notes: list[str] = []
    pixel = export.pixel_size or PIXEL
    if export.pixel_size is None and whole is not None and slide is not None:
        pixel, notes = _measured(whole, slide * 1000.0)
    if whole is not None:
        return whole * pixel, pixel, notes
    if local is not None and fields is not None:
        offset = _offsets(obs, read_table(fields, []), fields.name, pixel)
        notes.append(f"positions are pixels in a field of view and the field's offset in {fields.name}")
        return local * pixel + offset, pixel, notes
    if slide is not None:
        return slide * 1000.0, pixel, notes
    have = "positions inside fields of view only" if local is not None else "no positions of cells"
    file = f"{export.prefix}_fov_positions_file.csv".lstrip("_")
    raise InputError(
        f"has {have}, and fields would lie on one another",
        where=str(export.cells),
        slot="CenterX_global_px, CenterY_global_px",
        hint=f"Copy the file of the fields' positions ({file}) into the folder.",
    )


def _offsets(obs: pd.DataFrame, fields: pd.DataFrame, name: str, pixel: float) -> np.ndarray:
    """(n, 2) micrometers from the origin to the corner of each cell's field of view."""
    lower = {str(column).lower(): column for column in fields.columns}
    fov = lower.get("fov", fields.columns[0])
    for x, y, unit in (
        ("x_global_px", "y_global_px", pixel),
        ("x_px", "y_px", pixel),
        ("x_mm", "y_mm", 1000.0),
        ("x_global_mm", "y_global_mm", 1000.0),
    ):
        if x in lower and y in lower:
            known = fields[[lower[x], lower[y]]].set_axis(_numbers(fields[fov]))
            found = known[~known.index.duplicated()].reindex(_numbers(obs["fov"])).to_numpy(float) * unit
            lost = np.unique(_numbers(obs["fov"])[np.isnan(found).any(axis=1)])
            if len(lost):
                raise InputError(
                    f"lacks {number(len(lost), 'field')} of view that have cells ({some(lost)})",
                    where=name,
                    hint="Copy the complete file from the export.",
                )
            return found
    raise InputError(
        f"has no positions of fields of view; its columns: {some(fields.columns)}",
        where=name,
        hint="It should have x_global_px and y_global_px, or X_mm and Y_mm.",
    )


def _measured(pixels: np.ndarray, micrometers: np.ndarray) -> tuple[float, list[str]]:
    """Size of a pixel by the two positions of each cell, where it is not the usual one."""
    spread = np.ptp(pixels[:, 0])
    found = float(np.ptp(micrometers[:, 0]) / spread) if spread > 0 else PIXEL
    if not np.isfinite(found) or abs(found / PIXEL - 1) < _AGREE or not 0.05 < found < 1:
        return PIXEL, []
    return found, [f"a pixel is {found:.4f} micrometers, by x_slide_mm, not the usual {PIXEL:.4f}"]


def _pair(obs: pd.DataFrame, x: str, y: str) -> np.ndarray | None:
    if x not in obs or y not in obs:
        return None
    values = obs[[x, y]].apply(pd.to_numeric, errors="coerce").to_numpy(float)
    return values if np.isfinite(values).any() else None


def _one(obs: pd.DataFrame, column: str) -> str:
    values = list(obs[column].dropna().unique()) if column in obs else []
    return str(values[0]) if len(values) == 1 else ""


COSMX = Vendor(
    technology="CosMx",
    counts=("exprMat_file.csv",),
    cells=("metadata_file.csv",),
    read=read,
    example="exprMat_file.csv and metadata_file.csv",
)
