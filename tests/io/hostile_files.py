"""Files that reach outside of themselves, or declare more than they hold; each made from a good slice.

Called as ``python hostile_files.py FILE…``, checks each file and prints as JSON the memory that this took, in
MB, and every error.
"""

from __future__ import annotations

import json
import resource
import shutil
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
from anndata import AnnData
from h5py import h5d, h5p, h5s, h5t

SECRET = b"secret-of-another-file-"


def _h5ad(good: AnnData, path: Path) -> h5py.File:
    good.write_h5ad(path)
    return h5py.File(path, "r+")


def _external_column(good: AnnData, folder: Path) -> Path:
    """A column of obs whose values are the bytes of a local file."""
    (folder / "secret").write_bytes(SECRET * 80)
    with _h5ad(good, folder / "s.h5ad") as file:
        kind = h5t.py_create(np.dtype("S23"))
        how = h5p.create(h5p.DATASET_CREATE)
        how.set_external(str(folder / "secret").encode(), 0, h5s.UNLIMITED)
        made = h5d.create(file["obs"].id, b"stolen", kind, h5s.create_simple((80,)), how)
        column = h5py.Dataset(made)
        column.attrs["encoding-type"], column.attrs["encoding-version"] = "string-array", "0.2.0"
        file["obs"].attrs["column-order"] = np.array(["cell_type", "stolen"], dtype=object)
    return folder / "s.h5ad"


def _external_link(good: AnnData, folder: Path) -> Path:
    with h5py.File(folder / "other.h5", "w") as other:
        other["positions"] = np.random.default_rng(0).random((80, 2))
    with _h5ad(good, folder / "s.h5ad") as file:
        del file["obsm/spatial"]
        file["obsm/spatial"] = h5py.ExternalLink(str(folder / "other.h5"), "/positions")
    return folder / "s.h5ad"


def _link_by_link(good: AnnData, folder: Path) -> Path:
    """A soft link through a link to another file."""
    with h5py.File(folder / "other.h5", "w") as other:
        other["positions"] = np.random.default_rng(0).random((80, 2))
    with _h5ad(good, folder / "s.h5ad") as file:
        del file["obsm/spatial"]
        file["uns/away"] = h5py.ExternalLink(str(folder / "other.h5"), "/")
        file["obsm/spatial"] = h5py.SoftLink("/uns/away/positions")
    return folder / "s.h5ad"


def _virtual(good: AnnData, folder: Path) -> Path:
    with h5py.File(folder / "other.h5", "w") as other:
        other["positions"] = np.random.default_rng(0).random((80, 2))
    with _h5ad(good, folder / "s.h5ad") as file:
        del file["obsm/spatial"]
        layout = h5py.VirtualLayout((80, 2), float)
        layout[:] = h5py.VirtualSource(str(folder / "other.h5"), "positions", (80, 2))
        file["obsm"].create_virtual_dataset("spatial", layout)
    return folder / "s.h5ad"


def _virtual_without_end(good: AnnData, folder: Path) -> Path:
    with _h5ad(good, folder / "s.h5ad") as file:
        layout = h5py.VirtualLayout((80, 2), float, maxshape=(None, 2))
        source = h5py.VirtualSource(str(folder / "absent.h5"), "x", (80, 2), maxshape=(None, 2))
        layout[: h5s.UNLIMITED] = source[: h5s.UNLIMITED]
        file["obsm"].create_virtual_dataset("other", layout)
    return folder / "s.h5ad"


def _huge_chunk(good: AnnData, folder: Path) -> Path:
    """One value in a chunk of 4 GB, compressed to nearly nothing."""
    with _h5ad(good, folder / "s.h5ad") as file:
        del file["obsm/spatial"]
        file["obsm"].create_dataset(
            "spatial", (80, 2), float, chunks=(2**27, 2), maxshape=(None, 2), compression="gzip"
        )
    return folder / "s.h5ad"


def _huge_shape(good: AnnData, folder: Path) -> Path:
    with _h5ad(good, folder / "s.h5ad") as file:
        file["layers"].create_dataset("counts", (80, 10**9), "f4", chunks=(1, 10**6))
    return folder / "s.h5ad"


def _many_columns(good: AnnData, folder: Path) -> Path:
    """Each column is small; together they are 5 GB."""
    with _h5ad(good, folder / "s.h5ad") as file:
        for i in range(100):
            file["uns"].create_dataset(f"x{i}", (50_000_000,), "i1", chunks=(1_000_000,))
    return folder / "s.h5ad"


def _one_value_often(good: AnnData, folder: Path) -> Path:
    """Groups that link to each other ten times, eight deep: a hundred million entries."""
    with _h5ad(good, folder / "s.h5ad") as file:
        inner = file["uns"].create_group("g0")
        inner["x"] = 1
        for depth in range(1, 9):
            outer = file["uns"].create_group(f"g{depth}")
            for i in range(10):
                outer[str(i)] = inner
            inner = outer
    return folder / "s.h5ad"


def _soft_links_often(good: AnnData, folder: Path) -> Path:
    with _h5ad(good, folder / "s.h5ad") as file:
        file["uns/g0/x"] = 1
        for depth in range(1, 9):
            for i in range(10):
                file[f"uns/g{depth}/{i}"] = h5py.SoftLink(f"/uns/g{depth - 1}")
    return folder / "s.h5ad"


def _circle(good: AnnData, folder: Path) -> Path:
    with _h5ad(good, folder / "s.h5ad") as file:
        file["uns/a/b"] = 1
        file["uns/a/again"] = file["uns/a"]
    return folder / "s.h5ad"


