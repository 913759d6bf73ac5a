"""Reading, training and the view as units of workers: the same as in one process, and little is kept."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pytest

import lloki
from lloki._progress import Progress
from lloki.cae import CAEConfig
from lloki.errors import RunError
from lloki.io import ReadOptions
from lloki.run import _view, reading
from lloki.run.config import RunConfig
from lloki.run.execute import Workers
from lloki.run.reading import Taken, read_inputs, take_seen_input
from lloki.run.slices import SliceRecord, take_slice
from lloki.run.stages import Stages
from lloki.run.store import Piece, Store, StoredRows, save_arrays
from lloki.run.units import TrainingUnit, compute_and_warn


class There:
    """Workers that run units in this process, through pickles, and note them."""

    here, scheduler = False, "tcp://far:8786"

    def __init__(self) -> None:
        self.units: list[Any] = []

    def run(self, function: Callable[[Any], Any], units: Sequence[Any], **where: Any) -> Iterator[Any]:
        for unit in reversed(units):  # in whatever order they end
            self.units.append(unit)
            yield pickle.loads(pickle.dumps(function(pickle.loads(pickle.dumps(unit)))))

    def require_result(self, path: Path) -> None:
        assert path.exists()

    def have_gpu(self) -> bool:
        return False


def _read(files: Any, folder: Path, workers: Any, slices: Any = None) -> list[Taken]:
    options = ReadOptions(label_key="cell_type")
    with Store(folder) as store:
        inputs = files.slices if slices is None else slices
        found = list(read_inputs(inputs, options, store, embedder=None, workers=workers, copy=True))
        assert {s.stage for s in store.recorder.stages} == {"slices", "obs"}
        assert all(path.exists() for path in store.made)
        return found


def _content(found: Sequence[Taken]) -> list[Any]:
    return [
        (s.name, s.token, s.hash, s.genes, s.cells, s.info, s.obs.to_dict(), s.spatial.tolist())
        for taken in found
        for s in taken.slices
        if isinstance(s, SliceRecord)
    ]


def test_inputs_are_read_on_workers(files, tmp_path):
    there = There()
    found = _read(files, tmp_path / "there", there)
    assert len(there.units) == 3
    assert [t.number for t in found] == [0, 1, 2]
    assert _content(found) == _content(_read(files, tmp_path / "here", None))


def test_an_input_that_a_worker_sees_otherwise_is_read_here(files, tmp_path, monkeypatch):
    """Another file may lie at that path on the worker's machine; or the input is in memory."""
    there, read, given = There(), [], []
    real = reading.take_input
    monkeypatch.setattr(
        reading, "take_input", lambda unit, **how: read.append(unit.number) or real(unit, **how)
    )
    run = there.run

    def elsewhere(function: Any, units: Sequence[Any], **where: Any) -> Iterator[Any]:
        path, size, time = units[0].seen
        changed = [replace(units[0], seen=(path, size + 1, time)), *units[1:]]
        given.extend(run(function, changed, **where))
        return iter(given)

    monkeypatch.setattr(there, "run", elsewhere)
    adata = ad.read_h5ad(files.beta)
    adata.uns["technology"] = "Betaseq"
    found = _read(files, tmp_path / "run", there, [files.alpha_1, adata, files.alpha_2])
    assert [unit.number for unit in there.units] == [2, 0]
    assert [taken is None for taken in given] == [False, True]
    assert read == [2, 0, 1]
    assert [taken.slices[0].cells for taken in found] == [150, 150, 150]


