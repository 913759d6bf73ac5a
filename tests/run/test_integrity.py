"""Every stored file is compared with its sum: damaged pieces are made again, a damaged model is refused."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

import lloki
from lloki.errors import ModelError, OutputError
from lloki.run.store import Store, load_arrays, write_arrays

KINDS = ("slices", "features", "summary", "fit", "embedding", "training", "view", "held_out")


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.unlink()  # a copy may share its content with the file that it was made from
    path.write_bytes(content)


def test_damaged_pieces_of_every_kind_are_made_again(base, integrate, same, status, tmp_path):
    work = tmp_path / "run" / "work"
    shutil.copytree(base.folder / "work", work)
    for kind in KINDS:
        files = [p for p in sorted((work / kind).rglob("*")) if p.is_file() and "SHA256" not in p.name]
        _flip(next(p for p in files if p.suffix != ".sha256"))
    result = integrate()
    same(base, result)
    for kind in KINDS[1:]:
        assert status(result, kind).count("computed") == 1, kind
    noted = [m["text"] for m in result.run["messages"] if m["text"].endswith("it is made again")]
    assert len(noted) == len(KINDS)
    assert all("differs from its SHA-256 sum" in text for text in noted)
    again = integrate()
    assert all(set(status(again, kind)) == {"reused"} for kind in KINDS[1:])


@pytest.mark.parametrize(
    "name", ["cae.safetensors", "cae.json", "reference.npz", "run.json", "factor.safetensors"]
)
def test_a_damaged_model_is_refused_by_name(name, base, files, tmp_path):
    shutil.copytree(base.folder / "model", tmp_path / "run" / "model")
    path = next((tmp_path / "run" / "model").rglob(name))
    _flip(path)
    with pytest.raises(ModelError, match=rf"{name} differs from its SHA-256 sum"):
        lloki.project(files.alpha_2, run=tmp_path / "run")


def test_a_model_without_sums_is_of_an_older_version(base, files, tmp_path):
    shutil.copytree(base.folder / "model", tmp_path / "run" / "model")
    for path in (tmp_path / "run" / "model").rglob("SHA256SUMS"):
        path.unlink()
    assert lloki.project(files.alpha_2, run=tmp_path / "run").n_obs == 150


def test_a_damaged_checkpoint_is_not_continued(tmp_path):
    import torch

    from lloki.cae.checkpoint import Checkpoint
    from lloki.errors import LlokiWarning

    file = Checkpoint(tmp_path / "a.checkpoint", "f")
    file.save({"x": torch.zeros(1000)})
    file.save({"x": torch.ones(1000)})
    found = file.load()
    assert found is not None
    assert found["x"].sum() == 1000
    _flip(file.path)
    with pytest.warns(LlokiWarning, match=r"differs from its SHA-256 sum\), so training starts anew"):
        assert file.load() is None


def test_a_piece_that_is_damaged_when_it_is_read(tmp_path):
    with Store(tmp_path / "work") as store:
        piece = store.piece("slices", "a", 1)
        store.cached(piece, lambda path: write_arrays(path, {"x": np.arange(1000)}))
        assert load_arrays(piece.path)["x"][-1] == 999
        _flip(piece.path)
        with pytest.raises(OutputError, match="is damaged: differs from its SHA-256 sum"):
            load_arrays(piece.path)
        store.cached(piece, lambda path: write_arrays(path, {"x": np.arange(1000)}))
        assert load_arrays(piece.path)["x"][-1] == 999
        assert [r.status for r in store.recorder.stages] == ["computed", "computed"]
        assert len(store.recorder.notes) == 1


def test_an_archive_that_would_fill_the_memory(tmp_path):
    """Its sum may be right: whoever made it wrote that too."""
    np.savez_compressed(tmp_path / "a.npz", x=np.zeros(10**7))
    with pytest.raises(OutputError, match=r"declares 80 MB"):
        load_arrays(tmp_path / "a.npz")


def test_objects_in_an_archive_are_not_unpickled(tmp_path):
    class Mark:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "executed"),))

    np.savez(tmp_path / "a.npz", x=np.array([Mark()], dtype=object))
    with pytest.raises(OutputError, match="cannot be read"):
        load_arrays(tmp_path / "a.npz")
    assert not (tmp_path / "executed").exists()


def test_sums_are_listed_for_the_whole_model(base):
    folder = base.folder / "model"
    lines = (folder / "SHA256SUMS").read_text().splitlines()
    inside = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert {line.split("  ")[1] for line in lines} == inside - {"SHA256SUMS"}
    assert "tokens" in json.loads((folder / "cae.json").read_text())
