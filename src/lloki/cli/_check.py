"""``lloki check``."""

from __future__ import annotations

import typer

from lloki.cli import options
from lloki.cli.console import reporting
from lloki.cli.defaults import defaults_from, given
from lloki.cli.failures import Debug
from lloki.cli.inputs import named_inputs
from lloki.cli.tables import show_checks


@defaults_from("lloki.io:check_slices")
def check(
    slices: options.Slices = None,
    reference: options.Reference = None,
    samplesheet: options.Samplesheet = None,
    technology: options.Technology = None,
    label_key: options.LabelKey = None,
    layer: options.Layer = None,
    reference_layer: options.ReferenceLayer = None,
    orthologs: options.Orthologs = None,
    slice_key: options.SliceKey = None,
    allow_normalized: options.AllowNormalized = None,
    min_counts: options.MinCounts = None,
    max_control_rate: options.MaxControlRate = None,
    debug: Debug = False,
) -> None:
    """Check whether slices can be integrated; exits with status 1 if any cannot."""
    paths, how = named_inputs(slices, samplesheet=samplesheet, technology=technology)
    with reporting(debug=debug):
        from lloki.io import ReadOptions
        from lloki.run._plan import check_inputs

        how |= given(
            layer=layer,
            reference_layer=reference_layer,
            orthologs=orthologs,
            slice_key=slice_key,
            label_key=label_key,
            allow_normalized=allow_normalized,
            min_counts=min_counts,
            max_control_rate=max_control_rate,
        )
        checked = check_inputs(paths, ReadOptions(**how), reference=reference)
    show_checks(checked)
    bad, total = sum(not c.ok for c in checked.slices), len(checked.slices)
    if bad:
        typer.echo(f"{bad} of {total} slices cannot be used as they are.")
    if not checked.ok:
        raise typer.Exit(1)
    typer.echo("All can be used." if total > 1 else "It can be used.")
