"""``lloki programs``."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lloki.cli import options
from lloki.cli.console import Console, reporting
from lloki.cli.defaults import defaults_from, given
from lloki.cli.failures import Debug
from lloki.cli.integrated import check_place, look_at, read_integrated, write_results
from lloki.cli.tables import show_frame

if TYPE_CHECKING:
    from anndata import AnnData
    from pandas import DataFrame

    from lloki.analysis import Programs

_SLICES, _METHOD = "Slices", "Method"


@defaults_from("lloki.tl:metagenes", genes=None)
@defaults_from("lloki.analysis:ProgramConfig")
def programs(
    integrated: options.Integrated,
    out: options.Out,
    use_rep: Annotated[
        str | None, typer.Option(help="obsm key of non-negative features.", rich_help_panel=_SLICES)
    ] = None,
    genes: Annotated[
        bool,
        typer.Option(
            "--genes",
            help="Use the expression of genes that all slices measured, instead of --use-rep.",
            rich_help_panel=_SLICES,
        ),
    ] = False,
    slice_key: options.SliceColumn = None,
    label_key: Annotated[
        str | None,
        typer.Option(help="obs column of cell types, for enrichment.", rich_help_panel=_SLICES),
    ] = None,
    n_metagenes: Annotated[
        int | None,
        typer.Option(help="Number of metagenes.", rich_help_panel=_METHOD),
    ] = None,
    iterations: Annotated[
        int | None,
        typer.Option(help="Maximum number of iterations with spatial affinities.", rich_help_panel=_METHOD),
    ] = None,
    domains: Annotated[
        bool, typer.Option("--domains", help="Find spatial domains as well.", rich_help_panel=_METHOD)
    ] = False,
    device: Annotated[
        str | None, typer.Option(help="Device: auto, cpu, cuda, cuda:1 or mps.", rich_help_panel=_METHOD)
    ] = None,
    seed: options.Seed = None,
    debug: Debug = False,
) -> None:
    """Find gene programs shared by slices, and which of them go together in space."""
    page = out / "programs.html"
    with reporting(debug=debug) as console:
        check_place(page)
        adata = read_integrated(integrated)

        import lloki
        from lloki import keys
        from lloki._sums import forget
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
        fields = given(n_metagenes=n_metagenes, iterations=iterations, seed=seed)
        config = ProgramConfig.from_dict(fields)
        where = given(use_rep=use_rep, slice_key=slice_key)
        found = lloki.tl.metagenes(
            adata,
            **(where | ({"use_rep": None} if genes else {})),
            **fields,
            **given(device=device),
            checkpoint=unfinished,
            progress=True,
        )
        if domains:
            lloki.tl.domains(adata, **where, **given(seed=seed))
        slice_key = slice_key or keys.SLICE
        moran = lloki.tl.moran(adata, slice_key=slice_key)
        enrichment = lloki.tl.enrichment(adata, label_key, slice_key=slice_key) if label_key else None
        loadings = _loadings(adata, slice_key, console)
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
        _draw(adata, out, slice_key, label_key, config.n_metagenes, domains)
        unfinished.unlink(missing_ok=True)
        forget(unfinished)
    look_at(page, integrated)
    typer.echo(f"States in obsm['X_lloki_metagenes']: {(out / 'programs.h5ad').resolve()}")
    show_frame(
        tables["moran"].describe().loc[["min", "50%", "max"]].T.rename_axis("slice").reset_index(),
        title="Moran's I",
    )


def _loadings(adata: AnnData, slice_key: str, console: Console) -> DataFrame | None:
    """Gene loadings, None without counts: an embedding is enough for all else."""
    from lloki import tl
    from lloki.errors import InputError

    try:
        return tl.gene_loadings(adata, slice_key=slice_key)
    except InputError as error:
        console.warn(f"genes of gene programs are left out: {error}")
        return None


def _tables(
    adata: AnnData,
    found: Programs,
    moran: DataFrame,
    enrichment: dict[str, DataFrame] | None,
    loadings: DataFrame | None,
) -> dict[str, DataFrame]:
    """Tables to write: metagenes, affinities, Moran's I, objective; enrichment and loadings if any."""
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


def _draw(
    adata: AnnData, out: Path, slice_key: str, label_key: str | None, n_metagenes: int, domains: bool
) -> None:
    """Write every figure as a PNG file."""
    from lloki import pl
    from lloki.report.figures import write_figures

    figures: dict[str, Callable[..., object]] = {
        f"metagene{i + 1}": partial(pl.metagene, adata, i + 1, slice_key=slice_key)
        for i in range(n_metagenes)
    }
    figures["affinity"] = partial(pl.affinity, adata)
    figures["moran"] = partial(pl.moran, adata, slice_key=slice_key)
    if label_key is not None:
        figures["enrichment"] = partial(pl.enrichment, adata, label_key, slice_key=slice_key)
    if domains:
        figures["domains"] = partial(pl.domains, adata, slice_key=slice_key)
    write_figures(out, figures)
