"""``lloki transfer-labels``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lloki.cli import options
from lloki.cli.failures import Debug
from lloki.cli.tables import show_frame
from lloki.cli.voice import speaking


def transfer_labels(
    integrated: Annotated[
        Path, typer.Argument(metavar="INTEGRATED.h5ad", help="Slices with a joint embedding.")
    ],
    out: options.Out,
    label_key: Annotated[str, typer.Option(help="obs column of cell types; cells without one get one.")],
    source: Annotated[
        list[str] | None,
        typer.Option(metavar="SLICE", help="Slice whose labels count; repeatable. Default: all with labels."),
    ] = None,
    slice_key: Annotated[str, typer.Option(help="obs column that names the slices.")] = "slice",
    key: Annotated[str, typer.Option(help="obsm key of the joint embedding.")] = "X_lloki",
    k: Annotated[int, typer.Option(min=1, help="Labelled neighbours that vote.")] = 15,
    threshold: Annotated[float, typer.Option(min=0, max=1, help="Least confidence of a label.")] = 0.5,
    novelty: Annotated[
        float,
        typer.Option(
            min=0, max=1, help="Unknown are cells farther off than all but this share of known ones."
        ),
    ] = 0.01,
    debug: Debug = False,
) -> None:
    """Carry cell types from labelled slices to the others, *unknown* where in doubt."""
    with speaking(debug=debug):
        import anndata

        import lloki
        from lloki.errors import InputError
        from lloki.io import atomic

        if not integrated.exists():
            raise InputError("does not exist", where=str(integrated), mend="Give the file's path.")
        try:
            adata = anndata.read_h5ad(integrated)
        except OSError as error:
            raise InputError(
                f"cannot be read ({error})", where=str(integrated), mend="Is it .h5ad?"
            ) from error
        found = lloki.tl.transfer_labels(
            adata,
            label_key=label_key,
            sources=source,
            slice_key=slice_key,
            key=key,
            k=k,
            threshold=threshold,
            novelty=novelty,
        )
        with atomic(out / "labelled.h5ad") as temporary:
            adata.write_h5ad(temporary, compression="gzip")
        with atomic(out / "types.csv") as temporary:
            found.table.to_csv(temporary, index=False)
        with atomic(out / "reliability.png") as temporary:
            figure = lloki.pl.reliability(found)
            figure.savefig(temporary, format="png", dpi=150, facecolor="white", bbox_inches="tight")
    told = ~found.given
    unknown = float((found.labels[told] == lloki.analysis.UNKNOWN).mean())
    typer.echo(f"Labelled slices: {(out / 'labelled.h5ad').resolve()}")
    typer.echo(f"{int(told.sum())} cells labelled, {unknown:.0%} of them unknown.")
    typer.echo(f"Confidence is off by {found.error:.3f} on average, by leaving out {found.left_out}.")
    show_frame(found.table, title="Types")
