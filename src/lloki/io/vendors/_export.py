"""What readers of instruments share: the files of one export, and what is read from them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import sparse

from lloki.errors import InputError

GENE = "Gene Expression"  # feature_type of what measures a gene, in the words of 10x Genomics
MICROMETRE = "micrometre"


@dataclass(frozen=True)
class Vendor:
    """An instrument: by which files its folder is recognized, and what reads them.

    Attributes
    ----------
    technology
        Name that slices are conditioned on.
    counts, cells
        Endings of the names of the two files that are needed (before ``.gz``), the preferred one first.
        Before them a name may have any prefix; both files have the same. One file may be both.
    read
        Reads one export.
    example
        Names of the two files, for messages.
    """

    technology: str
    counts: tuple[str, ...]
    cells: tuple[str, ...]
    read: Callable[[Export], Cells]
    example: str


@dataclass(frozen=True)
class Export:
    """One sample (region, slide, section) as an instrument's software wrote it.

    Attributes
    ----------
    vendor
        Whose it is.
    folder, prefix
        Where its files are, and what their names begin with.
    counts, cells
        The two files, or folders, that are needed.
    pixel_size
        Micrometers per pixel, where positions are in pixels and the user knows better than the files.
    """

    vendor: Vendor
    folder: Path
    prefix: str
    counts: Path
    cells: Path
    pixel_size: float | None = None

    def find(self, *endings: str) -> Path | None:
        """First other file of the export whose name has one of these endings, before ``.gz``."""
        for ending in endings:
            for name in (f"{self.prefix}{ending}", f"{self.prefix}_{ending}", ending):
                for path in (self.folder / name, self.folder / f"{name}.gz"):
                    if path.exists():
                        return path
        return None

    def damaged(self, path: Path, what: str, *, slot: str = "") -> InputError:
        """Error for a file that is there and cannot be used."""
        return InputError(what, where=str(path), slot=slot, hint="Export or copy the file again.")


@dataclass
class Cells:
    """What a reader found in one export.

    Attributes
    ----------
    counts
        (n, f) csr, of all features.
    features
        (f rows) their names; column ``feature_type`` where the instrument states it, and ``gene_ids``.
    obs
        (n rows) under the instrument's own ids, as text; all its columns.
    positions
        (n, 2 or 3) centroids in the frame of the whole sample.
    unit
        Of the positions: ``"micrometre"``, or ``""`` where it is not stated.
    size
        Column of ``obs`` with area or volume of the cells, or ``""``.
    panel
        Name of the panel, or ``""``.
    facts
        Further facts about the sample, for ``uns``: region, software.
    notes
        What was decided on the way, each a clause for the user.
    """

    counts: sparse.csr_matrix
    features: pd.DataFrame
    obs: pd.DataFrame
    positions: np.ndarray
    unit: str = MICROMETRE
    size: str = ""
    panel: str = ""
    facts: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def require_columns(frame: pd.DataFrame, names: Iterable[str], path: Path) -> None:
    """Refuse a table without some of its columns."""
    missing = [name for name in names if name not in frame.columns]
    if missing:
        found = ", ".join(map(str, frame.columns[:8]))
        raise InputError(
            f"has no column {' nor '.join(map(repr, missing))}",
            where=str(path),
            hint=f"It has: {found}{'…' if len(frame.columns) > 8 else ''}. Export the file again.",
        )
