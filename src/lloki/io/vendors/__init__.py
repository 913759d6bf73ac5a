"""Output folders of instruments, each read by a small module of its own.

:func:`exports` finds what a folder holds, :func:`read_export` reads one sample of it; :func:`refuse`
explains why a folder cannot be used. Images and transcripts are never read.
"""

from __future__ import annotations

from pathlib import Path

from anndata import AnnData

from lloki import keys
from lloki.errors import InputError
from lloki.io._findings import some
from lloki.io.vendors import _search
from lloki.io.vendors._assemble import assemble
from lloki.io.vendors._export import Export, Vendor
from lloki.io.vendors.cosmx import COSMX
from lloki.io.vendors.merscope import MERSCOPE
from lloki.io.vendors.molecular_cartography import MOLECULAR_CARTOGRAPHY
from lloki.io.vendors.seqfish import SEQFISH
from lloki.io.vendors.starmap import STARMAP
from lloki.io.vendors.stereoseq import STEREOSEQ
from lloki.io.vendors.visium_hd import VISIUM_HD
from lloki.io.vendors.xenium import XENIUM

VENDORS: tuple[Vendor, ...] = (
    XENIUM,
    MERSCOPE,
    COSMX,
    STARMAP,
    SEQFISH,
    MOLECULAR_CARTOGRAPHY,
    STEREOSEQ,
    VISIUM_HD,
)


def exports(path: Path) -> list[Export]:
    """Find the complete exports in a folder and those in it; a file of counts stands for its own.

    Parameters
    ----------
    path
        Folder or file.

    Returns
    -------
    list of Export
        In order of folder and name; several regions or slides are several.
    """
    return _search.exports_in(path, VENDORS)


def refuse(path: Path) -> InputError:
    """Error for a folder without a complete export: what is missing, or why its content cannot be used."""
    known = "; ".join(f"{vendor.technology}: {vendor.example}" for vendor in VENDORS[:4])
    inside = some(sorted(entry.name for entry in path.iterdir()))
    return _search.refusal(path, VENDORS) or InputError(
        f"is neither a zarr store nor an instrument's output folder: {inside}",
        where=str(path),
        hint="lloki reads AnnData (.h5ad or .zarr), SpatialData (.zarr), and folders of instruments "
        f"({known}; …).",
    )


def read_export(export: Export) -> AnnData:
    """Read one sample.

    Raises
    ------
    InputError
        If a file is damaged or lacks what is needed; the message names it.
    """
    adata = assemble(export.vendor.read(export), export)
    others = [folder for folder in _search.folders(export.folder) if _search.exports_of(folder, VENDORS)]
    if others:
        adata.uns[keys.NOTES].append(
            f"{some(folder.name for folder in others)} in this folder is another segmentation of its cells, "
            "not read; give that folder in place of this one to use it"
        )
    return adata


__all__ = ["VENDORS", "Export", "Vendor", "exports", "read_export", "refuse"]
