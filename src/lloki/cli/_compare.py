"""``lloki compare``."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from lloki.cli import options
from lloki.cli.console import reporting
from lloki.cli.defaults import defaults_from, given
from lloki.cli.failures import Debug
from lloki.cli.integrated import check_place, look_at, parameters_of, read_integrated
from lloki.cli.tables import show_frame

_SLICES, _METHOD = "Slices", "Method"


@defaults_from("lloki.tl:compare")
@defaults_from("lloki.compare:CompareConfig")
def compare(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="Folder of lloki integrate, or an AnnData file (.h5ad).")
    ],
    out: options.Out,
    condition_key: Annotated[
        str, typer.Option(help="obs column of conditions; one for each slice.", rich_help_panel=_SLICES)
    ],
    control: Annotated[
        str,
        typer.Option(
            metavar="CONDITION", help="Condition that all others are compared with.", rich_help_panel=_SLICES
        ),
    ],
    donor_key: Annotated[
        str | None,
        typer.Option(help="obs column of donors, the replicates. Default: slices.", rich_help_panel=_SLICES),
    ] = None,
    label_key: Annotated[
        str | None,
        typer.Option(
            help="obs column of cell types or clusters. Default: lloki_label, else lloki_cluster.",
            rich_help_panel=_SLICES,
        ),
    ] = None,
    domain_key: Annotated[
        str | None,
        typer.Option(
            help="obs column of spatial domains. Default: lloki_domain, if there.", rich_help_panel=_SLICES
        ),
    ] = None,
    slice_key: options.SliceColumn = None,
    layer: options.CountsLayer = None,
    use_rep: options.UseRep = None,
    alpha: Annotated[
        float | None, typer.Option(help="False discovery rate of findings.", rich_help_panel=_METHOD)
    ] = None,
    min_units: Annotated[
        int | None,
        typer.Option(min=2, help="Minimum donors of each condition for a test.", rich_help_panel=_METHOD),
    ] = None,
    seed: options.Seed = None,
    debug: Debug = False,
) -> None:
    """Compare conditions, such as disease and healthy, with donors as replicates."""
    page = out / "compare.html"
    with reporting(debug=debug):
        check_place(page)
        integrated = run / "integrated.h5ad" if run.is_dir() else run
        adata = read_integrated(integrated)

        import lloki
        from lloki.io import atomic
        from lloki.report.pages import build_comparison_page

        found = lloki.tl.compare(
            adata,
            condition_key=condition_key,
            control=control,
            **given(
                donor_key=donor_key,
                label_key=label_key,
                domain_key=domain_key,
                slice_key=slice_key,
                layer=layer,
                use_rep=use_rep,
                alpha=alpha,
                min_units=min_units,
                seed=seed,
            ),
        )
        used = parameters_of(adata, "compare")
        build_comparison_page(
            adata, found, control=control, alpha=used["alpha"], min_units=used["min_units"], out=page
        )
        for name, table in {"design": found.design, **found.tables, "evidence": found.evidence}.items():
            with atomic(out / f"{name}.csv") as temporary:
                table.to_csv(temporary, index=False)
        summary = {
            "version": lloki.__version__,
            "parameters": used,
            "identified": [asdict(each) for each in found.identified],
            "tested": {name: int(table["p_value"].notna().sum()) for name, table in found.tables.items()},
            "findings": json.loads(found.evidence.to_json(orient="records")),
        }
        with atomic(out / "compare.json") as temporary:
            temporary.write_text(json.dumps(summary, indent=2), encoding="utf-8")
    look_at(page, integrated)
    for each in found.identified:
        if not each.limited(min_units=used["min_units"], alpha=used["alpha"]):  # else it is a warning above
            typer.echo(each.text)
    if len(found.evidence):
        shown = found.evidence[["strength", "statement", "effect", "q_value", "n_units", "technologies"]]
        show_frame(shown.head(20), title=f"Findings: {len(found.evidence)}")
    else:
        typer.echo("No finding.")
