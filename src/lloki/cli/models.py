"""``lloki models``: published weights, and the genes of slices that a folder of weights uses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lloki.cli import options
from lloki.cli.console import Console, reporting
from lloki.cli.defaults import Command, defaults_from, given
from lloki.cli.failures import Debug
from lloki.cli.model_reports import as_json, report_slice, show_facts, show_reports
from lloki.cli.tables import show
from lloki.errors import ConfigError, MissingExtraError

if TYPE_CHECKING:
    from lloki.embed import Embedder
    from lloki.models import Fetched

app = typer.Typer(
    name="models",
    help="Download published weights, and see which genes of your slices a model uses.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.command("list", cls=Command)
def list_models(debug: Debug = False) -> None:
    """List the published weights that lloki knows of."""
    with reporting(debug=debug):
        from lloki.models import models_folder, published_models

        rows = []
        for model in published_models().values():
            folder = models_folder() / model.name
            here = sum((folder / file.name).exists() for file in model.files)
            known = sum(file.sha256 is not None for file in model.files)
            hashes = "known" if known == len(model.files) else "some known" if known else "unknown"
            way = (
                "fetch"
                if all(file.url for file in model.files)
                else "by hand, from the page that fetch names"
            )
            there = str(folder) if here == len(model.files) else "partly" if here else "no"
            rows.append((model.name, model.embedder, model.what, model.license, hashes, way, there))
    show(("name", "embedder", "what", "license", "hashes", "how to get it", "downloaded"), rows)
    typer.echo("To get one: lloki models fetch NAME")


@app.command(cls=Command)
@defaults_from("lloki.models:fetch")
def fetch(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name in lloki models list.")],
    to: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Folder for the files. Default: NAME in LLOKI_MODELS, or in the user's cache."
        ),
    ] = None,
    base_url: Annotated[
        str | None, typer.Option(metavar="URL", help="URL of a mirror that has the files under their names.")
    ] = None,
    sha256: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE=HASH", help="SHA-256 that a file must have. Repeatable."),
    ] = None,
    debug: Debug = False,
) -> None:
    """Download published weights. Existing files are verified and kept."""
    pins = None if sha256 is None else dict(map(_pin, sha256))
    with reporting(debug=debug) as console:
        from lloki.models import fetch, published

        model = published(name)
        typer.echo(f"{model.what}\n{base_url or model.page}\nLicense: {model.license}", err=True)
        got = fetch(name, progress=True, **given(to=to, base_url=base_url, sha256=pins))
        _warn_unknown(got, console)
    rows = [
        (f.name, f.sha256, "verified" if f.checked else "unknown", "downloaded" if f.new else "already there")
        for f in got.files
    ]
    show(("file", "sha256", "hash", "state"), rows)
    typer.echo(f"To use it: --embedder {model.embedder} --model {got.folder}")


@app.command(cls=Command)
@defaults_from("lloki.io:iter_slices")
@defaults_from("lloki.models:inspect_model")
def inspect(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of weights, as for --model.")],
    slices: options.Slices = None,
    embedder: Annotated[str | None, typer.Option(help="Embedder, if the files do not identify it.")] = None,
    layer: options.Layer = None,
    slice_key: options.SliceKey = None,
    allow_normalized: options.AllowNormalized = None,
    to_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON instead.")] = False,
    debug: Debug = False,
) -> None:
    """Show what a folder of weights holds, whether it loads, and which genes of slices it can use."""
    with reporting(debug=debug) as console:
        from lloki.io import ReadOptions, iter_slices
        from lloki.models import inspect_model

        facts = inspect_model(folder, **given(embedder=embedder))
        loaded = _load(facts.embedder, folder, console, needed=bool(slices))
        read = given(layer=layer, slice_key=slice_key, allow_normalized=allow_normalized)
        found = iter_slices(list(slices), ReadOptions(**read)) if slices else ()
        reports = [report_slice(loaded, adata) for adata in found if loaded is not None]
    if to_json:
        typer.echo(json.dumps(as_json(facts, reports), indent=1, ensure_ascii=False))
        return
    show_facts(facts, loads=loaded is not None)
    if reports:
        show_reports(reports)


def _load(name: str, folder: Path, console: Console, *, needed: bool) -> Embedder | None:
    """Load the weights into memory, which checks them; no device is touched."""
    from lloki.embed import get_embedder

    try:
        return get_embedder(name, model=folder)
    except MissingExtraError as error:
        if needed:
            raise
        console.warn(f"the weights were not loaded and not checked: {error}")
        return None


def _pin(text: str) -> tuple[str, str]:
    file, _, value = text.partition("=")
    if not file or len(value) != 64:
        raise ConfigError(f"--sha256 {text}: write FILE=HASH, the hash being 64 hexadecimal digits.")
    return file, value


def _warn_unknown(got: Fetched, console: Console) -> None:
    unknown = {file.name: file.sha256 for file in got.files if not file.checked}
    if unknown:
        pins = " ".join(f"--sha256 {name}={found}" for name, found in unknown.items())
        console.warn(
            f"lloki knows no hash of {', '.join(unknown)}, so it could not verify that these are "
            f"the published files. To require the same files next time: {pins}"
        )
