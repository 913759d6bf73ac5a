"""``lloki programs``."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lloki.cli import options
from lloki.cli.failures import Debug
from lloki.cli.integrated import check_place, look_at, read_integrated, write_figures, write_results
from lloki.cli.tables import show_frame
from lloki.cli.voice import Voice, speaking

if TYPE_CHECKING:
    from anndata import AnnData
    from pandas import DataFrame

    from lloki.analysis import Programs

_SLICES, _METHOD = "Slices", "Method"


def programs(
    integrated: options.Integrated,
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
    slice_key: options.SliceColumn = "slice",
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
    page = out / "programs.html"
    with speaking(debug=debug) as voice:
        check_place(page)
        adata = read_integrated(integrated)

        import lloki
        from lloki.analysis import ProgramConfig
        from lloki.errors import InputError
        from lloki.report.pages import build_programs_page

        if label_key is not None and label_key not in adata.obs:
            raise InputError(
                "the column is absent",
                slot=f"obs[{label_key!r}]",
                hint=f"There are: {', '.join(adata.obs.columns)}.",
            )
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
            advance=voice.progress.task(
                "gene programs", ProgramConfig().pretraining + iterations, "iterations"
            ),
        )
        if domains:
            lloki.tl.domains(adata, key=key, slice_key=slice_key, seed=seed)
        moran = lloki.tl.moran(adata, slice_key=slice_key)
        enrichment = lloki.tl.enrichment(adata, label_key, slice_key=slice_key) if label_key else None
        loadings = _loadings(adata, slice_key, voice)
        tables = _tables(adata, found, moran, enrichment, loadings)
        write_results(out, "programs", adata, tables)
        build_programs_page(
            adata,
            found,
            moran=moran,
            enrichment=enrichment,
            loadings=loadings,
            domains=domains,
            slice_key=slice_key,
            out=page,
        )
        _draw(adata, out, slice_key, label_key, k, domains)
        unfinished.unlink(missing_ok=True)
    look_at(page)
    typer.echo(f"States in obsm['X_lloki_metagenes']: {(out / 'programs.h5ad').resolve()}")
    show_frame(
        tables["moran"].describe().loc[["min", "50%", "max"]].T.rename_axis("slice").reset_index(),
        title="Moran's I",
    )


def _loadings(adata: AnnData, slice_key: str, voice: Voice) -> DataFrame | None:
    """Weights of genes, None where there are no counts: an embedding is enough for all else."""
    from lloki import tl
    from lloki.errors import InputError

    try:
        return tl.gene_loadings(adata, slice_key=slice_key)
    except InputError as error:
        voice.warn(f"the genes of programs are not named: {error}")
        return None


def _tables(
    adata: AnnData,
    found: Programs,
    moran: DataFrame,
    enrichment: dict[str, DataFrame] | None,
    loadings: DataFrame | None,
) -> dict[str, DataFrame]:
    """Tables to write: metagenes, affinities, Moran's I, the objective, types and genes if they are known."""
    import pandas as pd

    from lloki import keys

    names = moran.index
    features = pd.Index(adata.uns[keys.UNS]["metagenes"]["features"], name="feature")
    tables = {
        "metagenes": pd.DataFrame(found.metagenes, index=features, columns=names),
        "affinity": pd.DataFrame(found.affinity, index=names, columns=names),
        "moran": moran,
        "objective": found.history.rename_axis("iteration"),
    }
    if enrichment is not None:
        tables["enrichment"] = pd.concat(enrichment, names=["slice", "type"])
    if loadings is not None:
        tables["genes"] = loadings
    return tables


def _draw(adata: AnnData, out: Path, slice_key: str, label_key: str | None, k: int, domains: bool) -> None:
    """Write every figure as a PNG."""
    from lloki import pl

    figures: dict[str, Callable[..., object]] = {
        f"metagene{i + 1}": partial(pl.metagene, adata, i + 1, slice_key=slice_key) for i in range(k)
    }
    figures["affinity"] = partial(pl.affinity, adata)
    figures["moran"] = partial(pl.moran, adata, slice_key=slice_key)
    if label_key is not None:
        figures["enrichment"] = partial(pl.enrichment, adata, label_key, slice_key=slice_key)
    if domains:
        figures["domains"] = partial(pl.domains, adata, slice_key=slice_key)
    write_figures(out, figures)
