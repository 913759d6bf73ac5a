"""Hostile and damaged files are refused by name: nothing outside is read, no code runs, no memory fills."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from anndata import AnnData
from hostile_files import HOSTILE, SECRET

from lloki import io
from lloki.errors import ConfigError, InputError, LlokiError
from lloki.io import trust


@pytest.fixture(scope="module")
def checked(
    good: Callable[..., AnnData], tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Path], dict[str, list[str]], float]:
    """Make all files, and check them in one process whose memory is measured."""
    folder, files = tmp_path_factory.mktemp("hostile"), {}
    for name, (make, _) in HOSTILE.items():
        place = folder / name.replace(" ", "_")
        place.mkdir()
        files[name] = make(good(), place)
    script = Path(__file__).with_name("hostile_files.py")
    run = subprocess.run(
        [sys.executable, str(script), *map(str, files.values())], capture_output=True, text=True, check=True
    )
    found = json.loads(run.stdout)
    return files, {name: found["errors"][str(path)] for name, path in files.items()}, found["peak"]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused_by_name(checked, name: str) -> None:
    files, errors, _ = checked
    assert len(errors[name]) == 1, errors[name]
    assert errors[name][0].startswith(str(files[name]))
    assert HOSTILE[name][1] in errors[name][0]
    assert SECRET.decode() not in errors[name][0]
    assert "Traceback" not in errors[name][0]
    assert not (files[name].parent / "executed").exists()


def test_no_hostile_file_fills_the_memory(checked) -> None:
    assert checked[2] < 150


@pytest.mark.parametrize("name", ["external storage", "huge chunk", "external link"])
def test_files_of_a_run_are_opened_in_the_same_way(checked, name: str) -> None:
    from lloki.benchmark.subject import _read
    from lloki.cli.integrated import read_integrated
    from lloki.export import export
    from lloki.run import Result

    path = checked[0][name]
    (path.parent / "integrated.h5ad").symlink_to(path)
    readers: list[Callable[[], object]] = [
        lambda: io.read_slices(path),
        lambda: io.read_reference(path),
        lambda: read_integrated(path),
        lambda: export(path, to="csv", out=path.parent / "out"),
        lambda: _read(path),
        lambda: Result(path.parent).adata,
    ]
    for read in readers:
        with pytest.raises(InputError, match=HOSTILE[name][1]):
            read()


def test_slots_that_nothing_reads_may_be_large(good: Callable[..., AnnData], tmp_path: Path) -> None:
    """A matrix of cells x cells neither takes memory nor keeps a slice from being read."""
    path = tmp_path / "s.h5ad"
    good().write_h5ad(path)
    with h5py.File(path, "r+") as file:
        file["obsp"].create_dataset("distances", (80, 10**10), "f4", chunks=(1, 10**6))
    assert io.content_hash(io.read_slices(path)[0]) == io.content_hash(io.read_slices([good()])[0])


def test_links_within_a_file_are_followed(good: Callable[..., AnnData], tmp_path: Path) -> None:
    path, slices = tmp_path / "s.h5ad", good()
    slices.obsm["X_other"] = slices.obsm["spatial"].copy()
    slices.write_h5ad(path)
    with h5py.File(path, "r+") as file:
        del file["obsm/X_other"]
        file["obsm/X_other"] = h5py.SoftLink("/obsm/spatial")
    np.testing.assert_array_equal(io.read_slices(path)[0].obsm["X_other"], slices.obsm["spatial"])


def test_empty_and_compressed_arrays_pass(good: Callable[..., AnnData], tmp_path: Path) -> None:
    """Zeros compress a thousandfold, and are no bomb."""
    path, slices = tmp_path / "s.h5ad", good(2_000)
    slices.layers["zeros"] = np.zeros(slices.shape)
    slices.obsm["wide"] = np.zeros((2_000, 1_000))
    slices.write_h5ad(path, compression="gzip")
    assert len(io.read_slices(path)[0]) == 2_000


def test_a_sparse_matrix_in_zarr_is_what_it_stores(good: Callable[..., AnnData], tmp_path: Path) -> None:
    """Its shape is an attribute, and takes no memory; consolidated metadata repeats it."""
    store = tmp_path / "s.zarr"
    good().write_zarr(store)
    attributes = {"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": [80, 10**12]}
    arrays = {"X/data/.zarray": json.loads((store / "X" / "data" / ".zarray").read_text())}
    (store / "X" / ".zattrs").write_text(json.dumps(attributes))
    about = {"zarr_consolidated_format": 1, "metadata": arrays | {"X/.zattrs": attributes}}
    (store / ".zmetadata").write_text(json.dumps(about))
    trust.check_zarr(store)


def test_consolidated_metadata_is_looked_at(good: Callable[..., AnnData], tmp_path: Path) -> None:
    store = tmp_path / "s.zarr"
    good().write_zarr(store)
    array = {"shape": [10**9], "chunks": [10**9], "dtype": "<f8", "filters": [{"id": "pickle"}]}
    (store / ".zmetadata").write_text(json.dumps({"metadata": {"obs/x/.zarray": array}}))
    with pytest.raises(InputError, match=r"obs/x: is stored as pickles"):
        trust.check_zarr(store)
    about = {"metadata": {"obs/x": {"node_type": "array", "shape": [10**9], "data_type": "float64"}}}
    (store / ".zmetadata").unlink()
    (store / "zarr.json").write_text(json.dumps({"node_type": "group", "consolidated_metadata": about}))
    with pytest.raises(InputError, match=r"obs/x: declares arrays of 8\.0 GB"):
        trust.check_zarr(store)


def test_more_than_the_memory_is_said(good: Callable[..., AnnData], tmp_path: Path, monkeypatch) -> None:
    path, slices = tmp_path / "s.h5ad", good()
    slices.obsm["wide"] = np.random.default_rng(0).random((80, 200_000))
    slices.write_h5ad(path)
    free = trust.psutil.virtual_memory()._replace(available=100_000_000)
    monkeypatch.setattr(trust.psutil, "virtual_memory", lambda: free)
    with pytest.raises(InputError, match=r"obsm/wide: holds 128 MB, and 100 MB of memory are free"):
        io.read_slices(path)


def test_archives_are_no_larger_inside(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.zeros(10**6))
    trust.check_archive(tmp_path / "a.npz")
    np.savez_compressed(tmp_path / "b.npz", x=np.zeros(10**6))
    with pytest.raises(InputError, match=r"declares 8\.0 MB in a file of"):
        trust.check_archive(tmp_path / "b.npz")


@pytest.mark.parametrize("path", ["x" * 300 + ".h5ad", "a/" * 5_000 + "s.h5ad"])
def test_a_path_that_is_too_long(path: str) -> None:
    for read in (io.read_slices, io.read_reference, io.check_slices):
        with pytest.raises((InputError, ConfigError), match="too long for the file system"):
            read(path)


def test_a_path_with_a_zero_byte() -> None:
    with pytest.raises(LlokiError, match="zero byte"):
        io.read_slices("s\0.h5ad")
