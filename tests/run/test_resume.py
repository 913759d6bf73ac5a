"""A run that is called again, changed, or killed computes what is missing and nothing else."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import anndata as ad
import numpy as np
import pytest
from scipy import sparse

import lloki
from lloki.errors import OutputError, RunError
from lloki.run.store import Store, hash_of_files, key_of, load_arrays, save_arrays

STAGES = ("features", "summary", "fit", "embedding", "training", "view")
# stage as the progress display names it -> cells or steps done there when the process is killed
KILLS = {"Aligning features": 200, "Embedding cells": 200, "Aligning batches": 12}


def test_the_same_call_again_computes_nothing(base, integrate, same, status, tmp_path):
    shutil.copytree(base.folder / "work", tmp_path / "run" / "work")
    again = integrate()
    for stage in STAGES:
        assert set(status(base, stage)) == {"computed"}, stage
        assert set(status(again, stage)) == {"reused"}, stage
    same(base, again)


def test_a_clock_that_goes_back_changes_nothing(base, integrate, same, status, tmp_path, monkeypatch):
    """Pieces are named by their content, not by dates, and times are those of a clock that only goes on."""
    shutil.copytree(base.folder / "work", tmp_path / "run" / "work")
    shutil.rmtree(tmp_path / "run" / "work" / "held_out")
    for path in (tmp_path / "run").rglob("*"):
        os.utime(path, (4e9, 4e9))  # of the future
    now = itertools.count(4e9, -3600)
    monkeypatch.setattr(time, "time", lambda: next(now))
    again = integrate()
    monkeypatch.undo()
    assert set(status(again, "training")) == {"reused"}
    assert again.run["seconds"] >= sum(s["seconds"] for s in again.run["stages"]) * 0.9
    same(base, again)


def test_arrays_are_written_the_same_at_any_time(tmp_path, monkeypatch):
    """Also on a machine without a clock, whose time starts in 1970."""
    arrays = {
        "rows": np.arange(6.0).reshape(2, 3),
        "text": np.array("a"),
        "counts": sparse.eye(3, format="csr"),
    }
    written = []
    for now in (0.0, 1.7e9):
        monkeypatch.setattr(time, "time", lambda now=now: now)
        save_arrays(tmp_path / "a.npz", arrays)
        written.append((tmp_path / "a.npz").read_bytes())
    assert written[0] == written[1]
    back = load_arrays(tmp_path / "a.npz")
    np.testing.assert_array_equal(back["rows"], arrays["rows"])
    assert (back["counts"] != arrays["counts"]).nnz == 0
    assert str(back["text"]) == "a"


def test_one_changed_slice_recomputes_its_features_only(base, files, integrate, status, tmp_path):
    shutil.copytree(base.folder / "work", tmp_path / "run" / "work")
    changed = ad.read_h5ad(files.beta)
    changed.X[0, 0] += 3
    changed.write_h5ad(tmp_path / files.beta.name)
    result = integrate([files.alpha_1, tmp_path / files.beta.name, files.alpha_2])
    computed = {s["unit"]: s["status"] for s in result.run["stages"] if s["stage"] == "features"}
    assert computed == {"alphafish_1": "reused", "betaseq_1": "computed", "alphafish_2": "reused"}
    # the embedder learns from all slices, so everything after it is new
    assert set(status(result, "embedding")) == set(status(result, "training")) == {"computed"}


def test_other_training_reuses_features_and_embedding(base, integrate, status, tmp_path):
    shutil.copytree(base.folder / "work", tmp_path / "run" / "work")
    result = integrate(cae={"steps": 20, "batch_size": 256})
    for stage in ("features", "summary", "fit", "embedding"):
        assert set(status(result, stage)) == {"reused"}, stage
    assert status(result, "training") == ["computed"]


def test_new_labels_change_the_table_and_nothing_else(base, files, integrate, status, tmp_path):
    shutil.copytree(base.folder / "work", tmp_path / "run" / "work")
    relabeled = ad.read_h5ad(files.beta)
    relabeled.obs["cell_type"] = "neuron"
    relabeled.write_h5ad(tmp_path / files.beta.name)
    result = integrate([files.alpha_1, tmp_path / files.beta.name, files.alpha_2])
    for stage in STAGES:
        assert set(status(result, stage)) == {"reused"}, stage
    cells = result.adata.obs
    assert set(cells.loc[cells["slice"] == "betaseq_1", "cell_type"]) == {"neuron"}


@pytest.fixture(scope="module")
def killed(files, settings, tmp_path_factory):
    """Kill one run after another in one folder; the folder's state after each kill."""
    here, states = tmp_path_factory.mktemp("killed"), {}
    for stage, done in KILLS.items():
        command = [sys.executable, str(Path(__file__).with_name("killed_run.py")), str(here / "run")]
        command += [str(files.reference), stage, str(done), json.dumps(settings), *map(str, files.slices)]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert ended.returncode == -signal.SIGKILL, ended.stderr
        states[stage] = here / stage.replace(" ", "_")
        shutil.copytree(here / "run", states[stage])
    return states


def _pieces(folder: Path) -> dict[str, set[str]]:
    found = {p.name: {f.name for f in p.iterdir() if f.name[0] != "."} for p in folder.iterdir()}
    return {stage: {n for n in names if not n.endswith(".sha256")} for stage, names in found.items()}


