"""``lloki transfer-labels``."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from lloki import keys
from lloki.cli import options
from lloki.cli.failures import Debug
from lloki.cli.integrated import (
    check_place,
    look_at,
    read_integrated,
    read_lender,
    types_in_space,
    write_figures,
    write_results,
)
from lloki.cli.tables import show_frame
from lloki.cli.voice import speaking

_SLICES, _METHOD = "Slices", "Method"


def transfer_labels(
    integrated: options.Integrated,
    out: options.Out,
    label_key: Annotated[
        str,
        typer.Option(help="obs column of cell types; cells without one get one.", rich_help_panel=_SLICES),
    ],
    source: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SLICE",
            help="Slice whose labels count; repeatable. Default: all with labels.",
            rich_help_panel=_SLICES,
        ),
    ] = None,
    reference: options.Lender = None,
    slice_key: options.SliceColumn = "slice",
    key: options.JointKey = "X_lloki",
    k: Annotated[int, typer.Option(min=1, help="Labeled neighbors that vote.", rich_help_panel=_METHOD)] = 15,
    threshold: Annotated[
        float, typer.Option(min=0, max=1, help="Least confidence of a label.", rich_help_panel=_METHOD)
    ] = 0.5,
    novelty: Annotated[
        float,
        typer.Option(
            min=0,
            max=1,
            help="Unknown are cells farther off than all but this share of known ones.",
            rich_help_panel=_METHOD,
        ),
    ] = 0.01,
    debug: Debug = False,
) -> None:
    """Carry cell types from labeled slices or single cells to others, unknown where in doubt."""
    page = out / "labels.html"
    with speaking(debug=debug):
        check_place(page)
        adata, lender = read_integrated(integrated), None
        if reference is not None:
            lender = read_lender(reference, key=key, slices=adata, label_key=label_key)

        import lloki
        from lloki.report.pages import build_labels_page

        found = lloki.tl.transfer_labels(
            adata,
            label_key=label_key,
            sources=source,
            reference=lender,
            slice_key=slice_key,
            key=key,
            k=k,
            threshold=threshold,
            novelty=novelty,
        )
        write_results(out, "labeled", adata, {"types": found.table})
        build_labels_page(adata, found, slice_key=slice_key, out=page)
        reliability = partial(lloki.pl.reliability, found)
        write_figures(out, {"reliability": reliability, **types_in_space(adata, keys.LABEL, slice_key)})
    told = ~found.given[: adata.n_obs]
    unknown = float((found.labels[: adata.n_obs][told] == lloki.analysis.UNKNOWN).mean())
    look_at(page)
    typer.echo(f"Labeled slices: {(out / 'labeled.h5ad').resolve()}")
    typer.echo(f"{int(told.sum())} cells labeled, {unknown:.0%} of them unknown.")
    typer.echo(f"Confidence is off by {found.error:.3f} on average, by leaving out {found.left_out}.")
    show_frame(found.table, title="Types")
