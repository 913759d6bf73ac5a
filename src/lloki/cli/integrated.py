"""Input and output of the commands that analyze an integration."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from anndata import AnnData
    from pandas import DataFrame

PAGES = {  # of each command, in the folder of its other files
    "alignment.html",
    "annotation.html",
    "compare.html",
    "imputation.html",
    "labels.html",
    "neighborhood.html",
    "programs.html",
}


def read_integrated(path: Path) -> AnnData:
    """Read slices in one AnnData, ``.h5ad`` or ``.zarr``.

    Raises
    ------
    InputError
        If there is no such file, or it holds no AnnData.
    """
    from lloki.errors import InputError
    from lloki.io.files import open_input

    if (path / "integrated.h5ad").is_file():
        hint = f"Give its file: {path / 'integrated.h5ad'}."
        raise InputError("is the folder of a run", where=str(path), hint=hint)
    return open_input(path)


def parameters_of(adata: AnnData, function: str) -> dict[str, Any]:
    """Read the parameters that a function of ``lloki.tl`` recorded."""
    from lloki import keys

    parameters: dict[str, Any] = json.loads(adata.uns[keys.UNS][function]["parameters"])
    return parameters


def read_reference(path: Path, *, use_rep: str, slices: AnnData, label_key: str | None = None) -> AnnData:
    """Read an additional reference of single cells, for label transfer or imputation.

    Parameters
    ----------
    path
        An AnnData file, such as ``lloki project-reference`` writes.
    use_rep
        ``obsm`` key of the joint embedding.
    slices
        The slices to label or impute.
    label_key
        ``obs`` column that it must have.

    Raises
    ------
    InputError
        If there is no such file, it holds no AnnData, or the embedding or the column is absent, empty or
        not that of the slices.
    """
    from lloki.errors import InputError

    reference, where = read_integrated(path), str(path)
    run_first = "Run lloki project-reference with the run of these slices first, and give its output."
    if use_rep not in reference.obsm:
        raise InputError("is absent", where=where, slot=f"obsm[{use_rep!r}]", hint=run_first)
    if use_rep in slices.obsm and reference.obsm[use_rep].shape[1] != slices.obsm[use_rep].shape[1]:
        widths = [a.obsm[use_rep].shape[1] for a in (reference, slices)]
        text = f"has {widths[0]} columns where the slices have {widths[1]}"
        raise InputError(text, where=where, slot=f"obsm[{use_rep!r}]", hint=run_first)
    if label_key is not None and label_key not in reference.obs:
        there = ", ".join(map(str, reference.obs)) or "none"
        hint = f"Name one that both have, or rename it. There are: {there}."
        raise InputError("the column is absent", where=where, slot=f"obs[{label_key!r}]", hint=hint)
    if label_key is not None and reference.obs[label_key].isna().all():
        raise InputError("holds no label", where=where, slot=f"obs[{label_key!r}]", hint="Name another.")
    return reference


def check_place(page: Path) -> None:
    """Check that the folder of a page is no file, and does not hold another command's results.

    Raises
    ------
    ConfigError
        If it is or does: tables and figures of one would overwrite the other's.
    """
    from lloki.errors import ConfigError

    if page.parent.exists() and not page.parent.is_dir():
        raise ConfigError(f"{page.parent}: is a file, where --out is a folder. Choose another --out.")
    for name in sorted(PAGES - {page.name}):
        if (page.parent / name).exists():
            raise ConfigError(f"{page.parent}: holds {name} of another command. Choose another --out.")


def write_results(out: Path, name: str, adata: AnnData, tables: Mapping[str, DataFrame]) -> None:
    """Write ``name``.h5ad, and each table as ``.csv``, with its index if that has a name."""
    from lloki.io import atomic

    for title, table in tables.items():
        with atomic(out / f"{title}.csv") as temporary:
            table.to_csv(temporary, index=table.index.name is not None or table.index.nlevels > 1)
    with atomic(out / f"{name}.h5ad") as temporary:
        adata.write_h5ad(temporary, compression="gzip")


def look_at(page: Path, source: Path) -> None:
    """Print where the page is, first of all, and list it among the analyses of the run it comes from."""
    from lloki.report.index_page import add_to_index

    typer.echo(f"Look at: {page.resolve()}")
    index = add_to_index(page, source)
    if index is not None:
        typer.echo(f"All analyses of this run: {index.resolve()}")


def types_in_space(adata: AnnData, column: str, slice_key: str) -> dict[str, Callable[..., object]]:
    """Figures for `write_figures` of the cell types of every slice in space, if there are positions."""
    from functools import partial

    from lloki import keys, pl

    if keys.SPATIAL not in adata.obsm:
        return {}
    names = list(dict.fromkeys(adata.obs[slice_key].astype(str)))
    return {
        f"types-{s}": partial(pl.spatial, adata, color=column, slice=s, slice_key=slice_key) for s in names
    }
