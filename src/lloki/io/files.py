"""Open any accepted input as one AnnData, as it is; nothing is checked here but that it can be read."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Any

import anndata
import h5py
import zarr
from anndata import AnnData
from anndata.experimental import read_dispatched
from anndata.io import read_elem

from lloki.errors import InputError, LlokiError
from lloki.io._findings import some
from lloki.io.folders import holds_export, open_folder
from lloki.io.spatial_data import is_spatial_data, read_spatial_data
from lloki.io.trust import check_zarr, open_hdf5, require_name

_FORMATS = "lloki reads AnnData (.h5ad or .zarr), SpatialData (.zarr) and instruments' output folders"

# how files begin that are taken for .h5ad, what they are, and what to do with them
_BEGINNINGS = (
    (b"version https://git-lfs", "a Git LFS pointer to a file", "Fetch the file itself: git lfs pull."),
    (b"/annex/objects/", "a git-annex pointer to a file", "Fetch the file itself: git annex get."),
    (b"<", "a web page or XML, not data", "Download it again; the address may need a login."),
    (b"\x1f\x8b", "compressed with gzip", "Unpack it first: gunzip."),
    (b"PK\x03\x04", "a zip archive", "Unpack it first: unzip."),
    (b"BZh", "compressed with bzip2", "Unpack it first: bunzip2."),
    (b"\xfd7zXZ", "compressed with xz", "Unpack it first: unxz."),
    (b"(\xb5/\xfd", "compressed with zstd", "Unpack it first: zstd -d."),
)

UNUSED = ("obsp", "varp")  # slots of slices and references that nothing reads
_RASTERS = ("images", "labels", "points")  # of SpatialData, which reads them piece by piece

# what HDF5 writes of a file that another program, or this one, has open for writing
_LOCKED = ("unable to lock file", "already open for write", "already open for read-only", "consistency flag")


def open_input(source: str | os.PathLike[str] | AnnData, *, unread: Collection[str] = ()) -> AnnData:
    """Open a path, or pass an AnnData through (loaded, if it is backed by a file).

    Parameters
    ----------
    source
        ``.h5ad`` file, AnnData or SpatialData ``.zarr`` folder, an instrument's output folder or its file of
        counts, or an AnnData. The content decides which; the name does not matter.
    unread
        Slots of a file that are left out, such as ``obsp``.

    Raises
    ------
    InputError
        If it is missing, may not be read, is cut short, or is none of these formats; or if it takes values
        from other files, or declares more than it can hold (:mod:`lloki.io.trust`).
    MissingExtraError
        If it is SpatialData and the package ``spatialdata`` is absent.
    """
    with warnings.catch_warnings():
        # anndata warns of repeated names, old formats and integer indices; the checks report these
        warnings.simplefilter("ignore")
        if isinstance(source, AnnData):
            if source.isbacked and source.filename is not None:
                with suppress(OSError), open_hdf5(Path(source.filename)):  # or it is open for writing
                    pass
            return source.to_memory() if source.isbacked else source
        path = Path(source).expanduser()
        if re.match(r"\w{2,}:/", str(source)):
            raise InputError("is an address, not a file", where=str(source), hint="Download it first.")
        require_name(path)
        try:
            if not path.exists():
                near = (
                    [other.name for other in path.parent.glob(f"*{path.suffix}")]
                    if path.parent.is_dir()
                    else []
                )
                hint = f"That folder holds: {some(sorted(near))}." if near else "Check the path."
                if (slashed := Path(str(path).replace("\\", "/"))).exists():
                    hint = f"{slashed} does: write / in place of \\."
                raise InputError("does not exist", where=str(path), hint=hint)
            if holds_export(path):
                return open_folder(path)
            return _open_zarr(path, unread) if path.is_dir() else _open_h5ad(path, unread)
        except PermissionError as error:
            raise InputError(
                "may not be read", where=str(path), hint="Give yourself read permission (chmod u+r)."
            ) from error


def _open_h5ad(path: Path, unread: Collection[str]) -> AnnData:
    where = str(path)
    if path.stat().st_size == 0:
        raise InputError("is an empty file (0 bytes)", where=where, hint="Copy or download it again.")
    try:
        with open_hdf5(path, unread=unread) as file:
            return _read_h5ad(path, file, unread)
    except PermissionError:
        raise
    except OSError as error:
        if not os.access(path, os.R_OK):
            raise PermissionError(path) from error
        if not h5py.is_hdf5(path):
            with path.open("rb") as raw:
                head = raw.read(64).lstrip()
            for beginning, what, hint in _BEGINNINGS:
                if head.startswith(beginning):
                    raise InputError(f"is {what}", where=where, hint=hint) from error
            raise InputError(
                "is not an .h5ad (HDF5) file", where=where, hint=f"{_FORMATS}; unpack or convert it first."
            ) from error
        if any(sign in str(error).lower() for sign in _LOCKED):
            raise InputError(
                f"is open for writing elsewhere ({error})",
                where=where,
                hint="Close it in the notebook or program that holds it (adata.file.close()), or copy it.",
            ) from error
        raise InputError(
            f"is damaged or cut short ({error})", where=where, hint="Copy or download the file again."
        ) from error


def _read_h5ad(path: Path, file: h5py.File, unread: Collection[str]) -> AnnData:
    where, present, misfit = str(path), set(file), _misfit(file)
    if not {"obs", "var"} <= present:
        raise InputError(
            f"is HDF5 but not AnnData: it holds {some(sorted(present))} in place of X, obs and var",
            where=where,
            hint=f"{_FORMATS}; a 10x .h5 matrix lacks the cells' coordinates: give the folder of the export.",
        )
    if "mod" in present or file.attrs.get("encoding-type") == "MuData":
        modalities = list(file["mod"]) if "mod" in present else []
        raise InputError(
            f"is MuData: it holds several matrices ({some(modalities)})",
            where=where,
            hint="Write the one with gene counts alone: mdata.mod[NAME].write_h5ad(...).",
        )
    if misfit:
        raise misfit_error(where, *misfit)
    try:
        if file.attrs.get("encoding-type") == "anndata":
            return _read(file, unread)
        return anndata.read_h5ad(path)  # written before anndata 0.8: it knows the old layouts, and opens anew
    except PermissionError:
        raise
    except Exception as error:  # a damaged file raises whatever h5py, anndata or pandas meets first
        raise InputError(
            f"cannot be read as AnnData ({type(error).__name__}: {error})",
            where=where,
            hint="Open and write it again with a current anndata, or copy the file again.",
        ) from error


def _open_zarr(path: Path, unread: Collection[str]) -> AnnData:
    where = str(path)
    check_zarr(path, unread=(*_RASTERS, *unread))
    try:
        group = zarr.open_group(str(path), mode="r")
        attrs, present = dict(group.attrs), set(group.keys())
    except PermissionError:
        raise
    except Exception as error:  # zarr's own exceptions differ between its versions
        raise InputError(
            f"cannot be read as zarr ({type(error).__name__}: {error})",
            where=where,
            hint="Copy the folder again.",
        ) from error
    try:
        if is_spatial_data(attrs, present):
            return read_spatial_data(path)
        if not {"obs", "var"} <= present:
            raise InputError(
                f"is zarr but neither AnnData nor SpatialData: it holds {some(sorted(present))}",
                where=where,
                hint=f"{_FORMATS}.",
            )
        return _read(group, unread) if attrs.get("encoding-type") == "anndata" else anndata.read_zarr(group)
    except (LlokiError, PermissionError):
        raise
    except Exception as error:  # as for h5ad
        raise InputError(
            f"cannot be read as zarr ({type(error).__name__}: {error})",
            where=where,
            hint="Copy the folder again.",
        ) from error


def _read(group: Any, unread: Collection[str]) -> AnnData:
    """Read an AnnData without some of its slots."""

    def read(function: Any, name: str, part: Any, iospec: Any) -> Any:
        return {} if name.strip("/") in unread else function(part)

    adata: AnnData = read_dispatched(group, read) if unread else read_elem(group)
    return adata


def misfit_error(where: str, slot: str, found: int, expected: int) -> InputError:
    """Error for a part of a file that has more or fewer rows than the file has cells."""
    return InputError(
        f"has {found:,} rows but obs has {expected:,} cells",
        where=where,
        slot=slot,
        hint="Give one row a cell, in the order of obs.",
    )


def _misfit(file: h5py.File) -> tuple[str, int, int] | None:
    """Find the first obsm entry whose rows are not the cells; anndata would refuse it unnamed."""
    obs = file.get("obs")
    if not isinstance(obs, h5py.Group):
        return None
    index = obs.get(str(obs.attrs.get("_index", "_index")))
    if isinstance(index, h5py.Group):  # nullable strings, as of pandas 3: values and mask
        index = index.get("values")
    if not isinstance(index, h5py.Dataset):
        return None
    for name, value in (file.get("obsm") or {}).items():
        if isinstance(value, h5py.Dataset) and value.shape and value.shape[0] != index.shape[0]:
            return f"obsm['{name}']", value.shape[0], index.shape[0]
    return None
