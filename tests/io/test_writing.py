"""A result is whole at its place, or not there; what was there before stays until then."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from anndata import AnnData

from lloki import io
from lloki.errors import OutputError


@pytest.mark.parametrize(
    "error",
    [OSError(28, "No space left on device"), RuntimeError("file write failed: No space left on device")],
)
def test_full_disk_leaves_nothing(
    good: Callable[..., AnnData], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    target = tmp_path / "out.h5ad"
    target.write_text("the result of an earlier run")

    def fail(self: AnnData, path: Path) -> None:
        Path(path).write_bytes(b"half")
        raise error

    monkeypatch.setattr(AnnData, "write_h5ad", fail)
    with pytest.raises(OutputError, match=r"out\.h5ad: the disk is full"), io.atomic(target) as temporary:
        good().write_h5ad(temporary)
    assert [path.name for path in tmp_path.iterdir()] == ["out.h5ad"]
    assert target.read_text() == "the result of an earlier run"


def test_a_disk_that_is_really_full(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full on this system")

    def write() -> None:
        with io.atomic(tmp_path / "out.csv") as temporary:
            os.symlink("/dev/full", temporary)
            temporary.write_text("x" * 100_000)

    with pytest.raises(OutputError, match="the disk is full"):
        write()
    assert list(tmp_path.iterdir()) == []
    assert Path("/dev/full").exists()


def test_unwritable_place(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with (
        pytest.raises(OutputError, match=r"out\.csv: cannot be written"),
        io.atomic(tmp_path / "file" / "out.csv") as temporary,
    ):
        temporary.write_text("x")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), ValueError("a bug"), FileNotFoundError(2, "gone", "in.h5ad")]
)
def test_other_errors_pass_through_and_leave_nothing(tmp_path: Path, error: BaseException) -> None:
    def write() -> None:
        with io.atomic(tmp_path / "new" / "out.csv") as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(type(error)) as caught:
        write()
    assert caught.value is error
    assert list((tmp_path / "new").iterdir()) == []


def test_an_input_that_may_not_be_read_is_not_called_an_output(tmp_path: Path) -> None:
    denied = PermissionError(13, "Permission denied", "/elsewhere/in.h5ad")
    with pytest.raises(PermissionError), io.atomic(tmp_path / "out.csv"):
        raise denied


def test_files_and_folders_are_replaced(tmp_path: Path) -> None:
    for text in ("old", "new"):
        with io.atomic(tmp_path / "a.csv") as temporary:
            assert temporary.suffix == ".csv"
            assert temporary.parent == tmp_path
            temporary.write_text(text)
        with io.atomic(tmp_path / "model") as temporary:
            temporary.mkdir()
            (temporary / text).write_text(text)
    assert (tmp_path / "a.csv").read_text() == "new"
    assert [path.name for path in (tmp_path / "model").iterdir()] == ["new"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "model"]


def test_nothing_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="nothing was written"), io.atomic(tmp_path / "out.csv"):
        pass
