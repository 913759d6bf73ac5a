"""``lloki impute``."""

from __future__ import annotations

from functools import partial
from pathlib import Path
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
    parameters_of,
    read_integrated,
    read_reference,
    write_results,
)
from lloki.cli.tables import show_frame

_SLICES, _METHOD = "Slices", "Method"
_SHOWN = 15  # genes printed; all are in the table


@defaults_from("lloki.tl:impute", gene="genes", source="sources")
def impute(
    integrated: options.Integrated,
    target: Annotated[str, typer.Argument(metavar="TARGET", help="Slice to impute.")],
    out: options.Out,
    gene: Annotated[
        list[str] | None,
        typer.Option(
            metavar="GENE",
            help="Gene to impute; repeatable. Default: all that a source has and the target lacks.",
            rich_help_panel=_SLICES,
        ),
    ] = None,
    source: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SLICE",
            help="Slice to impute from; repeatable. Default: all others.",
            rich_help_panel=_SLICES,
        ),
    ] = None,
    reference: options.AdditionalReference = None,
    slice_key: options.SliceColumn = None,
    layer: options.CountsLayer = None,
    use_rep: options.UseRep = None,
    method: Annotated[
        str | None,
        typer.Option(
            help="combined, neighbors (in the joint embedding), ridge (regression on shared genes) or "
            "reference (neighbors there, by shared genes).",
            rich_help_panel=_METHOD,
        ),
    ] = None,
    n_neighbors: Annotated[
        int | None,
        typer.Option(min=1, help="Number of neighbors in each source.", rich_help_panel=_METHOD),
    ] = None,
    min_score: Annotated[
        float | None,
        typer.Option(
            help="Minimum hold-out score (Spearman); other genes are left out.", rich_help_panel=_METHOD
        ),
    ] = None,
    keep_all: Annotated[
        bool,
        typer.Option(
            "--keep-all",
            help="Impute all genes, even those that could not be validated.",
            rich_help_panel=_METHOD,
        ),
    ] = False,
    seed: options.Seed = None,
    debug: Debug = False,
) -> None:
    """Impute genes that a slice did not measure, each validated where it was measured."""
    page = out / "imputation.html"
    with reporting(debug=debug):
        check_place(page)
        adata = read_integrated(integrated)
        single = None
        if reference is not None:
            single = read_reference(reference, use_rep=use_rep or keys.JOINT, slices=adata)

        import pandas as pd

        import lloki
        from lloki.report.figures import write_figures
        from lloki.report.pages import DRAWN, best_first, build_imputation_page

        asked = given(
            genes=gene,
            sources=source,
            reference=single,
            use_rep=use_rep,
            slice_key=slice_key,
            layer=layer,
            method=method,
            run=run_folder(integrated),
            n_neighbors=n_neighbors,
            min_score=min_score,
            seed=seed,
        )
        found = lloki.tl.impute(adata, target, **(asked | ({"min_score": None} if keep_all else {})))
        min_score = parameters_of(found, "impute")["min_score"]
        left_out = found.uns[keys.UNS]["impute"]["left_out"]
        both = pd.concat([found.var.assign(imputed=True), left_out.assign(imputed=False)])
        genes = best_first(both).rename_axis("gene")
        write_results(out, "imputed", found, {"genes": genes})
        cells = 0 if single is None else single.n_obs
        build_imputation_page(found, left_out, target=target, min_score=min_score, reference=cells, out=page)
        best = list(genes.index[genes["imputed"]])[:DRAWN] if keys.SPATIAL in found.obsm else []
        figures = {f"gene-{g}": partial(lloki.pl.imputed, found, g) for g in best}
        write_figures(out, {"scores": partial(lloki.pl.imputation_scores, found), **figures})
    look_at(page, integrated)
    typer.echo(f"Estimates of {found.n_vars} genes: {(out / 'imputed.h5ad').resolve()}")
    detected = [c for c in map(str, genes) if c.startswith(lloki.analysis.DETECTED)]  # on the page
    shown = genes.reset_index().drop(columns=["spread", *detected]).head(_SHOWN)
    shown["imputed"] = shown["imputed"].map({True: "yes", False: "no"})
    show_frame(shown, title=f"Best genes of {len(genes)}, those validated across slices first")


def run_folder(integrated: Path) -> Path | None:
    """Find the run that wrote a file, by the model beside it; None for a file that was moved."""
    there = (integrated.parent / "model" / "run.json").is_file()
    return integrated.parent if there else None
