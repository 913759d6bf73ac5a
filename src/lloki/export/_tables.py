"""Tables of cells: one CSV of everything, and the groups that Xenium Explorer reads."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd

from lloki import keys
from lloki._names import free_name
from lloki.errors import InputError
from lloki.export._cells import Cells
from lloki.io import atomic

_NOT_IN_NAMES = re.compile(r"[^\w.+-]")


def write_csv(cells: Cells, out: Path) -> list[Path]:
    """Write ``cells.csv``: a row a cell with its names, positions, results, and all columns of ``obs``."""
    adata, columns = cells.adata, {keys.CELL_ID: cells.obs[keys.CELL_ID].to_numpy()}
    for key, suffix in ((keys.SPATIAL, ""), (keys.ALIGNED, "_aligned")):
        if key in adata.obsm:
            values = np.asarray(adata.obsm[key])[cells.all_rows].T
            columns |= {f"{name}{suffix}": x for name, x in zip("xyz", values)}
    for key, prefix in ((keys.UMAP, "umap"), (keys.METAGENES, "metagene")):
        if key in adata.obsm:
            values = np.asarray(adata.obsm[key])[cells.all_rows].T
            columns |= {f"{prefix}{i + 1}": x for i, x in enumerate(values)}
    for name in cells.obs.columns.drop(keys.CELL_ID):
        columns[free_name(str(name), columns)] = cells.obs[name].array
    with atomic(out / "cells.csv") as temporary:
        pd.DataFrame(columns, index=cells.obs.index).rename_axis("cell").to_csv(temporary)
    return [out / "cells.csv"]


def xenium_slices(adata: ad.AnnData, slice_key: str) -> list[str]:
    """Names of the slices of Xenium.

    Raises
    ------
    InputError
        If there are none.
    """
    technology = adata.obs.get(keys.TECHNOLOGY, pd.Series("", index=adata.obs_names)).astype(str)
    found = adata.obs.loc[technology.str.contains("xenium", case=False).to_numpy(), slice_key]
    if found.empty:
        there = ", ".join(dict.fromkeys(technology)) or "none"
        raise InputError(
            "no slice is of the technology Xenium",
            slot=f"obs[{keys.TECHNOLOGY!r}]",
            hint=f"Name the slices with --slice (slices=). Technologies are: {there}.",
        )
    return list(dict.fromkeys(found.astype(str)))


def write_xenium_explorer(cells: Cells, out: Path) -> list[Path]:
    """Write ``SLICE/GROUPS.csv`` with the columns ``cell_id`` and ``group``, for every result of groups.

    Raises
    ------
    InputError
        If there is no result of groups.
    """
    if not cells.groups:
        raise InputError("there are no clusters, labels, domains or programs", slot="obs")
    where, written = cells.obs[cells.slice_key].astype(str), []
    for name, folder in file_names(cells.rows).items():
        own = cells.obs[(where == name).to_numpy()]
        for column, title in cells.groups.items():
            known = own[own[column].notna()]
            path = out / folder / f"{title}.csv"
            with atomic(path) as temporary:
                table = known[[keys.CELL_ID, column]].astype(str)
                table.set_axis(["cell_id", "group"], axis=1).to_csv(temporary, index=False)
            written.append(path)
    return written


def safe_name(name: str) -> str:
    """Replace what file names cannot have; no name starts with a dot, so that none is a folder above."""
    return re.sub(r"^\.", "_", _NOT_IN_NAMES.sub("_", name)) or "_"


def file_names(names: Iterable[str], taken: Iterable[str] = ()) -> dict[str, str]:
    """Slice -> name for its files, no two alike (upper and lower case are one on some disks)."""
    used, found = {name.lower() for name in taken}, {}
    for name in names:
        safe = safe_name(name)
        while safe.lower() in used:
            safe += "_"
        used.add(safe.lower())
        found[name] = safe
    return found
