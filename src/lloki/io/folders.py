"""Instruments' output folders as inputs: which samples they hold, and each as an AnnData."""

from __future__ import annotations

import os
import re
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from anndata import AnnData

from lloki import keys
from lloki._keywords import keywords
from lloki.errors import ConfigError, InputError, LlokiWarning
from lloki.io import vendors
from lloki.io._findings import Findings, some
from lloki.io.quality import drop_cells

_STORE = ("zarr.json", ".zgroup", ".zattrs", ".zmetadata")  # one of them is in a zarr store
_XENIUM = re.compile(r"output-\w+__(?P<slide>[^_]\w*?)__(?P<region>.+?)__\d{8}__\d{6}")


@keywords
def read_folder(
    folder: str | os.PathLike[str],
    *,
    min_counts: int = 0,
    max_control_rate: float | None = None,
    pixel_size: float | None = None,
) -> AnnData:
    """Read one sample from the output folder of an instrument.

    Parameters
    ----------
    folder
        As the instrument's software wrote it: Xenium, MERSCOPE, CosMx (flat files), STARmap PLUS, Spatial
        Genomics seqFISH, Molecular Cartography (as nf-core/molkart segments it), Stereo-seq
        (``cellbin.gef``) or Visium HD (``segmented_outputs``). The files may lie in a folder below, have a
        prefix, or be compressed. Of several samples in one folder, give the folder of one, or its file of
        counts.
    min_counts
        Leave out cells with fewer counts of genes. By default none: an empty cell is flagged later.
    max_control_rate
        Leave out cells of whose counts more than this share, from 0 to 1, are of control probes.
    pixel_size
        Micrometers per pixel, where the files have positions in pixels. By default it is the instrument's.

    Returns
    -------
    AnnData
        ``X`` (n, g) csr float32 counts of genes, without controls. ``obs``: the instrument's columns, its own
        ``cell_id`` as text, ``control_counts``. ``obsm["spatial"]`` (n, 2 or 3) centroids in micrometers, in
        the frame of the whole sample. ``uns``: ``technology``, ``panel`` and ``spatial_unit`` where the
        files state them, ``source``.

    Raises
    ------
    InputError
        If the folder holds no complete export, several, or damaged files. The message names the file.
    ConfigError
        If a parameter is out of its range.

    Warns
    -----
    LlokiWarning
        What was left out (controls, cells without a position) and what needs attention (cells of several
        times the usual size, probes of several genes).

    See Also
    --------
    read_slices : reads and checks slices of any format, these folders too; several samples are several
    slices.

    Notes
    -----
    Images and transcripts are not read. A dense CSV is read in chunks: memory is that of the counts other
    than zero and some 0.2 GB (:doc:`/benchmarks`).
    """
    path = Path(folder).expanduser()
    require_limits(min_counts, max_control_rate, pixel_size)
    if not path.exists():
        raise InputError("does not exist", where=str(path), hint="Check the path.")
    adata = open_folder(path, pixel_size=pixel_size)
    findings = Findings(str(path), strict=True)
    for note in adata.uns[keys.NOTES]:
        findings.corrected(note)
    keep = drop_cells(adata.X, adata.obs, findings, min_counts=min_counts, max_control_rate=max_control_rate)
    for message in findings.messages:
        warnings.warn(message, LlokiWarning, stacklevel=3)
    adata.uns[keys.NOTES] = [message.removeprefix(f"{path}: ") for message in findings.messages]
    return adata if keep.all() else adata[keep].copy()


def require_limits(min_counts: int, max_control_rate: float | None, pixel_size: float | None = None) -> None:
    """Refuse limits out of their range.

    Raises
    ------
    ConfigError
        Naming the parameter.
    """
    if min_counts < 0:
        raise ConfigError(f"min_counts must be 0 or more, got {min_counts}.")
    if max_control_rate is not None and not 0 <= max_control_rate <= 1:
        raise ConfigError(f"max_control_rate must be from 0 to 1, got {max_control_rate:g}.")
    if pixel_size is not None and not pixel_size > 0:
        raise ConfigError(f"pixel_size must be above 0, got {pixel_size:g}.")


def holds_export(path: Path) -> bool:
    """Whether an existing path is an instrument's: a folder that is no zarr store, or a file of one."""
    if path.is_dir():
        return path.suffix != ".zarr" and not any((path / name).exists() for name in _STORE)
    return bool(vendors.exports(path))


def open_folder(path: Path, *, pixel_size: float | None = None) -> AnnData:
    """Read the one sample that a folder holds, with ``uns`` notes for the user.

    Raises
    ------
    InputError
        If it holds none, or several.
    """
    found = vendors.exports(path)
    if not found:
        raise vendors.refuse(path)
    if len(found) > 1:
        raise InputError(
            f"holds {len(found)} samples: {some(map(str, _places(found)))}",
            where=str(path),
            hint="Give one of these paths.",
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # anndata warns of repeated names, which the checks report
        return vendors.read_export(replace(found[0], pixel_size=pixel_size))


def samples_in(path: str | os.PathLike[str]) -> dict[str, Path]:
    """Name → path of each sample of an instrument's folder that holds several; empty for any other path."""
    folder = Path(path).expanduser()
    if not folder.is_dir() or not holds_export(folder):
        return {}
    found = vendors.exports(folder)
    if len(found) < 2:
        return {}
    places = _places(found)
    inside = Counter(export.folder for export in found)
    names = [_name(folder, export, alone=inside[export.folder] == 1) for export in found]
    repeated = Counter(names)
    return {
        name if repeated[name] == 1 else f"{name}_{export.vendor.technology.replace(' ', '_')}": place
        for name, export, place in zip(names, found, places)
    }


def _places(found: Sequence[vendors.Export]) -> list[Path]:
    """Path that stands for each export: its folder, or its file of counts where the folder holds several."""
    shared = Counter(export.folder for export in found)
    return [export.folder if shared[export.folder] == 1 else export.counts for export in found]


def _name(path: Path, export: vendors.Export, *, alone: bool) -> str:
    """Short name of an export in a folder: folders down to it, and its prefix if it is not alone there."""
    parts = list(export.folder.relative_to(path).parts)
    parts = [f"{m['slide']}_{m['region']}" if (m := _XENIUM.fullmatch(part)) else part for part in parts]
    if export.prefix and not (alone and parts):
        parts.append(export.prefix)
    return "_".join(parts) or export.folder.name
