"""The joint AnnData as a file: its counts one slice after another, so that they are never all in memory."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from anndata import AnnData
from anndata.io import sparse_dataset
from scipy import sparse

from lloki import keys
from lloki.io import atomic

CHUNK = 1 << 18  # stored values of a chunk: 1 MB
BOTH = ("X", f"layers/{keys.COUNTS}")  # X is what others normalize in place


def write_h5ad(
    path: Path, adata: AnnData, counts: Iterable[sparse.csr_matrix] = (), *, size: int = 0
) -> None:
    """Write an AnnData, whole or not at all.

    The space is taken, and given back, before: HDF5 takes the whole interpreter with it when the disk becomes
    full under an open file.

    Parameters
    ----------
    path
        The file.
    adata
        All of it, or all but its counts.
    counts
        Where it has none: those of its rows, (n_i, g) after (n_i, g), for ``X`` and ``layers["counts"]``.
    size
        At most so many bytes of them.

    Raises
    ------
    OutputError
        If the disk is full or the place cannot be written.
    """
    with atomic(path) as temporary:
        _try_space(temporary, _size(adata) + 2 * size)
        adata.write_h5ad(temporary)
        if adata.X is None:
            with h5py.File(temporary, "r+") as file:
                _append(file, counts, adata.shape)


@contextmanager
def counts_of(path: Path, adata: AnnData) -> Iterator[None]:
    """Give an AnnData the ``X`` of the file that it was written to, read from there when asked for."""
    with h5py.File(path, "r") as file:
        adata.X = sparse_dataset(file["X"])
        try:
            yield
        finally:
            adata.X = None


def _append(file: h5py.File, counts: Iterable[sparse.csr_matrix], shape: tuple[int, int]) -> None:
    """Write CSR matrices as one, in the layout of AnnData."""
    groups = []
    for name in BOTH:
        group = file.create_group(name)
        group.attrs.update({"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": shape})
        for part, dtype in (("data", np.float32), ("indices", np.int32)):
            group.create_dataset(part, (0,), dtype, maxshape=(None,), chunks=(CHUNK,))
        groups.append(group)
    ends, start = [np.zeros(1, np.int64)], 0
    for x in counts:
        ends.append(start + x.indptr[1:].astype(np.int64))
        for group in groups:
            for part, values in (("data", x.data), ("indices", x.indices)):
                group[part].resize((start + x.nnz,))
                group[part][start:] = values
        start += x.nnz
    pointers = np.concatenate(ends)
    width = np.int32 if pointers[-1] < 2**31 else np.int64
    for group in groups:
        group.create_dataset("indptr", data=pointers.astype(width))


def _size(adata: AnnData) -> int:
    """About the bytes of an ``.h5ad``, rather too many."""
    x: Any = adata.X
    arrays = [*adata.obsm.values(), *adata.varm.values()]
    arrays += [] if x is None else [x.data, x.indices, x.indptr] * 2
    tables = [frame.memory_usage(index=True, deep=True).sum() for frame in (adata.obs, adata.var)]
    return int(1.05 * (sum(a.nbytes for a in arrays) + sum(tables))) + 2**20


def _try_space(path: Path, size: int) -> None:
    if hasattr(os, "posix_fallocate"):
        with path.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, size)
        path.unlink()
    elif shutil.disk_usage(path.parent).free < size:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))
