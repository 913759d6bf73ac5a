"""Slices: every input read, checked and cut into its sections."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from anndata import AnnData

from lloki import keys
from lloki._keywords import keywords
from lloki.errors import InputError
from lloki.io._findings import some, warn_once_each
from lloki.io.cells import missing_column
from lloki.io.messages import together
from lloki.io.options import ReadOptions
from lloki.io.sections import Section, read_sections
from lloki.io.sources import Slices


@dataclass(frozen=True)
class SliceCheck:
    """What :func:`check_slices` found out about one section, or about an input that has none.

    Attributes
    ----------
    name
        Name of the section (or sample).
    path
        The input it is in.
    cells, genes
        Its size; 0 where that could not be read.
    scale
        ``"counts"``, ``"log-normalized"``, ``"normalized"``, or ``""`` where it could not be read.
    ids, species
        Kind of the gene names (``"symbol"``, ``"ensembl"``) and species (``"mouse"``, ``"human"``,
        ``"unknown"``).
    technology, panel
        What it would be conditioned on.
    spacing
        Median distance from a cell to the nearest other, NaN where positions could not be read.
    extent
        Width and height of the section.
    unit
        Of these: ``"micrometre"``, another, or ``""`` where it is not known.
    control_rate
        Share of control probes in all counts; NaN where it is not known.
    errors
        Why it cannot be used, each with file, slot and fix; empty if it can.
    warnings
        What would be corrected.
    """

    name: str
    path: str
    cells: int = 0
    genes: int = 0
    scale: str = ""
    ids: str = ""
    species: str = "unknown"
    technology: str = ""
    panel: str = ""
    spacing: float = float("nan")
    extent: tuple[float, float] = (float("nan"), float("nan"))
    unit: str = ""
    control_rate: float = float("nan")
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether it can be used."""
        return not self.errors

    @classmethod
    def of(cls, section: Section) -> SliceCheck:
        """Facts and findings of a section as read."""
        return cls(
            name=section.name,
            path=section.source.where,
            errors=section.findings.errors,
            warnings=section.findings.messages,
            **section.facts,
        )


@keywords
def read_slices(
    paths: Slices,
    *,
    layer: str | None = None,
    allow_normalized: bool = False,
    slice_key: str | None = None,
    technology: Mapping[str, str] | None = None,
    samples: Sequence[str] | None = None,
    panels: Sequence[str | None] | None = None,
    layers: Sequence[str | None] | None = None,
    label_key: str | None = None,
    n_neighbors: int = 40,
    min_counts: int = 0,
    max_control_rate: float | None = None,
) -> list[AnnData]:
    """Read and check slices: one new AnnData per section. The input is not changed.

    Parameters
    ----------
    paths
        One or several ``.h5ad`` files, AnnData or SpatialData ``.zarr`` folders, instruments' output folders
        (:func:`read_folder`), or AnnData in memory, in any combination. Slices returned by this function may
        be given again, with the same result. A folder with several samples (regions, slides) is several
        slices, named ``folder_sample``.
    layer
        Where the counts are, for all inputs: a layer, ``"raw"`` for ``adata.raw``, or ``None`` for ``X``.
    allow_normalized
        Accept values that are not counts. Logarithms are reversed (exactly, if the values show how they were
        computed); z-scores are still refused, as their zeros are lost.
    slice_key
        ``obs`` column that names the sections of a file; each becomes an AnnData named
        ``sample:section``. An input without that column is one section; at least one input must have it.
    technology
        Maps sample names to technologies. Otherwise ``uns["technology"]``, ``obs["technology"]`` or the
        file's name, with a warning.
    samples
        Names of the inputs; by default the file names without ending.
    panels
        Names of the panels; by default ``obs["panel"]``, else a label made from the set of genes.
    layers
        Like ``layer``, one per input; ``None`` falls back to ``layer``.
    label_key
        ``obs`` column of cell labels, made categorical; at least one input must have it.
    n_neighbors
        Number of neighbors per cell in later stages; a warning is issued for a section with fewer cells.
    min_counts
        Leave out cells with fewer counts of genes. By default none: empty cells are flagged.
    max_control_rate
        Leave out cells of whose counts more than this share (0 to 1) are of control probes, in slices from an
        instrument's folder.

    Returns
    -------
    list of AnnData
        In the order of ``paths``, sections sorted by name. ``X`` csr float32 counts; ``obsm["spatial"]``
        float64 (n, 2|3); ``obs`` all input columns and ours (:mod:`lloki.keys`); ``uns["lloki"]`` source,
        scale, gene ids, species and messages. Cells without counts are kept and flagged.

    Raises
    ------
    InputError
        If a slice cannot be used; the message names the file, the slot and the fix.
    GeneError
        If no gene can be recognized.
    ConfigError
        If the parameters contradict each other.
    MissingExtraError
        If a SpatialData store is given and its package is absent.

    Warns
    -----
    LlokiWarning
        Once for each correction, with the names of the slices concerned; each slice's own are also kept in
        ``uns["lloki"]["messages"]``.

    Notes
    -----
    Time and memory grow with the stored values; about a second and 0.2 GB for 37,000 cells of 250 genes.
    """
    options = ReadOptions(
        layer=layer,
        allow_normalized=allow_normalized,
        slice_key=slice_key,
        label_key=label_key,
        technology=technology,
        samples=samples,
        panels=panels,
        layers=layers,
        n_neighbors=n_neighbors,
        min_counts=min_counts,
        max_control_rate=max_control_rate,
    )
    new: list[tuple[str, str, str]] = []
    slices: list[AnnData] = []
    for adata, section in _read(paths, options):
        slices.append(adata)
        new += [(section.name, section.source.where, text) for text in section.findings.new]
    warn_once_each(together(new), stacklevel=3)
    return slices


