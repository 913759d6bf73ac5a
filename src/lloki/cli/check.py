"""``lloki check``."""

from __future__ import annotations

import typer

from lloki.cli import options
from lloki.cli.console import reporting
from lloki.cli.defaults import defaults_from, given
from lloki.cli.failures import Debug
from lloki.cli.inputs import named_inputs
from lloki.cli.references import match_slices
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
    slice_key: options.SliceKey = None,
    allow_normalized: options.AllowNormalized = None,
    debug: Debug = False,
) -> None:
    """Say what is right and wrong with slices; status 1 if one cannot be used."""
    inputs = named_inputs(slices, samplesheet=samplesheet, technology=technology)
    with reporting(debug=debug):
        from lloki.io import check_slices

        read = given(layer=layer, slice_key=slice_key, label_key=label_key, allow_normalized=allow_normalized)
        checks = check_slices(inputs.paths, **read, **inputs.about())
        matched = None
        if reference is not None:
            matched = match_slices(inputs, checks, reference, reference_layer=reference_layer, **read)
    show_checks(checks, matched)
    bad = sum(not c.ok for c in checks)
    if bad:
        typer.echo(f"{bad} of {len(checks)} slices cannot be used as they are.")
    if bad or (matched and matched.errors):
        raise typer.Exit(1)
    typer.echo("All can be used." if len(checks) > 1 else "It can be used.")