@pytest.mark.parametrize("stage", KILLS)
def test_a_killed_run_goes_on_where_it_was(stage, killed, base, integrate, same, status):
    folder = killed[stage]
    whole, there = _pieces(base.folder / "work"), _pieces(folder / "work")
    for name, pieces in there.items():
        assert pieces <= whole[name], f"{name} holds something that no whole run makes"
    expected = {"Aligning features": (1, 0, 0), "Embedding cells": (3, 1, 0), "Aligning batches": (3, 3, 0)}
    found = tuple(len(there.get(name, ())) for name in ("features", "embedding", "training"))
    assert found == expected[stage]
    assert not (folder / "run.json").exists()
    result = integrate(out=folder)
    assert sorted(status(result, "features")) == sorted(["reused"] * found[0] + ["computed"] * (3 - found[0]))
    assert sorted(status(result, "embedding")) == sorted(
        ["reused"] * found[1] + ["computed"] * (3 - found[1])
    )
    assert status(result, "training") == ["computed"]
    same(base, result)


def test_training_goes_on_from_its_middle(base, integrate, same, status, tmp_path, monkeypatch):
    monkeypatch.setattr("lloki.cae.checkpoint.EVERY_S", 0.0)

    class Stopped(BaseException):
        pass

    class Stopper:
        """A display that stops the run after 12 steps of training, and notes what the next one does."""

        def __init__(self, most):
            self.most, self.done = most, []

        def task(self, description, total, unit="cells"):
            def advance(n):
                self.done.append(n)
                if sum(self.done) >= self.most:
                    raise Stopped

            return advance if description == "Aligning batches" else lambda n: None

    shutil.copytree(base.folder / "work", tmp_path / "run" / "work")
    shutil.rmtree(tmp_path / "run" / "work" / "training")
    with pytest.raises(Stopped):
        integrate(progress=Stopper(12))
    folder = tmp_path / "run" / "work" / "training"
    assert sorted(p.suffix for p in folder.iterdir()) == [".checkpoint", ".sha256"]
    second = Stopper(1000)
    result = integrate(progress=second)
    assert second.done[0] == 11  # of 30 steps; the twelfth was not in the file yet
    assert sum(second.done) == 30
    same(base, result)
    assert [p.suffix for p in folder.iterdir()] == [""]


def test_what_a_killed_run_was_writing_is_removed(tmp_path):
    folder = tmp_path / "run" / "work"
    (folder / "features").mkdir(parents=True)
    half = folder / "features" / ".slice.0123456789ab.part.npz"
    model = tmp_path / "run" / ".model.0123456789ab.part"
    mine = tmp_path / "run" / ".notes.part"
    half.write_bytes(b"PK")
    mine.write_text("of the user")
    model.mkdir()
    (model / "cae.json").write_text("{")
    with Store(folder):
        assert not half.exists()
        assert not model.exists()
        assert mine.exists()


def test_a_folder_belongs_to_one_run_at_a_time(tmp_path):
    with Store(tmp_path / "run" / "work"), pytest.raises(RunError, match="another run is at work"):
        Store(tmp_path / "run" / "work").__enter__()
    with Store(tmp_path / "run" / "work"):
        pass


def test_a_damaged_piece_is_named(tmp_path):
    save_arrays(tmp_path / "a.npz", {"x": [1.0, 2.0]})
    assert load_arrays(tmp_path / "a.npz")["x"].tolist() == [1.0, 2.0]
    (tmp_path / "a.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:100])
    with pytest.raises(OutputError, match=r"b\.npz: is missing"):
        load_arrays(tmp_path / "b.npz")
    with pytest.raises(OutputError, match=r"a\.npz is damaged: differs from its SHA-256 sum\. Start the run"):
        load_arrays(tmp_path / "a.npz")
    (tmp_path / "a.npz.sha256").unlink()
    with pytest.raises(OutputError, match=r"a\.npz: cannot be read .* Remove it"):
        load_arrays(tmp_path / "a.npz")


def test_objects_are_not_written(tmp_path):
    with pytest.raises(TypeError, match="'x'"):
        save_arrays(tmp_path / "a.npz", {"x": [None, {}]})
    assert not list(tmp_path.iterdir())


def test_keys_tell_inputs_apart():
    import numpy as np

    assert key_of("a", 1) == key_of("a", 1)
    assert len({key_of(*parts) for parts in [("a", 1), ("a", 2), ("a1",), ("a", "1"), (1, "a"), ("a",)]}) == 6
    x = np.arange(6.0)
    assert key_of(x) != key_of(x.reshape(2, 3)) != key_of(x.astype(np.float32))


def test_weights_of_an_embedder_enter_its_hash(tmp_path):
    assert hash_of_files(None) == hash_of_files(str(tmp_path / "absent")) == ""
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "weights").write_bytes(b"1")
    first = hash_of_files(str(tmp_path / "model"))
    shutil.copytree(tmp_path / "model", tmp_path / "copy")
    assert hash_of_files(str(tmp_path / "copy")) == first
    (tmp_path / "model" / "weights").write_bytes(b"2")
    assert hash_of_files(str(tmp_path / "model")) != first


def test_an_out_of_other_working_directory(files, integrate, tmp_path, monkeypatch):
    """A relative place means the same to everyone."""
    monkeypatch.chdir(tmp_path)
    result = integrate(out="here")
    os.chdir("/")
    assert (tmp_path / "here" / "integrated.h5ad").exists()
    assert str(result.folder) == "here"
    assert lloki.project(files.alpha_2, run=tmp_path / "here").n_obs == 150


def test_a_run_in_the_home_folder_is_found_again(base, integrate, same, tmp_path, monkeypatch):
    shutil.copytree(base.folder, tmp_path / "run")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    again = integrate(out="~/run")
    same(base, again)
    assert again.folder == tmp_path / "run"
    assert [p.name for p in tmp_path.iterdir()] == ["run"]
