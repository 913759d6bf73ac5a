"""Find the exports of instruments in a folder, or say why there is none that can be used."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

from lloki.errors import InputError
from lloki.io._findings import some
from lloki.io.vendors._export import Export, Vendor

_DEPTH = 4  # folders down from the one given: run/flatFiles/slide, outs/segmented_outputs
_FOLDERS = 2_000  # looked into at most

# Names of files that are no cells, each with what to do.
_NO_CELLS = {
    r"tissue_positions(_list)?\.(csv|parquet)|square_\d{3}um|binned_outputs": (
        "is Visium ({}), whose spots and bins are not cells",
        "lloki integrates cells. Of Visium HD, give the folder segmented_outputs, which Space Ranger 4 and "
        "later write; spots and bins cannot be used.",
    ),
    r".*\.gef": (
        "is Stereo-seq in square bins ({}), which are not cells",
        "Give the folder with cellbin.gef, which SAW writes where it has an image to segment.",
    ),
    r"(.*[_.-])?((detected_|vizgen_)?transcripts(\.csv|\.parquet|\.zarr\.zip|\.txt)?|tx_file\.(csv|parquet)"
    r"|results(_withFP)?\.txt|TranscriptList\.csv)(\.gz)?": (
        "holds transcripts only ({}), no counts of cells",
        "Segment the cells first, with the instrument's software, Cellpose, Baysor or Proseg, and give the "
        "folder with the cells' counts and positions.",
    ),
}


def exports_in(path: Path, vendors: Sequence[Vendor]) -> list[Export]:
    """Find the exports that a path holds: a folder, folders in it, or one file of counts in a folder.

    Parameters
    ----------
    path
        A folder, or a file of counts, which stands for its export.
    vendors
        What is looked for.

    Returns
    -------
    list of Export
        Sorted by folder and prefix; none if it holds none that is complete. A folder that is an export itself
        is not searched further: what lies in it is a part of it, or another segmentation of the same cells.
    """
    if path.is_file():
        return [e for e in exports_of(path.parent, vendors) if e.counts == path]
    found: list[Export] = []
    level = [(path, 0)]
    for folder, depth in level:  # grows while it is walked: one level after the other
        own = exports_of(folder, vendors)
        found += own
        if not own and depth < _DEPTH and len(level) < _FOLDERS:
            level += [(below, depth + 1) for below in folders(folder)]
    return found


def exports_of(folder: Path, vendors: Sequence[Vendor]) -> list[Export]:
    """Complete exports whose files lie in a folder itself."""
    names, found = _names(folder), []
    for vendor in vendors:
        counts, cells = _files(names, vendor.counts), _files(names, vendor.cells)
        if len(counts) == len(cells) == 1:  # one of the files may have been renamed
            cells = dict(zip(counts, cells.values()))
        for prefix in sorted(set(counts) & set(cells)):
            found.append(Export(vendor, folder, prefix, folder / counts[prefix], folder / cells[prefix]))
    return found


def folders(folder: Path) -> list[Path]:
    """Folders in a folder, sorted, but for hidden ones and zarr stores."""
    inside = (entry for entry in sorted(folder.iterdir()) if entry.is_dir())
    return [entry for entry in inside if not entry.name.startswith(".") and entry.suffix != ".zarr"]


def refusal(path: Path, vendors: Sequence[Vendor]) -> InputError | None:
    """Explain why a folder without a complete export cannot be used; ``None`` if nothing in it is known."""
    names: dict[str, None] = {}
    for folder in _walk(path):
        for vendor in vendors:
            error = _missing(folder, vendor)
            if error:
                return error
        names |= dict.fromkeys(_names(folder))
    for pattern, (what, hint) in _NO_CELLS.items():
        known = [name for name in names if re.fullmatch(pattern, name, re.IGNORECASE)]
        if known:
            return InputError(what.format(some(known, 2)), where=str(path), hint=hint)
    return None


def _missing(folder: Path, vendor: Vendor) -> InputError | None:
    """Error that names the file of an export whose other file is there."""
    names = _names(folder)
    counts, cells = _files(names, vendor.counts), _files(names, vendor.cells)
    for present, endings, has, lacks in (
        (counts, vendor.cells, "counts", "positions"),
        (cells, vendor.counts, "positions", "counts"),
    ):
        for prefix in sorted(set(present) - (set(counts) & set(cells))):
            name = present[prefix]
            before = name[: name.index(prefix) + len(prefix)] + "_" if prefix else ""
            wanted = " or ".join(before + ending.lstrip("*") for ending in endings[:3])
            return InputError(
                f"is {vendor.technology} without its cells' {lacks}: {name} (their {has}) is there, but not "
                f"{wanted}",
                where=str(folder),
                hint="Copy the missing file from the instrument's export.",
            )
    return None


def _files(names: Sequence[str], endings: Sequence[str]) -> dict[str, str]:
    """Prefix → name, for the first of the endings that a prefix has."""
    found: dict[str, str] = {}
    for ending in endings:
        for name in names:
            match = _pattern(ending).fullmatch(name)
            if match and name not in found.values():
                found.setdefault(match[1].rstrip("_-. "), name)
    return found


@cache
def _pattern(ending: str) -> re.Pattern[str]:
    """Compile an ending: what precedes it ends in ``_``, ``-`` or ``.``, or is anything (``*``)."""
    before = "(.*)" if ending.startswith("*") else r"(|.*[_\-. ])"
    return re.compile(before + re.escape(ending.lstrip("*")).replace(r"\*", ".*") + r"(?:\.gz)?")


def _names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def _walk(path: Path) -> Iterator[Path]:
    """Yield a folder and those in it, level by level."""
    level = [(path, 0)]
    for folder, depth in level:
        yield folder
        if depth < _DEPTH and len(level) < _FOLDERS:
            level += [(below, depth + 1) for below in folders(folder)]
