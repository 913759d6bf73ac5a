"""``lloki view``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from lloki.cli import options
from lloki.cli.console import reporting
from lloki.cli.defaults import given
from lloki.cli.failures import Debug


def view(
    run: Annotated[
        Path,
        typer.Argument(metavar="RUN", help="Folder of a run, or any .h5ad of slices with an embedding."),
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILE.html", help="Page to write. Default: view.html beside it."),
    ] = None,
    color: Annotated[
        list[str] | None,
        typer.Option(
            "--color", metavar="NAME", help="Column of obs or gene to offer; repeatable, the first is shown."
        ),
    ] = None,
    label_key: options.LabelKey = None,
    slice_key: options.SliceColumn = None,
    no_open: Annotated[
        bool | None, typer.Option("--no-open", help="Only write the page, and open no browser.")
    ] = None,
    debug: Debug = False,
) -> None:
    """Explore cells in the browser: embedding and tissue side by side, without a server or a network."""
    with reporting(debug=debug):
        from lloki._names import did_you_mean
        from lloki.cli.integrated import read_integrated
        from lloki.errors import InputError
        from lloki.report.index_page import add_to_index
        from lloki.report.view_page import build_view_page

        file = run / "integrated.h5ad" if run.is_dir() else run
        adata = read_integrated(file)
        label_key = label_key or _label_key(file.parent)
        wanted = color or []
        for name in [*wanted, *([label_key] if label_key else [])]:
            if name not in adata.obs and name not in adata.var_names:
                hint = did_you_mean(name, [*map(str, adata.obs), *map(str, adata.var_names)])
                raise InputError(
                    f"{name!r} is neither a column of obs nor a gene", where=str(file), hint=hint
                )
        page = build_view_page(
            adata,
            label_key=label_key,
            genes=[c for c in wanted if c not in adata.obs],
            columns=[c for c in wanted if c in adata.obs],
            first=wanted[0] if wanted else None,
            title=f"Cells of {file.resolve().parent.name}",
            out=out or file.parent / "view.html",
            **given(slice_key=slice_key),
        )
        add_to_index(page, file)
    typer.echo(f"Look at: {page.resolve()}")
    if not no_open:
        import webbrowser

        webbrowser.open(page.resolve().as_uri())


def _label_key(folder: Path) -> str | None:
    """Return the column of labels that a run was given, if the folder is that of a run."""
    try:
        return json.loads((folder / "run.json").read_text(encoding="utf-8"))["parameters"].get("label_key")
    except (OSError, ValueError, KeyError, AttributeError):
        return None
