"""From the arguments that name slices to keywords of :func:`lloki.integrate`, `project` and so on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lloki._names import did_you_mean
from lloki.cli.samplesheet import read_samplesheet
from lloki.errors import ConfigError

if TYPE_CHECKING:
    from lloki.io.sources import Source


def named_inputs(
    slices: Sequence[Path] | None, *, samplesheet: Path | None = None, technology: Sequence[str] | None = None
) -> tuple[list[Path], dict[str, Any]]:
    """Put the slices of the command line or the sheet together.

    Parameters
    ----------
    slices
        Files.
    samplesheet
        A table in their place.
    technology
        ``NAME=FILE`` each; overrides the sheet.

    Returns
    -------
    paths, how
        Files, and how to read them, as far as it was given: ``samples``, ``technology``, ``panels`` and
        ``layers`` of :class:`lloki.io.ReadOptions`.

    Raises
    ------
    ConfigError
        If neither or both name slices, the sheet cannot be read, or a technology is given for no slice.
    """
    from lloki.io.sources import names_of, plan_sources

    how: dict[str, Any] = {}
    if samplesheet is None:
        paths, technologies = list(slices or []), dict[str, str]()
        sources = plan_sources(paths)
    elif slices:
        raise ConfigError("Slices are named twice: give either files or --samplesheet, not both.")
    else:
        rows = read_samplesheet(samplesheet)
        paths = [row.path for row in rows]
        names = [row.sample or name for row, name in zip(rows, names_of(paths))]
        sources = plan_sources(paths, samples=names)
        technologies = {name: row.technology for name, row in zip(names, rows) if row.technology}
        columns: dict[str, list[Any]] = {
            "samples": names if any(row.sample for row in rows) else [],
            "panels": [row.panel or None for row in rows],
            "layers": [row.layer or None for row in rows],
        }
        how = {name: values for name, values in columns.items() if any(values)}
    for text in technology or ():
        name, _, file = text.partition("=")
        if not name or not file:
            raise ConfigError(f"--technology {text}: write NAME=FILE, for example MERFISH={paths[0]}.")
        technologies[_sample_of(file, name, sources)] = name
    return paths, how | ({"technology": technologies} if technologies else {})


def _sample_of(file: str, name: str, sources: Sequence[Source]) -> str:
    """Sample that a file, its bare name or the sample's own name stands for; a folder for all in it."""
    from lloki.io.sources import stem

    place = f"--technology {name}={file}"
    for whole in {source.given for source in sources if source.given}:
        if whole in (file, stem(file)):
            return whole
    tests = (
        lambda s: Path(str(s.data)).resolve() == Path(file).expanduser().resolve(),
        lambda s: s.sample == file,
        lambda s: Path(str(s.data)).name == file,
    )
    for test in tests:
        found = [s.sample for s in sources if test(s)]
        if len(found) == 1:
            return found[0]
        if found:
            raise ConfigError(f"{place}: several slices are called so. Give the whole path.")
    if any(name in (s.sample, str(s.data)) for s in sources):
        raise ConfigError(f"{place}: the technology comes first: --technology {file}={name}.")
    raise ConfigError(f"{place}: no slice is {file}. {did_you_mean(file, [s.sample for s in sources])}")
