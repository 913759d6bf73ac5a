"""Sums beside stored files: a changed bit, a lost file and a swapped name are found, and what is whole "
"passes."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from lloki import _sums
from lloki.errors import ModelError


def flip(path: Path, at: int = -1) -> None:
    """Change one bit in the middle of a file, or at a place, and nothing else, not even its times."""
    about, content = path.stat(), bytearray(path.read_bytes())
    content[len(content) // 2 if at < 0 else at] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns + 1))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a b.npz"
    path.write_bytes(bytes(range(256)))
    _sums.seal(path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "model"
    (path / "embedder").mkdir(parents=True)
    (path / "cae.json").write_text("{}")
    (path / "embedder" / "weights").write_bytes(b"0123")
    _sums.seal(path)
    return path


def test_a_file(file: Path) -> None:
    assert _sums.damage(file) == ""
    flip(file)
    assert _sums.damage(file) == "is damaged: differs from its SHA-256 sum"
    flip(file)
    assert _sums.damage(file) == ""
    _sums.forget(file)
    assert _sums.damage(file) == "has no SHA-256 sum (a b.npz.sha256)"
    assert _sums.damage(file, strict=False) == ""


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="sha256sum is not here")
def test_sums_are_those_of_sha256sum(file: Path, folder: Path) -> None:
    for where, sums in ((file.parent, _sums.beside(file).name), (folder, _sums.SUMS)):
        done = subprocess.run(
            ["sha256sum", "-c", sums], cwd=where, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr


def test_a_folder(folder: Path, tmp_path: Path) -> None:
    _sums.require_whole(folder)
    shutil.copytree(folder, tmp_path / "copy")
    _sums.require_whole(tmp_path / "copy")
    flip(folder / "embedder" / "weights")
    with pytest.raises(ModelError, match=r"model is damaged: embedder/weights differs"):
        _sums.require_whole(folder)
    (tmp_path / "copy" / "cae.json").unlink()
    with pytest.raises(ModelError, match=r"copy is damaged: cae\.json is missing"):
        _sums.require_whole(tmp_path / "copy")


def test_a_sum_of_another_file_does_not_count(file: Path) -> None:
    other = file.with_name("b.npz")
    other.write_bytes(file.read_bytes())
    _sums.beside(other).write_text(_sums.beside(file).read_text())
    assert "differs" in _sums.damage(other)


@pytest.mark.parametrize(
    "line", ["short  a b.npz", "0" * 64 + "  ../a b.npz", "0" * 64 + "  /etc/passwd", "\0"]
)
def test_sums_that_are_none(file: Path, line: str) -> None:
    _sums.beside(file).write_text(line + "\n")
    assert "cannot be read" in _sums.damage(file)


def test_a_kill_between_a_sum_and_its_file_loses_nothing(file: Path) -> None:
    """The file that is replaced counts as whole until the new one is in its place."""
    new = file.with_name(".new.part.npz")
    new.write_bytes(b"next")
    _sums.seal(new, file, keep=True)
    assert _sums.damage(file) == ""  # killed here
    os.replace(new, file)
    assert _sums.damage(file) == ""
    flip(file, 0)
    assert "differs" in _sums.damage(file)
