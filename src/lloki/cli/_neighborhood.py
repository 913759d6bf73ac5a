"""``lloki neighborhood``."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

import typer

from lloki.cli import options
from lloki.cli.console import reporting
from lloki.cli.defaults import defaults_from, given
from lloki.cli.failures import Debug
from lloki.cli.integrated import (
    check_place,
    look_at,
    parameters_of,
    read_integrated,
    write_results,
)
from lloki.cli.tables import show_frame

_SLICES, _METHOD = "Slices", "Method"


@defaults_from("lloki.tl:neighborhood_program")
@defaults_from("lloki.analysis.neighborhood_inputs:NeighborhoodConfig")
def neighborhood(
    integrated: options.Integrated,
    out: options.Out,
    focal: Annotated[
        str, typer.Option(metavar="TYPE", help="Cell type whose genes are tested.", rich_help_panel=_SLICES)
    ],
    neighbor: Annotated[
        str, typer.Option(metavar="TYPE", help="Cell type around it.", rich_help_panel=_SLICES)
    ],
    label_key: options.TypeColumn,
    slice_key: options.SliceColumn = None,
    dataset_key: Annotated[
        str | None,
        typer.Option(
            help="obs column of data sets, where one has several slices. Default: the slices.",
            rich_help_panel=_SLICES,
        ),
    ] = None,
    layer: options.CountsLayer = None,
    use_rep: options.UseRep = None,
    n_neighbors: Annotated[
        int | None,
        typer.Option(
            min=1, help="Number of nearest cells among which the type is counted.", rich_help_panel=_METHOD
        ),
    ] = None,
    permutations: Annotated[
        int | None, typer.Option(min=1, help="Number of permutations of positions.", rich_help_panel=_METHOD)
    ] = None,
    seed: options.Seed = None,
    debug: Debug = False,
) -> None:
    """Find the neighborhood program of a cell type: genes that depend on another type around it."""
    page = out / "neighborhood.html"
    with reporting(debug=debug):
        check_place(page)
        adata = read_integrated(integrated)

        import lloki
        from lloki import keys
        from lloki.report.figures import write_figures
        from lloki.report.pages import build_neighborhood_page

        found = lloki.tl.neighborhood_program(
            adata,
            focal=focal,
            neighbor=neighbor,
            label_key=label_key,
            **given(
                dataset_key=dataset_key,
                use_rep=use_rep,
                slice_key=slice_key,
                layer=layer,
                n_neighbors=n_neighbors,
                permutations=permutations,
                seed=seed,
            ),
        )
        genes, correlations = found.genes, found.correlations
        write_results(out, "neighborhood", adata, {"genes": genes, "correlations": correlations})
        slice_key, k = slice_key or keys.SLICE, parameters_of(adata, "neighborhood_program")["n_neighbors"]
        names: dict[str, Any] = {"neighbor": neighbor, "label_key": label_key, "slice_key": slice_key}
        build_neighborhood_page(adata, found, focal=focal, k=k, dataset_key=dataset_key, out=page, **names)
        scored = adata.obs[keys.NEIGHBORHOOD_SCORE].notna()
        figures: dict[str, Callable[..., object]] = {}
        if scored.any():
            figures["score"] = partial(lloki.pl.neighborhood_program, adata, group=dataset_key or slice_key)
        for name in dict.fromkeys(adata.obs.loc[scored, slice_key].astype(str)):
            figures[f"space-{name}"] = partial(lloki.pl.neighborhood_program_map, adata, slice=name, **names)
        write_figures(out, figures)
    look_at(page, integrated)
    typer.echo(f"Slices with scores: {(out / 'neighborhood.h5ad').resolve()}")
    typer.echo(
        f"{'Neighborhood program found' if found.found else 'No neighborhood program found'}. {found.reason}"
    )
    for direction, listed in (("Up", found.up), ("Down", found.down)):
        if listed:
            typer.echo(f"{direction}: {', '.join(listed)}")
    show_frame(correlations, title=f"Correlation of score and share of {neighbor}")