def _soft_circle(good: AnnData, folder: Path) -> Path:
    with _h5ad(good, folder / "s.h5ad") as file:
        file["uns/again"] = h5py.SoftLink("/uns")
    return folder / "s.h5ad"


def _index_outside(good: AnnData, folder: Path) -> Path:
    with _h5ad(good, folder / "s.h5ad") as file:
        file["X/indices"][0] = 2**30
    return folder / "s.h5ad"


def _zarr(good: AnnData, path: Path) -> Path:
    good.write_zarr(path)
    shutil.rmtree(path / ".zmetadata", ignore_errors=True)
    return path


def _zarr_link(good: AnnData, folder: Path) -> Path:
    """A column of obs that is another place on the disk."""
    store = _zarr(good, folder / "s.zarr")
    shutil.move(store / "obsm" / "spatial", folder / "elsewhere")
    (store / "obsm" / "spatial").symlink_to(folder / "elsewhere")
    return store


def _zarr_pickle(good: AnnData, folder: Path) -> Path:
    """A column of obs that opens a file when it is read."""
    store = _zarr(good, folder / "s.zarr")
    column = store / "uns" / "code"
    column.mkdir(parents=True)
    about = {
        "zarr_format": 2,
        "shape": [1],
        "chunks": [1],
        "dtype": "|O",
        "compressor": None,
        "fill_value": None,
        "order": "C",
        "filters": [{"id": "pickle", "protocol": 5}],
    }
    (column / ".zarray").write_text(json.dumps(about))
    mark = str(folder / "executed").encode()
    (column / "0").write_bytes(b"cbuiltins\nopen\n(V" + mark + b"\nVw\ntR.")
    return store


def _declare(array: Path, shape: tuple[int, int], chunks: tuple[int, int]) -> Path:
    array.mkdir(parents=True)
    about = {"zarr_format": 2, "shape": shape, "chunks": chunks, "dtype": "<f8", "compressor": None}
    (array / ".zarray").write_text(json.dumps(about | {"fill_value": 0, "order": "C", "filters": None}))
    return array.parents[1]


def _zarr_shape(good: AnnData, folder: Path) -> Path:
    store = _zarr(good, folder / "s.zarr")
    return _declare(store / "layers" / "counts", (80, 10**9), (80, 1000))


def _zarr_chunk(good: AnnData, folder: Path) -> Path:
    store = _zarr(good, folder / "s.zarr")
    return _declare(store / "obsm" / "other", (80, 2), (2**29, 2))


def _xenium(folder: Path, market: str) -> Path:
    (folder / "cell_feature_matrix").mkdir()
    inside = folder / "cell_feature_matrix"
    (inside / "matrix.mtx").write_text(f"%%MatrixMarket matrix coordinate integer general\n{market}\n")
    (inside / "features.tsv").write_text("".join(f"g{i}\tGene{i}\tGene Expression\n" for i in range(5)))
    (inside / "barcodes.tsv").write_text("".join(f"c{i}\n" for i in range(4)))
    lines = "".join(f"c{i},{i},{i * i}\n" for i in range(4))
    (folder / "cells.csv").write_text(f"cell_id,x_centroid,y_centroid\n{lines}")
    return folder


def _market_values(good: AnnData, folder: Path) -> Path:
    return _xenium(folder, "5 4 9000000000\n1 1 1")


def _market_shape(good: AnnData, folder: Path) -> Path:
    return _xenium(folder, "5 4000000000 1\n1 1 1")


def _zip_bomb(good: AnnData, folder: Path) -> Path:
    """A zipped zarr whose metadata would be 200 MB."""
    (folder / "cells.csv").write_text("cell_id,x_centroid,y_centroid\nc0,1,2\n")
    path = folder / "cell_feature_matrix.zarr.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("cell_features/.zarray", b" " * 200_000_000)
    return folder


# name -> what makes it, and a part of the sentence that it is refused with
HOSTILE: dict[str, tuple[Callable[[AnnData, Path], Path], str]] = {
    "external storage": (_external_column, "obs/stolen: is stored in another file"),
    "external link": (_external_link, "obsm/spatial: is a link to another file"),
    "soft link by an external one": (_link_by_link, "uns/away: is a link to another file"),
    "virtual": (_virtual, "obsm/spatial: is virtual"),
    "virtual without end": (_virtual_without_end, "obsm/other: is virtual"),
    "huge chunk": (_huge_chunk, "obsm/spatial: declares arrays of"),
    "huge shape": (_huge_shape, "layers/counts: declares arrays of"),
    "many columns": (_many_columns, "declares arrays of"),
    "one value often": (_one_value_often, "declares arrays of"),
    "soft links often": (_soft_links_often, "declares arrays of"),
    "circle": (_circle, "is a link to a group that it is in"),
    "soft circle": (_soft_circle, "is a link to a group that it is in"),
    "index outside": (_index_outside, "is not a valid matrix"),
    "zarr link": (_zarr_link, "obsm/spatial: is a link to another place"),
    "zarr pickle": (_zarr_pickle, "uns/code: is stored as pickles"),
    "zarr shape": (_zarr_shape, "layers/counts: declares arrays of"),
    "zarr chunk": (_zarr_chunk, "obsm/other: declares arrays of"),
    "market values": (_market_values, "declares 9,000,000,000 values"),
    "market shape": (_market_shape, "is for 4,000,000,000 cells and 5 features"),
    "zip bomb": (_zip_bomb, "is too large for metadata"),
}

if __name__ == "__main__":
    from lloki.io import check_slices

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    errors = {path: [e for s in check_slices(path, n_neighbors=5) for e in s.errors] for path in sys.argv[1:]}
    peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**10
    print(json.dumps({"peak": peak, "errors": errors}))
