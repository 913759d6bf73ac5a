"""Matrices of 10x Genomics: features × cells as HDF5, as a folder of MEX files, or as zipped zarr."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import io, sparse

from lloki.errors import InputError
from lloki.io.trust import check_market, check_zarr, open_hdf5


@dataclass(frozen=True)
class Matrix:
    """(n, f) csr counts, names of cells, and features with columns ``gene_ids`` and ``feature_type``."""

    counts: sparse.csr_matrix
    cells: np.ndarray
    features: pd.DataFrame


def read_matrix(path: Path) -> Matrix:
    """Read a matrix in whichever of the three forms it is.

    Raises
    ------
    InputError
        If it is damaged, or a file of a MEX folder is missing; the message names the file.
    """
    try:
        if path.is_dir():
            return _mex(path)
        return _zarr(path) if path.name.endswith(".zarr.zip") else _h5(path)
    except (InputError, PermissionError):
        raise
    except Exception as error:  # a damaged file raises whatever h5py, scipy or zarr meets first
        raise InputError(
            f"is damaged, or no matrix of 10x Genomics ({type(error).__name__}: {error})",
            where=str(path),
            hint="Export or copy it again.",
        ) from error


def text(values: Any) -> np.ndarray:
    """Ids and names as text; files hold bytes, text or integers."""
    return np.array(
        [v.decode() if isinstance(v, bytes) else str(v) for v in np.asarray(values).tolist()], object
    )


def cell_names(ids: np.ndarray) -> np.ndarray:
    """Names of cells as Xenium writes them (``aaaaficg-1``), from their two integers in zarr.

    The first is written in hexadecimal, with the letters a to p for the digits 0 to f; the second is the data
    set that the cell belongs to. Old files have one integer, which is the name.
    """
    if ids.ndim == 1:
        return text(ids)
    letters = str.maketrans("0123456789abcdef", "abcdefghijklmnop")
    return np.array([f"{int(a):08x}".translate(letters) + f"-{int(b)}" for a, b in ids], object)


def _h5(path: Path) -> Matrix:
    with open_hdf5(path) as file:
        group = file["matrix"]
        features = group["features"]
        types = features["feature_type"][:] if "feature_type" in features else None
        table = _features(features["id"][:], features["name"][:], types)
        f, n = (int(size) for size in group["shape"][:])  # old files hold it as fractions
        parts = [group[name][:] for name in ("data", "indices", "indptr")]
        return Matrix(_csr(parts, (n, f)), text(group["barcodes"][:]), table)


def _zarr(path: Path) -> Matrix:
    group = open_zip(path)["cell_features"]
    attrs = dict(group.attrs)
    names, ids = attrs["feature_keys"], attrs.get("feature_ids", attrs["feature_keys"])
    table = _features(
        ids, names, [_TYPES.get(t, t) for t in attrs.get("feature_types", ["gene"] * len(names))]
    )
    cells = cell_names(np.asarray(group["cell_id"][:]))
    parts = [np.asarray(group[name][:]) for name in ("data", "indices", "indptr")]
    f, n = len(table), len(cells)
    if len(parts[2]) == n + 1 and n != f:
        return Matrix(_csr(parts, (n, f)), cells, table)
    return Matrix(_csr(parts, (f, n)).T.tocsr(), cells, table)  # rows are features


_TYPES = {"gene": "Gene Expression"}  # in zarr; all others are controls


def open_zip(path: Path) -> Any:
    """Open a zarr store in a zip file."""
    import zarr
    from zarr.storage import ZipStore

    check_zarr(path)
    return zarr.open_group(ZipStore(str(path), mode="r"), mode="r")


def _mex(path: Path) -> Matrix:
    def find(*names: str) -> Path:
        for name in names:
            for file in (path / f"{name}.gz", path / name):
                if file.exists():
                    return file
        raise InputError(f"lacks {names[0]}.gz", where=str(path), hint="Copy or export the folder again.")

    matrix = find("matrix.mtx")
    names = pd.read_csv(find("features.tsv", "genes.tsv"), sep="\t", header=None, dtype=str)
    cells = pd.read_csv(find("barcodes.tsv"), sep="\t", header=None, dtype=str)[0].to_numpy(object)
    with gzip.open(matrix) if matrix.suffix == ".gz" else matrix.open("rb") as file:
        check_market(iter(file), (len(names), len(cells)), matrix.stat().st_size, path=matrix)
        file.seek(0)
        counts = sparse.csr_matrix(io.mmread(file).T, dtype=np.float32)
    if counts.shape != (len(cells), len(names)):
        raise InputError(
            f"is for {counts.shape[0]:,} cells and {counts.shape[1]:,} features, but its folder names "
            f"{len(cells):,} and {len(names):,}",
            where=str(matrix),
            hint="Copy or export the folder again.",
        )
    return Matrix(counts, cells, _features(names[0], names[1], names.get(2)))


def _features(ids: Any, names: Any, types: Any) -> pd.DataFrame:
    table = pd.DataFrame({"gene_ids": text(ids)}, index=pd.Index(text(names), dtype=object))
    if types is not None:
        table["feature_type"] = text(types)
    return table


def _csr(parts: list[np.ndarray], shape: tuple[int, int]) -> sparse.csr_matrix:
    """Matrix from its parts, which old and re-written files hold as fractions."""
    data, indices, indptr = parts
    wide = np.int32 if len(data) < 2**31 and max(shape) < 2**31 else np.int64
    counts = sparse.csr_matrix(
        (np.asarray(data, np.float32), np.asarray(indices).astype(wide), np.asarray(indptr).astype(wide)),
        shape=shape,
    )
    counts.check_format(full_check=True)
    return counts
