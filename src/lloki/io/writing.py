"""Writing without leaving halves: a file is whole at its place, or not there."""

from __future__ import annotations

import errno
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lloki.errors import OutputError

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_FULL_TEXTS = ("No space left", "Disk quota exceeded")
_DENIED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.EISDIR})


@contextmanager
def atomic(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Write to a temporary path beside ``path``, which takes its place when the block ends well.

    Parameters
    ----------
    path
        The file or folder to write. Missing parent folders are made; what is there already is replaced.

    Yields
    ------
    pathlib.Path
        A path that does not exist yet, in the same folder (so that the move is one step) and with the same
        ending. Write a file or make a folder there.

    Raises
    ------
    OutputError
        If the disk is full, the place cannot be written, or nothing was written. Whatever the exception, the
        temporary file is removed and what was at ``path`` before stays as it was.

    Notes
    -----
    A folder cannot replace another in one step: the old one is renamed first, and back if the move fails.
    """
    target = Path(path).expanduser()
    temporary = target.with_name(f".{target.stem[:100]}.{uuid.uuid4().hex[:12]}.part{target.suffix}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
        except BaseException:
            _give_back(temporary)
            raise
        if not temporary.exists():
            raise OutputError(
                f"{target}: nothing was written; the step that makes it ended without a result."
            )
        _replace(temporary, target)
    except OutputError:
        raise
    except Exception as error:  # a full disk is an OSError, or h5py's RuntimeError, or safetensors' own
        # HDF5 fails once more when it closes the file, and that error hides the one with the reason
        reason = _reason(error, target.parent) or (
            _reason(error.__context__, target.parent) if isinstance(error.__context__, Exception) else ""
        )
        if not reason:
            raise
        raise OutputError(f"{target}: {reason} Nothing was left half-written.") from error
    finally:
        _remove(temporary)


def _replace(temporary: Path, target: Path) -> None:
    if not target.is_dir() or target.is_symlink():
        os.replace(temporary, target)
        return
    old = temporary.with_name(temporary.name + ".old")
    os.replace(target, old)
    try:
        os.replace(temporary, target)
    except OSError:
        os.replace(old, target)
        raise
    _remove(old)


def _reason(error: Exception, folder: Path) -> str:
    """Reason why a write failed; ``""`` for an error that is not about the place written to."""
    number, text = getattr(error, "errno", None), str(error)
    about = getattr(error, "filename", None)
    if about is not None:
        inside, whole = Path(about).absolute(), folder.absolute()
        # in the folder, or one of its parents where making it failed; else it is an input that was read
        if whole not in (inside, *inside.parents) and inside not in whole.parents:
            return ""
    if number in _FULL or any(full in text for full in _FULL_TEXTS):
        return "the disk is full. Free some space or choose another place with --out (out=)."
    if number == errno.EFBIG or "File too large" in text:
        return (
            "the file would be larger than the file system, or the limit of this shell (ulimit -f), allows. "
            "Raise the limit or choose another place with --out (out=)."
        )
    if number == errno.ENAMETOOLONG or "File name too long" in text:
        return "the name is too long for the file system. Give a shorter --out (out=) or sample name."
    if number in _DENIED or "Permission denied" in text or "Read-only file system" in text:
        return f"cannot be written ({text}). Choose a place you may write to with --out (out=)."
    return ""


def _give_back(path: Path) -> None:
    """Free the space of a failed file at once.

    HDF5 writes again when the objects of an open file are closed, and takes the interpreter with it if the
    disk is still full then.
    """
    with suppress(OSError):
        if path.is_file():
            os.truncate(path, 0)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):  # it was never made; the error being raised says more
            path.unlink()
