"""``lloki align``."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from lloki.cli import options
from lloki.cli.console import reporting
from lloki.cli.defaults import defaults_from, given
from lloki.cli.failures import Debug
from lloki.cli.integrated import check_place, look_at, read_integrated
from lloki.cli.tables import show_frame

_SLICES, _METHOD = "Slices", "Method"


@defaults_from("lloki.tl:align_slices")
@defaults_from("lloki.align:AlignConfig")
def align(
    integrated: options.Integrated,
    out: options.Out,
    fixed: Annotated[
        str | None,
        typer.Option(
            metavar="SLICE", help="Slice that stays in place. Default: the first.", rich_help_panel=_SLICES
        ),
    ] = None,
    moving: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SLICE", help="Slice to align; repeatable. Default: all others.", rich_help_panel=_SLICES
        ),
    ] = None,
    stack: Annotated[
        bool | None,
        typer.Option(
            "--stack",
            help="The slices are a series of sections, in the order of --moving (--fixed among them, or "
            "first): neighbors are aligned, then all poses are fitted together.",
            rich_help_panel=_SLICES,
        ),
    ] = None,
    use_ambiguous: Annotated[
        bool | None,
        typer.Option(
            "--use-ambiguous",
            help="In a stack, place sections by ambiguous pairs where no other pair connects them.",
            rich_help_panel=_SLICES,
        ),
    ] = None,
    slice_key: options.SliceColumn = None,
    z_step: Annotated[
        float | None,
        typer.Option(help="Distance between consecutive sections, written as z.", rich_help_panel=_SLICES),
    ] = None,
    z_key: Annotated[
        str | None, typer.Option(help="obs column to write as z instead.", rich_help_panel=_SLICES)
    ] = None,
    use_rep: options.UseRep = None,
    allow_reflection: Annotated[
        bool | None,
        typer.Option("--allow-reflection", help="Allow mirrored sections.", rich_help_panel=_METHOD),
    ] = None,
    scale: Annotated[
        float | None,
        typer.Option(
            help="Units of the fixed slice per unit of the others, such as 0.325 for pixels.",
            rich_help_panel=_METHOD,
        ),
    ] = None,
    allow_scale: Annotated[
        bool | None, typer.Option("--allow-scale", help="Estimate the scale.", rich_help_panel=_METHOD)
    ] = None,
    nonrigid: Annotated[
        float | None,
        typer.Option(
            metavar="BOUND",
            help="Also deform slices, by up to this distance. Default: no deformation.",
            rich_help_panel=_METHOD,
        ),
    ] = None,
    seed: options.Seed = None,
    debug: Debug = False,
) -> None:
    """Align slices in one coordinate frame by their joint embedding."""
    page = out / "alignment.html"
    with reporting(debug=debug):
        check_place(page)

        import lloki
        from lloki import keys
        from lloki.errors import ConfigError
        from lloki.io import atomic

        if z_step is not None and z_key is not None:
            raise ConfigError("--z-step and --z-key exclude each other.")
        adata = read_integrated(integrated)
        column = slice_key or keys.SLICE
        known = list(adata.obs[column].astype(str).unique()) if column in adata.obs else []
        alignment = lloki.tl.align_slices(
            adata,
            **given(
                reference=fixed,
                use_rep=use_rep,
                slice_key=slice_key,
                slices=_chosen(fixed, moving, known),
                stack=stack,
                use_ambiguous=use_ambiguous,
                z=z_step if z_key is None else z_key,
                nonrigid=nonrigid,
                allow_reflection=allow_reflection,
                scale=scale,
                allow_scale=allow_scale,
                seed=seed,
            ),
        )
        with atomic(out / "aligned.h5ad") as temporary:
            adata.write_h5ad(temporary, compression="gzip")
        with atomic(out / "transforms.json") as temporary:
            temporary.write_text(json.dumps(alignment.facts(), indent=1))
        _draw(alignment, page, adata, column)
    look_at(page, integrated)
    typer.echo(f"Positions in the frame of {alignment.reference}: {(out / 'aligned.h5ad').resolve()}")
    shown = alignment.table().drop(columns="reason").rename(columns={"reflected": "mirrored"})
    show_frame(shown.assign(mirrored=shown["mirrored"].map({True: "yes", False: "no"})), title="Alignments")


def _chosen(fixed: str | None, moving: list[str] | None, known: list[str]) -> list[str] | None:
    """Slices to align, in order, None for all: the fixed one first, unless it is among the others."""
    if moving is None or fixed in moving:
        return moving
    if fixed is None:
        fixed = next((name for name in known if name not in moving), None)
    return moving if fixed is None else [fixed, *moving]


def _draw(alignment: Any, page: Path, adata: Any, slice_key: str) -> None:
    """Write the page, and every figure as a PNG file."""
    import lloki
    from lloki.pl._slots import unit_of
    from lloki.report.alignment_page import Pair, build_alignment_page
    from lloki.report.figures import write_figures

    pairs = {
        (f, m): Pair(alignment.positions[f], alignment.positions[m], r, alignment.warps.get(m))
        for (f, m), r in alignment.results.items()
    }
    words = [r.verdict.word for r in alignment.results.values()]
    counts = ", ".join(f"{words.count(w)} {w}" for w in ("aligned", "ambiguous", "failed") if w in words)
    summary = f"{len(alignment.transforms)} slices in the frame of {alignment.reference}: {counts}."
    build_alignment_page(
        pairs, placed=alignment.placed, summary=summary, cells=adata, slice_key=slice_key, out=page
    )
    unit = unit_of(adata, alignment.reference)
    figures: dict[str, Callable[..., object]] = {"all": partial(lloki.pl.aligned, alignment, unit=unit)}
    for i, (f, m) in enumerate(alignment.results, start=1):
        name = f"{f} {m}" if alignment.stack is not None else m
        kinds = ["overlay", "residuals", *(["deformation"] if m in alignment.warps else [])]
        drawn = {k: partial(getattr(lloki.pl, k), alignment, name, unit=unit_of(adata, f)) for k in kinds}
        drawn["rotations"] = partial(lloki.pl.rotations, alignment, name)
        figures |= {f"{i}-{kind}": draw for kind, draw in drawn.items()}
    write_figures(page.parent, figures)
