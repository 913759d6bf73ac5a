"""The joint AnnData, written one slice after another, is the one that is put together in memory."""

from __future__ import annotations

from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
from anndata.io import sparse_dataset
from scipy import sparse

from lloki import _parts, keys
from lloki._parts import row_blocks, take_rows
from lloki.errors import OutputError
from lloki.run import _write
from lloki.run._write import counts_of, write_h5ad


def joint(x: sparse.csr_matrix | None, cells: int, genes: int) -> ad.AnnData:
    obs = pd.DataFrame({"slice": ["a"] * cells}, index=[f"c{i}" for i in range(cells)])
    made = ad.AnnData(x, obs=obs, var=pd.DataFrame(index=[f"g{i}" for i in range(genes)]))
    made.obsm[keys.JOINT] = np.arange(cells * 2, dtype=np.float32).reshape(cells, 2)
    return made


def counts(cells: int = 50, genes: int = 9, seed: int = 0) -> sparse.csr_matrix:
    return sparse.random(cells, genes, 0.3, "csr", np.float32, random_state=seed)


def test_the_file_is_the_one_written_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_write, "CHUNK", 16)
    parts = [counts(20), sparse.csr_matrix((0, 9), dtype=np.float32), counts(30, seed=1)]
    whole = joint(sparse.vstack(parts, format="csr"), 50, 9)
    whole.layers[keys.COUNTS] = whole.X.copy()
    write_h5ad(tmp_path / "whole.h5ad", whole)
    write_h5ad(tmp_path / "parts.h5ad", joint(None, 50, 9), iter(parts), size=10_000)
    one, other = (ad.read_h5ad(tmp_path / f"{name}.h5ad") for name in ("whole", "parts"))
    for a, b in ((one.X, other.X), (one.layers[keys.COUNTS], other.layers[keys.COUNTS])):
        assert a.dtype == b.dtype
        assert a.has_sorted_indices == b.has_sorted_indices
        for part in ("data", "indices", "indptr"):
            np.testing.assert_array_equal(getattr(a, part), getattr(b, part))
            assert getattr(a, part).dtype == getattr(b, part).dtype
    pd.testing.assert_frame_equal(one.obs, other.obs)
    np.testing.assert_array_equal(one.obsm[keys.JOINT], other.obsm[keys.JOINT])
    backed = ad.read_h5ad(tmp_path / "parts.h5ad", backed="r")
    assert (backed.X[10:25] != one.X[10:25]).nnz == 0


def test_nothing_is_left_of_a_file_that_could_not_be_written(tmp_path: Path) -> None:
    def broken():
        yield counts(20)
        raise OSError(28, "No space left on device")

    with pytest.raises(OutputError):
        write_h5ad(tmp_path / "parts.h5ad", joint(None, 50, 9), broken())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("rows", [[], [3, 4, 5, 6], [1, 40, 7, 7, 0], list(range(50))[::-1]])
def test_rows_of_a_file_are_those_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: list[int]
) -> None:
    monkeypatch.setattr(_parts, "ROWS", 8)
    x, path = counts(), tmp_path / "x.h5ad"
    write_h5ad(path, adata := joint(None, 50, 9), [x])
    with counts_of(path, adata):
        found = take_rows(adata.X, np.array(rows, np.int64))
        assert (found != x[np.array(rows, np.int64)]).nnz == 0
        assert found.shape == (len(rows), 9)
        blocks = list(row_blocks(adata.X))
        assert max(block.shape[0] for block in blocks) == 8
        assert (sparse.vstack(blocks) != x).nnz == 0
    assert adata.X is None
    with h5py.File(path) as file:
        assert sparse_dataset(file[f"layers/{keys.COUNTS}"]).shape == (50, 9)