def test_too_little_memory_to_read(files, tmp_path, monkeypatch):
    def full(unit: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(reading, "take_input", full)
    with pytest.raises(RunError, match=r"alphafish_.*\.h5ad: the memory of a worker is too small to read it"):
        _read(files, tmp_path / "run", There())


def test_a_record_does_not_grow_with_the_cells(files, tmp_path):
    (one,) = lloki.io.read_slices([files.alpha_1])
    many = ad.concat([one] * 20, uns_merge="first", index_unique="-")
    many.obsm["spatial"] = many.obsm["spatial"] + np.arange(many.n_obs)[:, None]
    with Store(tmp_path / "work") as store:
        sizes = [len(pickle.dumps(take_slice(x, "a", store))) for x in (one, many)]
    assert abs(sizes[1] - sizes[0]) < 200


def _rows(folder: Path, sizes: Sequence[int]) -> dict[str, Path]:
    rng, paths = np.random.default_rng(0), {}
    for i, n in enumerate(sizes):
        paths[f"slice {i}"] = folder / f"{i}.npz"
        x = 4 * np.eye(8)[rng.integers(8, size=n)] + 0.3 * rng.standard_normal((n, 8))
        save_arrays(paths[f"slice {i}"], {"rows": x.astype(np.float32)})
    return paths


def test_rows_are_read_when_asked_for(tmp_path):
    paths = _rows(tmp_path, [5, 7])
    rows = StoredRows(paths)
    assert list(rows) == list(paths)
    assert [len(rows[name]) for name in rows] == [5, 7]
    assert rows["slice 0"] is not rows["slice 0"]


def test_what_training_warns_of_comes_back(tmp_path):
    paths = _rows(tmp_path, [200])
    unit = TrainingUnit(
        piece=Piece("training", "model", "k", tmp_path / "model"),
        cells=200,
        rows=paths,
        tokens={"slice 0": "x|p"},
        labels=None,
        config=CAEConfig(steps=2, batch_size=64),
        device="cpu",
        checkpoint=tmp_path / "checkpoint",
    )
    record, texts = pickle.loads(pickle.dumps(compute_and_warn(unit)))
    assert record.status == "computed"
    assert texts == ["there is one slice only: the autoencoder has no batches to mix"]
    assert (tmp_path / "model" / "SHA256SUMS").exists()


@pytest.mark.parametrize("umap", [True, False])
def test_a_view_of_many_cells_by_units(umap, tmp_path, monkeypatch):
    """The sample is that of all cells in the order of names; each slice's other cells are placed apart."""
    monkeypatch.setattr(_view, "MOST", 300)
    monkeypatch.setattr(_view, "ANCHORS", 200)
    monkeypatch.setattr(_view, "_umap", lambda x, near, distance, seed: np.asarray(x[:, :2], np.float32))
    rows = StoredRows(_rows(tmp_path, [150, 250, 200]))
    names = ["slice 2", "slice 0", "slice 1"]  # given in this order
    records = [
        SliceRecord(n, "x|p", n, Piece("slices", n, n, tmp_path), (), len(rows[n]), tmp_path) for n in names
    ]
    everything = np.concatenate([rows[n] for n in sorted(names)])
    want_umap, want = _view.view(everything, layout=umap, seed=0)
    there, found = There(), {}
    for where in (Workers(), there):
        with Store(tmp_path / type(where).__name__ / "work") as store:
            config = RunConfig.make(umap=umap)
            stages = Stages(store, config, Progress(False), where, "cpu")
            found[where] = stages.view(rows, records, store.piece("view", "v", 1))
    assert len(there.units) == 4  # the sample, and each slice
    order = np.concatenate([np.flatnonzero(np.repeat(names, [200, 150, 250]) == n) for n in sorted(names)])
    for layout, clusters in found.values():
        np.testing.assert_array_equal(clusters[order], want)
        if umap:
            np.testing.assert_allclose(layout[order], want_umap, atol=1e-5)
        else:
            assert layout is None


def test_a_worker_with_a_gpu_gets_the_training():
    class Client:
        status = "running"

        def __init__(self) -> None:
            self.asked: dict[str, Any] = {}

        def run_on_scheduler(self, function: Callable[[Any], Any]) -> Any:
            class Scheduler:
                class Worker:
                    resources = {"GPU": 1}  # noqa: RUF012

                workers = {"tcp://far:1": Worker}  # noqa: RUF012

            return function(Scheduler)

        def map(self, function: Any, units: list[Any], **how: Any) -> list[Any]:
            self.asked = how
            return []

        def cancel(self, futures: list[Any]) -> None:
            pass

    workers = Workers(scheduler="tcp://far:8786")
    assert not workers.have_gpu()
    workers._client = client = Client()
    assert workers.have_gpu()
    list(workers.run(len, [], gpu=True))
    assert client.asked["resources"] == {"GPU": 1}
    list(workers.run(len, []))
    assert "resources" not in client.asked


def test_units_travel(files, tmp_path):
    """What a worker is sent is small, whatever the slice."""
    there = There()
    _read(files, tmp_path / "run", there)
    assert all(len(pickle.dumps((take_seen_input, unit))) < 4_000 for unit in there.units)
