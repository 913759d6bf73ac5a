"""``lloki transfer-labels``."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from lloki import keys
from lloki.cli import options
from lloki.cli.console import reporting
from lloki.cli.defaults import defaults_from, given
from lloki.cli.failures import Debug
from lloki.cli.integrated import (
    check_place,
    look_at,
    read_integrated,
    read_reference,
    types_in_space,
    write_results,
)
from lloki.cli.tables import show_frame

_SLICES, _METHOD = "Slices", "Method"


@defaults_from("lloki.tl:transfer_labels", source="sources")
def transfer_labels(
    integrated: options.Integrated,
    out: options.Out,
    label_key: Annotated[
        str,
        typer.Option(
            help="obs column of cell types; cells without one are labeled.", rich_help_panel=_SLICES
        ),
    ],
    source: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SLICE",
            help="Slice to take labels from; repeatable. Default: all with labels.",
            rich_help_panel=_SLICES,
        ),
    ] = None,
    reference: options.AdditionalReference = None,
    slice_key: options.SliceColumn = None,
    use_rep: options.UseRep = None,
    n_neighbors: Annotated[
        int | None,
        typer.Option(min=1, help="Number of labeled neighbors that vote.", rich_help_panel=_METHOD),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Minimum confidence of a label.", rich_help_panel=_METHOD),
    ] = None,
    novelty: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="Share of left-out cells that may be called unknown because they are far from labeled ones.",
            rich_help_panel=_METHOD,
        ),
    ] = None,
    debug: Debug = False,
) -> None:
    """Transfer cell types from labeled slices or single cells, with a calibrated confidence."""
    page = out / "labels.html"
    with reporting(debug=debug):
        check_place(page)
        adata, single = read_integrated(integrated), None
        if reference is not None:
            representation = use_rep or keys.JOINT
            single = read_reference(reference, use_rep=representation, slices=adata, label_key=label_key)

        import lloki
        from lloki.report.figures import write_figures
        from lloki.report.pages import build_labels_page

        found = lloki.tl.transfer_labels(
            adata,
            label_key=label_key,
            **given(
                sources=source,
                reference=single,
                slice_key=slice_key,
                use_rep=use_rep,
                n_neighbors=n_neighbors,
                threshold=threshold,
                novelty=novelty,
            ),
        )
        slice_key = slice_key or keys.SLICE
        write_results(out, "labeled", adata, {"types": found.table})
        build_labels_page(adata, found, slice_key=slice_key, out=page)
        reliability = partial(lloki.pl.reliability, found)
        write_figures(out, {"reliability": reliability, **types_in_space(adata, keys.LABEL, slice_key)})
    asked = ~found.given[: adata.n_obs]
    unknown = float((found.labels[: adata.n_obs][asked] == lloki.analysis.UNKNOWN).mean())
    look_at(page, integrated)
    typer.echo(f"Labeled slices: {(out / 'labeled.h5ad').resolve()}")
    typer.echo(f"{int(asked.sum())} cells labeled, {unknown:.0%} of them unknown.")
    typer.echo(f"Expected calibration error: {found.error:.3f}, by leaving out {found.left_out}.")
    show_frame(found.table, title="Types")
