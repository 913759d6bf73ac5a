"""Downloads: checked, never half at their place, and errors with what to do."""

from __future__ import annotations

import errno
import hashlib
import sys
from pathlib import Path

import pytest

from lloki.errors import DownloadError, MissingExtraError, OutputError
from lloki.models._download import download


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("progress", [True, False])
def test_a_file_comes_whole_and_checked(site, content, tmp_path, capsys, progress):
    target = tmp_path / "model.pt"
    found = download(f"{site.url}/model.pt", target, sha256=sha(content).upper(), progress=progress)
    assert found == sha(content)
    assert target.read_bytes() == content
    assert names(tmp_path) == ["model.pt"]
    assert ("model.pt: 3.00M/3.00MB" in capsys.readouterr().err) is progress


@pytest.mark.parametrize("known", [True, False])
def test_a_broken_connection_is_tried_once_more(site, content, tmp_path, known):
    site.cuts, site.cut_after = 1, 700_000
    found = download(f"{site.url}/model.pt", tmp_path / "model.pt", sha256=sha(content) if known else None)
    assert found == sha(content)
    assert len(site.seen) == 2
    assert names(tmp_path) == ["model.pt"]


def test_a_connection_that_keeps_breaking_leaves_nothing(site, tmp_path):
    site.cuts, site.cut_after = 100, 700_000
    with pytest.raises(
        DownloadError, match=r"cannot be downloaded .* Run the same again, or download model\.pt"
    ):
        download(f"{site.url}/model.pt", tmp_path / "model.pt")
    assert len(site.seen) == 2
    assert names(tmp_path) == []


def test_another_file_than_expected_is_removed_and_both_hashes_named(site, content, tmp_path):
    with pytest.raises(DownloadError, match=f"expected {'0' * 64} but got {sha(content)}"):
        download(f"{site.url}/model.pt", tmp_path / "model.pt", sha256="0" * 64)
    assert names(tmp_path) == []


def test_no_network(tmp_path):
    with pytest.raises(DownloadError, match=r"cannot be downloaded .*by other means and put it into"):
        download("http://127.0.0.1:9/model.pt", tmp_path / "model.pt")
    assert names(tmp_path) == []


def test_a_file_that_is_not_there(site, tmp_path):
    with pytest.raises(DownloadError, match=r"the server answered 404 Client Error: Not Found.*--base-url"):
        download(f"{site.url}/none.pt", tmp_path / "none.pt")


def test_a_web_page_in_place_of_the_file(site, tmp_path):
    site.files["model.pt"] = b"\n<!DOCTYPE html><p>Quota exceeded"
    with pytest.raises(DownloadError, match="web page"):
        download(f"{site.url}/model.pt", tmp_path / "model.pt")
    assert names(tmp_path) == []


def test_only_addresses_of_the_web(tmp_path):
    (tmp_path / "here.pt").touch()
    with pytest.raises(DownloadError, match="cannot be downloaded"):
        download(f"file://{tmp_path}/here.pt", tmp_path / "model.pt")


def test_a_full_disk(site, tmp_path, monkeypatch):
    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("pooch.core.shutil.move", full)
    with pytest.raises(OutputError, match=r"No space left on device.*Free some space.*--to"):
        download(f"{site.url}/model.pt", tmp_path / "model.pt")
    assert names(tmp_path) == []


def test_without_pooch_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'lloki\[models\]'"):
        download("http://127.0.0.1:9/model.pt", tmp_path / "model.pt")
