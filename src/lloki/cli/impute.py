"""``lloki impute``."""

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
    write_figures,
    write_results,
)
from lloki.cli.tables import show_frame
from lloki.cli.voice import speaking

_SLICES, _METHOD = "Slices", "Method"
_SHOWN = 15  # genes printed; all are in the table


def impute(
    integrated: options.Integrated,
    target: Annotated[str, typer.Argument(metavar="TARGET", help="Slice that did not measure the genes.")],
    out: options.Out,
    gene: Annotated[
        list[str] | None,
        typer.Option(
            metavar="GENE",
            help="Gene to estimate; repeatable. Default: all that a donor has and the target has not.",
            rich_help_panel=_SLICES,
        ),
    ] = None,
    donor: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SLICE",
            help="Slice to take from; repeatable. Default: all others.",
            rich_help_panel=_SLICES,
        ),
    ] = None,
    reference: options.Lender = None,
    slice_key: options.SliceColumn = "slice",
    layer: options.CountsLayer = None,
    key: options.JointKey = "X_lloki",
    k: Annotated[int, typer.Option(min=1, help="Neighbors in each donor.", rich_help_panel=_METHOD)] = 30,
    least: Annotated[
        float,
        typer.Option(
            help="Least hold-out score (Spearman): other genes are left out.", rich_help_panel=_METHOD
        ),
    ] = 0.1,
    keep_all: Annotated[
        bool,
        typer.Option(
            "--keep-all",
            help="Leave no gene out, not even those that could not be tried.",
            rich_help_panel=_METHOD,
        ),
    ] = False,
    seed: options.Seed = 0,
    debug: Debug = False,
) -> None:
    """Estimate genes that a slice did not measure, each tried first where the truth is known."""
    page = out / "imputation.html"
    with speaking(debug=debug):
        check_place(page)
        adata = read_integrated(integrated)
        lender = None if reference is None else read_lender(reference, key=key, slices=adata)

        import pandas as pd

        import lloki
        from lloki.report.pages import DRAWN, best_first, build_imputation_page

        floor = None if keep_all else least
        found = lloki.tl.impute(
            adata,
            target,
            genes=gene,
            donors=donor,
            reference=lender,
            key=key,
            slice_key=slice_key,
            layer=layer,
            k=k,
            least=floor,
            seed=seed,
        )
        left_out = found.uns[keys.UNS]["impute"]["left_out"]
        both = pd.concat([found.var.assign(imputed=True), left_out.assign(imputed=False)])
        genes = best_first(both).rename_axis("gene")
        write_results(out, "imputed", found, {"genes": genes})
        cells = 0 if lender is None else lender.n_obs
        build_imputation_page(found, left_out, target=target, min_score=floor, reference=cells, out=page)
        best = list(genes.index[genes["imputed"]])[:DRAWN] if keys.SPATIAL in found.obsm else []
        figures = {f"gene-{g}": partial(lloki.pl.imputed, found, g) for g in best}
        write_figures(out, {"scores": partial(lloki.pl.imputation_scores, found), **figures})
    look_at(page)
    typer.echo(f"Estimates of {found.n_vars} genes: {(out / 'imputed.h5ad').resolve()}")
    left = [
        "spread",
        *(c for c in map(str, genes) if c.startswith(lloki.analysis.DETECTED)),
    ]  # on the page
    shown = genes.reset_index().drop(columns=left).head(_SHOWN)
    shown["imputed"] = shown["imputed"].map({True: "yes", False: "no"})
    show_frame(shown, title=f"Best genes of {len(genes)}, those tried across slices first")