def iter_slices(paths: Slices, options: ReadOptions | None = None) -> Iterator[AnnData]:
    """Yield what :func:`read_slices` returns, one slice at a time, so that only one input is in memory.

    Parameters
    ----------
    paths
        As for :func:`read_slices`.
    options
        How to read them. Corrections are in ``uns["lloki"]["messages"]``; no warnings are issued.
    """
    for adata, _ in _read(paths, options or ReadOptions()):
        yield adata


def _read(paths: Slices, options: ReadOptions) -> Iterator[tuple[AnnData, Section]]:
    """Read input after input; what is wrong between them is known, and raised, at the end."""
    sections: list[Section] = []
    for found in iter_sections(paths, options, strict=True):
        sections += found
        for section in found:
            adata, section.adata = section.adata, None
            if adata is not None:
                yield adata, section
                del adata  # before the next input is read
    for error in errors_between(sections, options):
        raise error


def iter_sections(paths: Slices, options: ReadOptions, *, strict: bool) -> Iterator[list[Section]]:
    """Open input after input, each once, and yield its sections.

    Whoever takes them sets ``section.adata`` to ``None`` when done with it, so that one input is in memory.
    """
    for source in options.sources(paths):
        yield read_sections(source, options, strict=strict)


@keywords
def check_slices(
    paths: Slices,
    *,
    layer: str | None = None,
    allow_normalized: bool = False,
    slice_key: str | None = None,
    technology: Mapping[str, str] | None = None,
    samples: Sequence[str] | None = None,
    panels: Sequence[str | None] | None = None,
    layers: Sequence[str | None] | None = None,
    label_key: str | None = None,
    n_neighbors: int = 40,
    min_counts: int = 0,
    max_control_rate: float | None = None,
) -> list[SliceCheck]:
    """Check slices and report the result: reads as :func:`read_slices`, but never raises for data.

    Parameters
    ----------
    paths, layer, allow_normalized, slice_key, technology, samples, panels, layers, label_key, n_neighbors
        As for :func:`read_slices`.
    min_counts, max_control_rate
        As for :func:`read_slices`.

    Returns
    -------
    list of SliceCheck
        One per section, or one per input that could not be cut into sections, in the order of ``paths``. All
        errors of an input are listed, not only the first.

    Raises
    ------
    ConfigError
        If the parameters contradict each other, whatever the data.
    """
    options = ReadOptions(
        layer=layer,
        allow_normalized=allow_normalized,
        slice_key=slice_key,
        label_key=label_key,
        technology=technology,
        samples=samples,
        panels=panels,
        layers=layers,
        n_neighbors=n_neighbors,
        min_counts=min_counts,
        max_control_rate=max_control_rate,
    )
    sections: list[Section] = []
    for found in iter_sections(paths, options, strict=False):
        for section in found:
            section.adata = None  # only the facts are kept: memory stays that of one input
        sections += found
    compare_sections(sections, options)
    return [SliceCheck.of(section) for section in sections]


def compare_sections(sections: Sequence[Section], options: ReadOptions) -> list[InputError]:
    """Add to the findings of sections what shows only when all were read; return its errors."""
    errors = errors_between(sections, options)
    for section in sections:
        section.findings.errors += map(str, errors)
    for section in sections:
        section.findings.messages += _labels_alike(section, sections, options)
    species = {section.facts["species"]: section.name for section in sections if section.facts.get("species")}
    species.pop("unknown", None)
    if len(species) > 1:
        both = " and ".join(f"{name} ({kind})" for kind, name in species.items())
        for section in sections:
            section.findings.messages.append(f"slices of different species, by their gene names: {both}")
    return errors


def _labels_alike(section: Section, sections: Sequence[Section], options: ReadOptions) -> list[str]:
    """Labels of a section that another writes in another case or punctuation: different types, to a score."""
    spellings: dict[str, set[str]] = {}
    for label in {label for other in sections for label in other.labels}:
        spellings.setdefault(_bare(label), set()).add(label)
    groups = [spellings[_bare(label)] for label in sorted(section.labels)]
    differ = list(dict.fromkeys(" and ".join(map(repr, sorted(group))) for group in groups if len(group) > 1))
    if not differ:
        return []
    text = f"labels in obs['{options.label_key}'] that differ in case or punctuation only: {some(differ, 3)}"
    return [f"{section.findings.where}: {text}; taken as different types"]


def _bare(label: str) -> str:
    return "".join(sign for sign in label.casefold() if sign.isalnum() or sign in "+-")


def errors_between(sections: Sequence[Section], options: ReadOptions) -> list[InputError]:
    """Find what is wrong between inputs: a key that none of them has, a name that two sections share."""
    errors: list[InputError] = []
    read = [section for section in sections if section.columns is not None]
    for parameter, key in (("slice_key", options.slice_key), ("label_key", options.label_key)):
        if read and key is not None and not any(key in (section.columns or []) for section in read):
            errors.append(missing_column(read[0].columns or [], key, read[0].source.where, parameter))
    names = [section.name for section in sections]
    for name in sorted({name for name in names if names.count(name) > 1}):
        errors.append(
            InputError(
                f"two sections are called {name!r}",
                where=next(section.source.where for section in sections if section.name == name),
                slot=f"obs['{keys.SLICE}']",
                hint="Give the inputs different names with samples=.",
            )
        )
    return errors
