"""``lloki programs``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from lloki.cli import options
from lloki.cli.failures import Debug
from lloki.cli.tables import show_frame
from lloki.cli.voice import speaking

_SLICES, _METHOD = "Slices", "Method"


def programs(
    integrated: Annotated[
        Path, typer.Argument(metavar="INTEGRATED.h5ad", help="Slices with a joint embedding and positions.")
    ],
    out: options.Out,
    key: Annotated[
        str, typer.Option(help="obsm key of features of 0 or more.", rich_help_panel=_SLICES)
    ] = "X_lloki",
    genes: Annotated[
        bool,
        typer.Option(
            "--genes", help="Use the genes that all slices measure instead.", rich_help_panel=_SLICES
        ),
    ] = False,
    slice_key: Annotated[
        str, typer.Option(help="obs column that names the slices.", rich_help_panel=_SLICES)
    ] = "slice",
    label_key: Annotated[
        str | None,
        typer.Option(help="obs column of cell types: which of them use which.", rich_help_panel=_SLICES),
    ] = None,
    k: Annotated[int, typer.Option("-k", "--metagenes", help="How many.", rich_help_panel=_METHOD)] = 15,
    iterations: Annotated[
        int, typer.Option(help="Most iterations with affinities.", rich_help_panel=_METHOD)
    ] = 200,
    domains: Annotated[
        bool, typer.Option("--domains", help="Find spatial domains as well.", rich_help_panel=_METHOD)
    ] = False,
    device: Annotated[
        str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.", rich_help_panel=_METHOD)
    ] = "auto",
    seed: options.Seed = 0,
    debug: Debug = False,
) -> None:
    """Find gene programs that slices share, and which of them go together in space."""
    with speaking(debug=debug) as voice:
        import anndata

        import lloki
        from lloki.errors import InputError
        from lloki.io import atomic

        if not integrated.exists():
            raise InputError("does not exist", where=str(integrated), mend="Give the file's path.")
        try:
            adata = anndata.read_h5ad(integrated)
        except OSError as error:
            raise InputError(
                f"cannot be read ({error})", where=str(integrated), mend="Is it .h5ad?"
            ) from error
        if label_key is not None and label_key not in adata.obs:
            raise InputError(
                "the column is absent",
                slot=f"obs[{label_key!r}]",
                mend=f"There are: {', '.join(adata.obs.columns)}.",
            )
        out.mkdir(parents=True, exist_ok=True)
        unfinished = out / "unfinished.pt"
        found = lloki.tl.metagenes(
            adata,
            key=None if genes else key,
            slice_key=slice_key,
            k=k,
            iterations=iterations,
            device=device,
            checkpoint=unfinished,
            seed=seed,
            advance=voice.progress.task("gene programs", 10 + iterations, "iterations"),
        )
        if domains:
            lloki.tl.domains(adata, key=key, slice_key=slice_key, seed=seed)
        tables = _tables(adata, found, slice_key, label_key)
        for name, table in tables.items():
            with atomic(out / f"{name}.csv") as temporary:
                table.to_csv(temporary)
        with atomic(out / "programs.h5ad") as temporary:
            adata.write_h5ad(temporary, compression="gzip")
        _draw(adata, out, slice_key, label_key, k, domains)
        unfinished.unlink(missing_ok=True)
    typer.echo(f"States in obsm['X_lloki_metagenes']: {(out / 'programs.h5ad').resolve()}")
    show_frame(tables["moran"].describe().loc[["min", "50%", "max"]].T.reset_index(), title="Moran's I")


def _tables(adata: Any, found: Any, slice_key: str, label_key: str | None) -> dict[str, Any]:
    """Tables to write: metagenes, affinities, Moran's I, the objective, and types if there are labels."""
    import pandas as pd

    from lloki import keys, tl

    names = [f"metagene{i + 1}" for i in range(found.metagenes.shape[1])]
    said = adata.uns[keys.UNS]["metagenes"]
    tables = {
        "metagenes": pd.DataFrame(found.metagenes, index=said["features"], columns=names),
        "affinity": pd.DataFrame(found.affinity, index=names, columns=names),
        "moran": pd.DataFrame(tl.moran(adata, slice_key=slice_key), index=names),
        "objective": found.history,
    }
    if label_key is not None:
        by_slice = tl.enrichment(adata, label_key, slice_key=slice_key)
        renamed = {s: t.set_axis(names, axis=1) for s, t in by_slice.items()}
        tables["enrichment"] = pd.concat(renamed, names=["slice", "type"])
    return tables


def _draw(adata: Any, out: Path, slice_key: str, label_key: str | None, k: int, domains: bool) -> None:
    """Write every figure as a PNG."""
    from lloki import pl
    from lloki.io import atomic

    with atomic(out / "figures") as folder:
        folder.mkdir()
        drawn = {f"metagene{i + 1}": pl.metagene(adata, i + 1, slice_key=slice_key) for i in range(k)}
        drawn["moran"] = pl.moran(adata, slice_key=slice_key)
        if label_key is not None:
            drawn["enrichment"] = pl.enrichment(adata, label_key, slice_key=slice_key)
        if domains:
            drawn["domains"] = pl.domains(adata, slice_key=slice_key)
        for name, figure in drawn.items():
            figure.savefig(folder / f"{name}.png", dpi=150, facecolor="white", bbox_inches="tight")
