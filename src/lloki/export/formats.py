"""Exporting a run: what is read, where it goes, which format writes it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import anndata as ad

from lloki import keys
from lloki._names import did_you_mean
from lloki.errors import ConfigError, InputError
from lloki.export import _cellxgene, _seurat, _spatialdata, _tables, _vitessce
from lloki.export._cells import Cells
from lloki.io.trust import read_checked
from lloki.pl._slots import chosen_slices

FORMATS: dict[str, Callable[..., list[Path]]] = {
    "csv": _tables.write_csv,
    "spatialdata": _spatialdata.write,
    "cellxgene": _cellxgene.write,
    "vitessce": _vitessce.write,
    "xenium-explorer": _tables.write_xenium_explorer,
    "seurat": _seurat.write,
}


def export(
    run: str | Path | ad.AnnData,
    *,
    to: str,
    out: str | Path,
    slices: str | Sequence[str] | None = None,
    slice_key: str = keys.SLICE,
    in_place: bool = False,
) -> list[Path]:
    """Write results in the files of another program.

    Parameters
    ----------
    run
        Folder of a run, an ``.h5ad`` that an analysis wrote, or an AnnData.
    to
        ``"csv"``, ``"spatialdata"``, ``"cellxgene"``, ``"vitessce"``, ``"xenium-explorer"`` or ``"seurat"``.
    out
        Folder to write to.
    slices
        Names of the slices to export; default all. For Xenium Explorer, those of Xenium.
    slice_key
        Column of ``obs`` that names the slices.
    in_place
        For SpatialData: add a table ``"lloki"`` to the stores that the slices were read from, in place of a
        new store.

    Returns
    -------
    list of Path
        What was written, the file to open first.

    Raises
    ------
    ConfigError
        There is no such format, or ``in_place`` is given for another one than SpatialData.
    InputError
        The run cannot be read, there is no such slice, or a slot that the format needs is absent.
    MissingExtraError
        For SpatialData, if the package is absent.
    OutputError
        The place cannot be written.

    Notes
    -----
    Cells are named as in ``obs_names``, with the name in the slice's own file as ``cell_id``. Genes that a
    slice did not measure are never written as 0 for it: they are absent from its matrix, or NaN.
    """
    if to not in FORMATS:
        raise ConfigError(f"There is no format {to!r}. {did_you_mean(to, FORMATS)}")
    options: dict[str, Any] = {}
    if in_place:
        if to != "spatialdata":
            raise ConfigError(f"in_place is for SpatialData; {to} writes files of its own.")
        options["in_place"] = True
    adata = run if isinstance(run, ad.AnnData) else _read(Path(run).expanduser())
    if slice_key not in adata.obs:
        hint = f"Name the column of slices with slice_key. There are: {', '.join(map(str, adata.obs))}."
        raise InputError("the column is absent", slot=f"obs[{slice_key!r}]", hint=hint)
    if to == "xenium-explorer" and slices is None:
        slices = _tables.xenium_slices(adata, slice_key)
    rows = chosen_slices(adata, slices, slice_key)
    return FORMATS[to](Cells(adata, rows, slice_key), Path(out).expanduser(), **options)


def _read(path: Path) -> ad.AnnData:
    """Read the cells of a run, or of an analysis.

    Raises
    ------
    InputError
        If there are none.
    """
    file = path / "integrated.h5ad" if path.is_dir() else path
    if not file.exists():
        hint = "Give the folder of a finished run, or the .h5ad that an analysis wrote."
        raise InputError("does not exist", where=str(file), hint=hint)
    try:
        return read_checked(file)
    except InputError:
        raise
    except Exception as error:  # on other HDF5 files anndata raises whatever fails first
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        hint = "Give an AnnData file (.h5ad), such as integrated.h5ad of a run."
        raise InputError(f"cannot be read ({reason})", where=str(file), hint=hint) from error
