"""``lloki transfer-labels``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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

if TYPE_CHECKING:
    from anndata import AnnData
    from pandas import DataFrame

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
    label_map: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.csv",
            help="Common names of types where sources name them differently: columns name, common_name "
            "and, if wanted, source. If one is needed, a suggested one is written to --out.",
            rich_help_panel=_SLICES,
        ),
    ] = None,
    parents: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN|FILE.csv",
            help="Groups of types, for cells whose type is uncertain: an obs column, or a file with the "
            "columns type and group.",
            rich_help_panel=_SLICES,
        ),
    ] = None,
    slice_key: options.SliceColumn = None,
    use_rep: options.UseRep = None,
    method: Annotated[
        str | None,
        typer.Option(
            help="auto: the one that labels left-out sources best; neighbors or joint (joint embedding), "
            "before (embedding before batch alignment), genes (shared genes), or their average.",
            rich_help_panel=_METHOD,
        ),
    ] = None,
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

        with _suggesting(out / "label_map.csv"):
            found = lloki.tl.transfer_labels(
                adata,
                label_key=label_key,
                **given(
                    sources=source,
                    reference=single,
                    label_map=label_map,
                    parents=parents,
                    slice_key=slice_key,
                    use_rep=use_rep,
                    method=method,
                    n_neighbors=n_neighbors,
                    threshold=threshold,
                    novelty=novelty,
                ),
            )
        slice_key = slice_key or keys.SLICE
        cells = _cells(adata, slice_key)
        write_results(out, "labeled", adata, {"types": found.table, "heads": found.tried, "cells": cells})
        build_labels_page(adata, found, slice_key=slice_key, out=page)
        reliability = partial(lloki.pl.reliability, found)
        write_figures(out, {"reliability": reliability, **types_in_space(adata, keys.LABEL, slice_key)})
    asked = ~found.given[: adata.n_obs]
    unknown = float((found.labels[: adata.n_obs][asked] == lloki.analysis.UNKNOWN).mean())
    look_at(page, integrated)
    typer.echo(f"Labeled slices: {(out / 'labeled.h5ad').resolve()}")
    typer.echo(f"{int(asked.sum())} cells labeled, {unknown:.0%} of them unknown.")
    typer.echo(f"Method: {found.method}.")
    how = "on other data" if found.widened else f"by leaving out {found.left_out}"
    typer.echo(f"Expected calibration error: {found.error:.3f}, {how}.")
    show_frame(found.table, title="Types")


@contextmanager
def _suggesting(file: Path) -> Iterator[None]:
    """Write the suggested map of names where one is needed, and name the file in the error."""
    from lloki.errors import VocabularyError
    from lloki.io import atomic

    try:
        yield
    except VocabularyError as error:
        with atomic(file) as temporary:
            error.suggested.to_csv(temporary, index=False)
        hint = (
            f"A suggested map is in {file}: edit its column common_name, and give the file with --label-map. "
            "To keep two types apart, map each name to itself."
        )
        raise VocabularyError(error.what, where=error.where, slot=error.slot, hint=hint) from error


def _cells(adata: AnnData, slice_key: str) -> DataFrame:
    """Tabulate the cells: slice, label, confidence, and whether the label was given."""
    columns = {
        "slice": slice_key,
        "label": keys.LABEL,
        "best": keys.LABEL_BEST,
        "confidence": keys.LABEL_CONFIDENCE,
        "novelty": keys.LABEL_NOVELTY,
    }
    table = adata.obs[list(columns.values())].set_axis(list(columns), axis=1).rename_axis("cell")
    return table.assign(given=table["confidence"].isna()).round({"confidence": 4, "novelty": 4})
