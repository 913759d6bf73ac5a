"""What the commands that go on from an integration read and write."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.figure import Figure
    from pandas import DataFrame

_NOT_IN_NAMES = re.compile(r"[^\w.+-]")


def read_integrated(path: Path) -> AnnData:
    """Read slices in one AnnData.

    Raises
    ------
    InputError
        If there is no such file, or it holds no AnnData.
    """
    import anndata

    from lloki.errors import InputError

    if not path.exists():
        raise InputError("does not exist", where=str(path), mend="Give the file's path.")
    try:
        return anndata.read_h5ad(path)
    except Exception as error:  # of other HDF5 files anndata says so by whatever fails first
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        mend = "Give an AnnData file (.h5ad), such as integrated.h5ad of a run."
        raise InputError(f"cannot be read ({said})", where=str(path), mend=mend) from error


def write_results(out: Path, name: str, adata: AnnData, tables: Mapping[str, DataFrame]) -> None:
    """Write ``name``.h5ad, and each table as ``.csv``, with its index if that has a name."""
    from lloki.io import atomic

    for title, table in tables.items():
        with atomic(out / f"{title}.csv") as temporary:
            table.to_csv(temporary, index=table.index.name is not None or table.index.nlevels > 1)
    with atomic(out / f"{name}.h5ad") as temporary:
        adata.write_h5ad(temporary, compression="gzip")


def write_figures(out: Path, drawn: Mapping[str, Figure]) -> None:
    """Write the folder ``figures`` with a PNG of each name, less what file names cannot have."""
    from lloki.io import atomic

    with atomic(out / "figures") as folder:
        folder.mkdir()
        for name, figure in drawn.items():
            safe = _NOT_IN_NAMES.sub("_", name)
            figure.savefig(folder / f"{safe}.png", dpi=150, facecolor="white", bbox_inches="tight")


def look_at(page: Path) -> None:
    """Say first where to look."""
    typer.echo(f"Look at: {page.resolve()}")


def types_in_space(adata: AnnData, column: str, slice_key: str) -> dict[str, Figure]:
    """Draw the cell types of every slice where its cells lie, if that is known."""
    from lloki import keys, pl

    if keys.SPATIAL not in adata.obsm:
        return {}
    names = list(dict.fromkeys(adata.obs[slice_key].astype(str)))
    return {f"types-{s}": pl.spatial(adata, color=column, slice=s, slice_key=slice_key) for s in names}
