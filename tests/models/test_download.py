"""Downloads: broken off and resumed, checked, never half at their place, and errors that say what to do."""

from __future__ import annotations

import errno
import hashlib
from pathlib import Path

import pytest

from lloki.errors import ConfigError, DownloadError, OutputError
from lloki.models.download import download


class Told:
    """A progress that remembers."""

    def __init__(self) -> None:
        self.tasks: list[tuple[str, int, str]] = []
        self.done = 0

    def task(self, description, total, unit="cells"):
        self.tasks.append((description, total, unit))

        def advance(n):
            self.done += n

        return advance


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_comes_whole_and_checked(site, content, tmp_path):
    told = Told()
    target = tmp_path / "model.pt"
    assert download(f"{site.url}/model.pt", target, sha256=sha(content).upper(), progress=told) == sha(
        content
    )
    assert target.read_bytes() == content
    assert names(tmp_path) == ["model.pt"]
    assert told.tasks == [("model.pt", 3, "MB")]
    assert told.done == 3


@pytest.mark.parametrize("known", [True, False])
def test_a_connection_that_breaks_is_taken_up_again(site, content, tmp_path, known):
    site.cuts, site.cut_after = 3, 700_000
    told = Told()
    found = download(
        f"{site.url}/model.pt", tmp_path / "model.pt", sha256=sha(content) if known else None, progress=told
    )
    assert found == sha(content)
    assert [asked for _, asked in site.seen] == [None, "bytes=700000-", "bytes=1400000-", "bytes=2100000-"]
    assert (len(told.tasks), told.done) == (1, 3)
    assert names(tmp_path) == ["model.pt"]


def test_a_stopped_download_goes_on_in_the_next_call(site, content, tmp_path, monkeypatch):
    site.cuts, site.cut_after = 1, 1_000_000

    def stop(seconds: float) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("time.sleep", stop)
        with pytest.raises(KeyboardInterrupt):
            download(f"{site.url}/model.pt", tmp_path / "model.pt")
    assert names(tmp_path) == ["model.pt.part", "model.pt.part.tag"]
    assert download(f"{site.url}/model.pt", tmp_path / "model.pt") == sha(content)
    assert site.seen[-1] == ("model.pt", "bytes=1000000-")
    assert names(tmp_path) == ["model.pt"]


def test_a_file_that_was_all_here_is_not_asked_for_again(site, content, tmp_path):
    (tmp_path / "model.pt.part").write_bytes(content)
    assert download(f"{site.url}/model.pt", tmp_path / "model.pt", sha256=sha(content)) == sha(content)
    assert site.seen == [("model.pt", "bytes=3000000-")]  # answered 416: nothing is left


@pytest.mark.parametrize("change", ["etag", "no etag", "no ranges", "shorter"])
def test_what_cannot_be_continued_begins_anew(site, content, tmp_path, change):
    (tmp_path / "model.pt.part").write_bytes(b"x" * (4_000_000 if change == "shorter" else 1_000_000))
    if change != "no etag":
        (tmp_path / "model.pt.part.tag").write_text('"other"' if change == "etag" else site.etag)
    site.ranges = change != "no ranges"
    # no hash is known: the parts must not be mixed
    assert download(f"{site.url}/model.pt", tmp_path / "model.pt") == sha(content)
    assert names(tmp_path) == ["model.pt"]


def test_another_file_than_expected_is_removed_and_both_hashes_said(site, content, tmp_path):
    with pytest.raises(DownloadError, match=f"sha256 {sha(content)}, not {'0' * 64}"):
        download(f"{site.url}/model.pt", tmp_path / "model.pt", sha256="0" * 64)
    assert names(tmp_path) == []


def test_a_connection_that_keeps_breaking_is_given_up_and_what_came_is_kept(site, tmp_path):
    site.cuts, site.cut_after = 100, 0
    (tmp_path / "model.pt.part").write_bytes(b"x" * 500_000)
    (tmp_path / "model.pt.part.tag").write_text(site.etag)
    with pytest.raises(DownloadError, match=r"connection broke, with 0\.5 MB here\. Run the same again"):
        download(f"{site.url}/model.pt", tmp_path / "model.pt")
    assert len(site.seen) == 5
    assert (tmp_path / "model.pt.part").stat().st_size == 500_000


def test_no_network(tmp_path):
    with pytest.raises(DownloadError, match="cannot be reached"):
        download("http://127.0.0.1:9/model.pt", tmp_path / "model.pt")
    assert names(tmp_path) == []


def test_a_file_that_is_not_there(site, tmp_path):
    with pytest.raises(DownloadError, match=r"404 Not Found.*--base-url"):
        download(f"{site.url}/none.pt", tmp_path / "none.pt")


def test_a_web_page_in_place_of_the_file(site, tmp_path):
    site.kind = "text/html; charset=utf-8"  # as file hosts send when a quota is used up
    with pytest.raises(DownloadError, match="web page"):
        download(f"{site.url}/model.pt", tmp_path / "model.pt")
    assert names(tmp_path) == []


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://host/model.pt", "model.pt"])
def test_only_addresses_of_the_web(url, tmp_path):
    with pytest.raises(ConfigError, match="http"):
        download(url, tmp_path / "model.pt")


def test_a_full_disk_keeps_what_has_come(site, tmp_path, monkeypatch):
    room = 1_500_000
    opened = Path.open

    class Full:
        def __init__(self, file):
            self.file = file

        def __enter__(self):
            return self

        def __exit__(self, *error):
            self.file.close()

        def write(self, chunk):
            if self.file.tell() + len(chunk) > room:
                raise OSError(errno.ENOSPC, "No space left on device")
            return self.file.write(chunk)

    def small(self, mode="r", *rest, **options):
        file = opened(self, mode, *rest, **options)
        return Full(file) if self.suffix == ".part" and mode in ("wb", "ab") else file

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", small)
        with pytest.raises(OutputError, match=r"No space left.*make room"):
            download(f"{site.url}/model.pt", tmp_path / "model.pt")
    assert (tmp_path / "model.pt.part").stat().st_size > 1_000_000
    download(f"{site.url}/model.pt", tmp_path / "model.pt")
    assert site.seen[-1][1] == "bytes=1048576-"
