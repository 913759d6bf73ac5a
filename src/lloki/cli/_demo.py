"""``lloki demo``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from lloki.cli import options
from lloki.cli.console import reporting
from lloki.cli.defaults import defaults_from, given
from lloki.cli.failures import Debug
from lloki.cli.tables import show_result

LABEL = "cell_type"


@defaults_from("lloki.run:RunConfig")
def demo(
    out: Annotated[
        Path,
        typer.Option("--out", "-o", metavar="DIR", help="Folder for the simulated slices and the results."),
    ] = Path("lloki_demo"),
    cells: Annotated[int, typer.Option(min=50, help="Number of cells in each of the three slices.")] = 3000,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Number of training epochs; fewer are faster.")
    ] = None,
    seed: options.Seed = None,
    debug: Debug = False,
) -> None:
    """Simulate slices of three platforms with different gene panels, and integrate them."""
    with reporting(debug=debug):
        import lloki
        from lloki.io import atomic

        data = out / "data"
        with atomic(data) as temporary:
            made = lloki.datasets.tissue(n_cells=cells, **given(seed=seed)).write(temporary)
        *slices, reference = (data / path.name for path in made)
        result = lloki.integrate(
            slices,
            reference=reference,
            out=out,
            label_key=LABEL,
            epochs=epochs,
            progress=True,
            **given(seed=seed),
        )
    show_result(result)
    by_hand = ["lloki", "integrate", *map(str, slices), "--reference", str(reference), "--out", str(out)]
    by_hand += ["--label-key", LABEL] + (["--epochs", str(epochs)] if epochs else [])
    typer.echo(f"By hand: {shlex.join(by_hand)}")
