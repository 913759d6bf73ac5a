"""Fetching a published model: all in one folder, nothing overwritten, nothing downloaded twice."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from lloki.errors import ConfigError, DownloadError, OutputError
from lloki.models import PublishedModel, WeightsFile, fetch, models_folder, published, published_models

BODIES = {"args.json": b"{}", "vocab.json": b'{"A": 0}', "best_model.pt": b"weights" * 1000}


def sha(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


@pytest.fixture
def toy(site, monkeypatch):
    """A published model on the test's own server; one hash of three is known."""
    site.files |= BODIES
    listed = tuple(
        WeightsFile(name, f"{site.url}/{name}", sha(body) if name == "best_model.pt" else None)
        for name, body in BODIES.items()
    )
    model = PublishedModel("toy", "scgpt", "nothing", f"{site.url}/page", "MIT", listed)
    monkeypatch.setattr("lloki.models.registry.published_models", lambda: {"toy": model})
    return model


def test_the_folder_holds_all_files_and_checked_hashes_are_marked(toy, site, tmp_path):
    got = fetch("toy", to=tmp_path / "m")
    assert got.folder == tmp_path / "m"
    assert {path.name: path.read_bytes() for path in got.folder.iterdir()} == BODIES
    assert {file.name: file.sha256 for file in got.files} == {
        name: sha(body) for name, body in BODIES.items()
    }
    assert [file.checked for file in got.files] == [False, False, True]
    assert all(file.new for file in got.files)


def test_what_is_there_is_checked_and_not_downloaded_again(toy, site, tmp_path):
    fetch("toy", to=tmp_path)
    asked = len(site.seen)
    got = fetch("toy", to=tmp_path)
    assert len(site.seen) == asked
    assert not any(file.new for file in got.files)
    (tmp_path / "args.json").unlink()
    assert [file.new for file in fetch("toy", to=tmp_path).files] == [True, False, False]


def test_another_file_of_that_name_is_left_alone(toy, tmp_path):
    (tmp_path / "best_model.pt").write_bytes(b"mine")
    with pytest.raises(OutputError, match="move it away"):
        fetch("toy", to=tmp_path)
    assert (tmp_path / "best_model.pt").read_bytes() == b"mine"


def test_a_hash_can_be_pinned(toy, tmp_path):
    got = fetch("toy", to=tmp_path / "a", sha256={"args.json": sha(BODIES["args.json"])})
    assert got.files[0].checked
    with pytest.raises(DownloadError, match="another file than expected"):
        fetch("toy", to=tmp_path / "b", sha256={"args.json": "0" * 64})
    with pytest.raises(ConfigError, match=r"no file 'weights\.pt'"):
        fetch("toy", to=tmp_path / "c", sha256={"weights.pt": "0" * 64})


def test_a_mirror(toy, site, tmp_path):
    site.files |= {f"mirror/{name}": body for name, body in BODIES.items()}
    fetch("toy", to=tmp_path, base_url=f"{site.url}/mirror/")
    assert {name.split("/")[0] for name in site.seen} == {"mirror"}


def test_a_mirror_with_other_weights_is_refused(toy, site, tmp_path):
    site.files |= {f"mirror/{name}": body + b" " for name, body in BODIES.items()}
    with pytest.raises(DownloadError, match=r"best_model\.pt: the server sent another file"):
        fetch("toy", to=tmp_path, base_url=f"{site.url}/mirror")
    assert not (tmp_path / "best_model.pt").exists()


def test_files_that_are_on_a_page_only_are_for_a_browser(tmp_path):
    page = re.escape(published("scgpt-brain").page)
    with pytest.raises(
        DownloadError, match=rf"args\.json, vocab\.json, best_model\.pt of .* browser .*{page}"
    ):
        fetch("scgpt-brain", to=tmp_path)
    for name in BODIES:
        (tmp_path / name).write_bytes(b"by hand")
    assert not any(file.new or file.checked for file in fetch("scgpt-brain", to=tmp_path).files)


def test_where_models_are_kept(toy, tmp_path, monkeypatch):
    monkeypatch.setenv("LLOKI_MODELS", str(tmp_path / "chosen"))
    assert fetch("toy").folder == tmp_path / "chosen" / "toy"
    monkeypatch.delenv("LLOKI_MODELS")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert models_folder() == tmp_path / "cache" / "lloki" / "models"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert models_folder() == Path.home() / ".cache" / "lloki" / "models"


def test_a_folder_that_cannot_be_made(toy, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="--to"):
        fetch("toy", to=tmp_path / "file" / "m")


def test_an_unknown_name():
    with pytest.raises(ConfigError, match=r"Did you mean 'scgpt-human'\?"):
        fetch("scgpt-humann")


def test_the_registry_is_whole():
    models = published_models()
    assert {"scgpt-human", "scgpt-continual", "scgpt-brain", "geneformer-v1-10m"} <= set(models)
    needed = {
        "scgpt": {"args.json", "vocab.json", "best_model.pt"},
        "geneformer": {"config.json", "model.safetensors"},
    }
    for name, model in models.items():
        assert model.name == name
        assert model.page.startswith("https://")
        assert model.license
        assert needed[model.embedder] <= {file.name for file in model.files}
        for file in model.files:
            assert file.url == "" or file.url.startswith("https://")
            assert file.sha256 is None or re.fullmatch("[0-9a-f]{64}", file.sha256)
    hashes = [file.sha256 for model in models.values() for file in model.files if file.sha256]
    assert len(set(hashes)) == len(hashes)
