"""``lloki neighborhood``."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

import typer

from lloki.cli import options
from lloki.cli.failures import Debug
from lloki.cli.integrated import check_place, look_at, read_integrated, write_figures, write_results
from lloki.cli.tables import show_frame
from lloki.cli.voice import speaking

_SLICES, _METHOD = "Slices", "Method"


def neighborhood(
    integrated: options.Integrated,
    out: options.Out,
    focal: Annotated[
        str, typer.Option(metavar="TYPE", help="Cell type that may have a program.", rich_help_panel=_SLICES)
    ],
    neighbor: Annotated[
        str, typer.Option(metavar="TYPE", help="Cell type around it.", rich_help_panel=_SLICES)
    ],
    label_key: options.TypeColumn,
    slice_key: options.SliceColumn = "slice",
    dataset_key: Annotated[
        str | None,
        typer.Option(
            help="obs column of data sets, where one has several slices. Default: the slices.",
            rich_help_panel=_SLICES,
        ),
    ] = None,
    layer: options.CountsLayer = None,
    key: options.JointKey = "X_lloki",
    k: Annotated[
        int,
        typer.Option(min=1, help="Nearest cells among which the type is counted.", rich_help_panel=_METHOD),
    ] = 100,
    permutations: Annotated[
        int, typer.Option(min=1, help="Shuffles of positions to compare with.", rich_help_panel=_METHOD)
    ] = 200,
    seed: options.Seed = 0,
    debug: Debug = False,
) -> None:
    """Find what cells of one type express where another type is around them, if anything."""
    page = out / "neighborhood.html"
    with speaking(debug=debug):
        check_place(page)
        adata = read_integrated(integrated)

        import lloki
        from lloki import keys
        from lloki.report.pages import build_neighborhood_page

        found = lloki.tl.neighborhood_program(
            adata,
            focal=focal,
            neighbor=neighbor,
            label_key=label_key,
            dataset_key=dataset_key,
            key=key,
            slice_key=slice_key,
            layer=layer,
            k=k,
            permutations=permutations,
            seed=seed,
        )
        genes, correlations = found.genes, found.correlations
        write_results(out, "neighborhood", adata, {"genes": genes, "correlations": correlations})
        names: dict[str, Any] = {"neighbor": neighbor, "label_key": label_key, "slice_key": slice_key}
        build_neighborhood_page(adata, found, focal=focal, k=k, dataset_key=dataset_key, out=page, **names)
        scored = adata.obs[keys.PROGRAM_SCORE].notna()
        figures: dict[str, Callable[..., object]] = {}
        if scored.any():
            figures["score"] = partial(lloki.pl.neighborhood_program, adata, group=dataset_key or slice_key)
        for name in dict.fromkeys(adata.obs.loc[scored, slice_key].astype(str)):
            figures[f"space-{name}"] = partial(lloki.pl.neighborhood_program_map, adata, slice=name, **names)
        write_figures(out, figures)
    look_at(page)
    typer.echo(f"Slices with scores: {(out / 'neighborhood.h5ad').resolve()}")
    typer.echo(f"{'A program was found' if found.found else 'No program was found'}. {found.reason}")
    for said, listed in (("Up", found.up), ("Down", found.down)):
        if listed:
            typer.echo(f"{said}: {', '.join(listed)}")
    show_frame(correlations, title=f"Score against the share of {neighbor}")
