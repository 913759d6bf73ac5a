"""From the arguments that name slices to those of :func:`lloki.io.read_slices`."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lloki._names import did_you_mean
from lloki.cli.samplesheet import read_samplesheet
from lloki.errors import ConfigError

if TYPE_CHECKING:
    from lloki.io.sources import Source


@dataclass(frozen=True)
class Inputs:
    """Slices with what was said about each; the lists hold one entry a slice.

    Attributes
    ----------
    paths
        Files.
    names
        Their sample names, chosen or from the file.
    technology
        Sample name → technology, for those it was given for.
    panels, layers
        ``None`` leaves it to the file, or to ``--layer``.
    named
        Whether any name was chosen.
    """

    paths: list[Path]
    names: list[str]
    technology: dict[str, str] = field(default_factory=dict)
    panels: list[str | None] | None = None
    layers: list[str | None] | None = None
    named: bool = False

    def about(self) -> dict[str, Any]:
        """As keyword arguments of `read_slices`, `integrate` and so on."""
        return {
            "technology": self.technology or None,
            "samples": self.names if self.named else None,
            "panels": self.panels,
            "layers": self.layers,
        }

    def only(self, paths: Collection[str]) -> Inputs:
        """Keep the inputs at these paths, under the names they have here."""
        stay = [i for i, path in enumerate(self.paths) if str(path) in paths]
        names = [self.names[i] for i in stay]
        return Inputs(
            [self.paths[i] for i in stay],
            names,
            {name: t for name, t in self.technology.items() if name in names},
            None if self.panels is None else [self.panels[i] for i in stay],
            None if self.layers is None else [self.layers[i] for i in stay],
            named=True,
        )


def named_inputs(
    slices: Sequence[Path] | None, *, samplesheet: Path | None = None, technology: Sequence[str] | None = None
) -> Inputs:
    """Put the slices of the command line or the sheet together.

    Parameters
    ----------
    slices
        Files.
    samplesheet
        A table in their place.
    technology
        ``NAME=FILE`` each; wins over the sheet.

    Raises
    ------
    ConfigError
        If neither or both name slices, the sheet cannot be read, or a technology is given for no slice.
    """
    from lloki.io.sources import plan_sources

    if samplesheet is None:
        sources = plan_sources(list(slices or []))
        inputs = Inputs(list(slices or []), [s.sample for s in sources])
    elif slices:
        raise ConfigError("Slices are named twice: give either files or --samplesheet, not both.")
    else:
        rows = read_samplesheet(samplesheet)
        paths = [row.path for row in rows]
        names = [row.sample or s.sample for row, s in zip(rows, plan_sources(paths))]
        sources = plan_sources(paths, samples=names)
        inputs = Inputs(
            paths,
            names,
            {name: row.technology for name, row in zip(names, rows) if row.technology},
            [row.panel or None for row in rows],
            [row.layer or None for row in rows],
            named=any(row.sample for row in rows),
        )
    for text in technology or ():
        name, _, file = text.partition("=")
        if not name or not file:
            raise ConfigError(f"--technology {text}: write NAME=FILE, for example MERFISH={inputs.paths[0]}.")
        inputs.technology[_sample_of(file, name, sources)] = name
    return inputs


def _sample_of(file: str, name: str, sources: Sequence[Source]) -> str:
    """Sample that a file, its bare name or the sample's own name stands for."""
    place = f"--technology {name}={file}"
    tests = (
        lambda s: Path(str(s.data)).resolve() == Path(file).resolve(),
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
