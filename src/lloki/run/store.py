"""Where finished pieces of a run lie: one file or folder each, named by a hash of all that went into it."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import zipfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from lloki import _sums
from lloki._log import logger
from lloki._version import __version__
from lloki.errors import OutputError, RunError
from lloki.io import atomic
from lloki.io.trust import check_archive
from lloki.run.record import Recorder, StageRecord, metered

# Raise a stage's number when what it computes changes: pieces of an older recipe are then made again, and all
# that were made from them.
RECIPES: Mapping[str, int] = MappingProxyType(
    {
        "slices": 1,
        "obs": 1,
        "features": 1,
        "summary": 1,
        "fit": 2,
        "embedding": 3,
        "training": 8,
        "token": 8,
        "encode": 1,
        "view": 2,
        "held_out": 5,
        # of lloki.benchmark
        "harmony": 1,
        "pca": 1,
        "peer": 1,
        "scvi": 1,
        "scores": 2,
        "umap": 1,
        "trials": 1,
    }
)

_LEFT_OVER = re.compile(r"\..*\.[0-9a-f]{12}\.part")  # what `lloki.io.atomic` was writing when it was killed


def key_of(*parts: Any) -> str:
    """Hash plain values, dataclasses and arrays to 16 hex digits; equal inputs give equal keys anywhere."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            digest.update(str((part.shape, part.dtype.str)).encode() + np.ascontiguousarray(part).tobytes())
        else:
            plain = asdict(part) if is_dataclass(part) and not isinstance(part, type) else part
            digest.update(json.dumps(plain, sort_keys=True, default=str).encode())
        digest.update(b"\0")
    return digest.hexdigest()[:16]


def stage_key(stage: str, *inputs: Any) -> str:
    """Key of what a stage makes of its inputs: by its recipe, this version of lloki and the inputs."""
    return key_of(stage, RECIPES[stage], __version__, *inputs)


@dataclass(frozen=True)
class Piece:
    """Place of one finished piece of work: its stage, the name people know it by, its key and path."""

    stage: str
    name: str
    key: str
    path: Path

    @property
    def done(self) -> bool:
        """Whether it is there."""
        return self.path.exists()


def cached(piece: Piece, make: Callable[[Path], object]) -> StageRecord:
    """Make a piece unless it is there.

    Parameters
    ----------
    piece
        Where it belongs.
    make
        Writes it, a file or a folder, to the path that it is called with; that takes the piece's place when
        it is whole.

    Returns
    -------
    StageRecord
        Whether it was computed or reused, and its cost.
    """
    if usable(piece):
        return StageRecord(piece.stage, piece.name, piece.key, status="reused")
    with metered(piece.stage, piece.name, piece.key) as record, atomic(piece.path) as temporary:
        make(temporary)
        if temporary.exists():  # else `atomic` says so
            _sums.seal(temporary, piece.path)
    return record


def usable(piece: Piece, notes: list[tuple[str, str]] | None = None) -> bool:
    """Whether a piece is there and whole; a damaged one is removed, with a note, to be made again."""
    what = _sums.damage(piece.path) if piece.done else ""
    if what:
        text = f"{piece.path} {what}; it is made again"
        logger.warning("%s", text)
        if notes is not None:
            notes.append((piece.name, text))
        _remove(piece.path)
        _sums.forget(piece.path)
    return piece.done


def hash_of_files(path: str | None) -> str:
    """Hash a file, or all files of a folder with their names; ``""`` if there is nothing at ``path``."""
    if path is None or not os.path.exists(path):
        return ""
    root, digest = Path(path), hashlib.sha256()
    for file in sorted(p for p in (root.rglob("*") if root.is_dir() else [root]) if p.is_file()):
        with file.open("rb") as opened:
            inside = hashlib.file_digest(opened, "sha256").digest()
        digest.update(file.relative_to(root).as_posix().encode() + b"\0" + inside)
    return digest.hexdigest()


class Store:
    """The folder ``work`` of a run, which belongs to one run at a time: ``with Store(folder) as store``.

    A run that was killed leaves nothing behind but finished pieces: what it was writing is removed by the
    next. Where nothing came of a run, for example because an input has an error, its empty folders are
    removed too.

    Parameters
    ----------
    folder
        Made if absent.
    recorder
        Where pieces are recorded as computed or reused.

    Attributes
    ----------
    made
        Paths of the pieces that were made here.

    Raises
    ------
    OutputError
        If nothing can be written there.
    RunError
        If another run is at work there.
    """

    def __init__(self, folder: str | Path, recorder: Recorder | None = None) -> None:
        self.folder = Path(os.path.abspath(folder))  # workers may have another working directory
        self.recorder = recorder or Recorder()
        self.made: list[Path] = []
        self._lock: int | None = None
        self._folders: list[Path] = []

    def __enter__(self) -> Store:
        for file in (p for p in (self.folder, *self.folder.parents) if p.is_file()):
            raise OutputError(f"{file}: is a file, not a folder. Choose another place with --out (out=).")
        self._folders = [p for p in (self.folder, *self.folder.parents) if not p.exists()]
        try:
            with atomic(self.folder / ".writable") as probe:  # fails before any work, not after an hour of it
                probe.write_text("")
            (self.folder / ".writable").unlink(missing_ok=True)
            self._lock = _lock(self.folder)
        except BaseException:
            self.__exit__()
            raise
        if self._lock is not None:
            self._sweep()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
        with suppress(OSError):  # the first one that is not empty ends it
            for folder in self._folders:
                folder.rmdir()

    def piece(self, stage: str, name: str, *inputs: Any, ending: str = ".npz") -> Piece:
        """Place of what a stage makes of its inputs. The name, of any characters, is for people."""
        key = stage_key(stage, *inputs)
        readable = re.sub(r"[^A-Za-z0-9._-]+", "_", name)[:60]
        return Piece(stage, name, key, self.folder / stage / f"{readable}-{key}{ending}")

    def usable(self, piece: Piece) -> bool:
        """Whether a piece is there and whole, see :func:`usable`."""
        return usable(piece, self.recorder.notes)

    def cached(self, piece: Piece, make: Callable[[Path], object]) -> Path:
        """Make a piece unless it is there, see :func:`cached`; return its path."""
        self.usable(piece)
        record = cached(piece, make)
        self.recorder.stages.append(record)
        if record.status == "computed":
            self.made.append(piece.path)
        return piece.path

    def adopt(
        self, stages: Iterable[StageRecord], notes: Iterable[tuple[str, str]], made: Iterable[Path]
    ) -> None:
        """Record pieces that another process has made here, or found."""
        self.recorder.stages.extend(stages)
        self.recorder.notes.extend(notes)
        self.made.extend(made)

    @contextmanager
    def provisional(self) -> Iterator[None]:
        """If the block raises, remove the pieces that it made."""
        self.made.clear()
        try:
            yield
        except BaseException:
            for path in self.made:
                _remove(path)
                _sums.forget(path)
                with suppress(OSError):  # other pieces of the stage are there
                    path.parent.rmdir()
            raise

    def _sweep(self) -> None:
        for path in (*self.folder.parent.glob(".*"), *self.folder.glob(".*"), *self.folder.glob("*/.*")):
            if _LEFT_OVER.match(path.name):
                logger.debug("removing %s, which a run that was stopped left unfinished", path)
                _remove(path)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _lock(folder: Path) -> int | None:
    """Hold the folder until the file descriptor is closed or the process ends, however it ends."""
    try:
        import fcntl
    except ImportError:  # Windows: two runs in one folder are not detected there
        return None
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise RunError(
            f"{folder.parent}: another run is at work there. Wait for it to end, or choose another place "
            "with --out (out=)."
        ) from error
    except OSError:  # some network file systems have no locks
        os.close(descriptor)
        return None
    return descriptor


def save_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write arrays and CSR matrices to one ``.npz``, atomically, and its sum beside it."""
    with atomic(path) as temporary:
        write_arrays(temporary, arrays)
        _sums.seal(temporary, path)


def write_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write arrays and CSR matrices to one ``.npz``; the same arrays give the same bytes, at any time.

    Two workers may write one piece at once: its sum then fits, whichever comes last. numpy would note the
    time in the file, and fail before 1980.
    """
    flat: dict[str, NDArray[Any]] = {}
    for name, value in arrays.items():
        if sparse.issparse(value):
            x = sparse.csr_matrix(value)
            flat |= {f"{name}.data": x.data, f"{name}.indices": x.indices, f"{name}.indptr": x.indptr}
            flat[f"{name}.shape"] = np.array(x.shape)
        else:
            flat[name] = np.asarray(value)
            if flat[name].dtype == object:
                raise TypeError(f"{name!r} is no array of numbers or text")
    with zipfile.ZipFile(path, "w") as archive:
        for name, value in flat.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.asanyarray(value), allow_pickle=False)


class StoredRows(Mapping[str, NDArray[np.float32]]):
    """Slice → (n, d) rows of its cells, read from its file whenever they are asked for: none is kept.

    Parameters
    ----------
    paths
        Slice → its file, of which the array ``rows`` is read.
    """

    def __init__(self, paths: Mapping[str, Path]) -> None:
        self.paths = dict(paths)

    def __getitem__(self, name: str) -> NDArray[np.float32]:
        rows: NDArray[np.float32] = load_arrays(self.paths[name], only=("rows",))["rows"]
        return rows

    def __iter__(self) -> Iterator[str]:
        return iter(self.paths)

    def __len__(self) -> int:
        return len(self.paths)


def load_arrays(path: Path, *, only: Collection[str] = ()) -> dict[str, Any]:
    """Read what `save_arrays` or `write_arrays` wrote; it is compared with its sum, if it has one.

    Parameters
    ----------
    path
        The file.
    only
        Names of the arrays that are wanted, as far as it has them; by default all.

    Raises
    ------
    OutputError
        If the file is missing or damaged, with what to do.
    """
    out: dict[str, Any] = {}
    try:
        if what := _sums.damage(path, strict=False):
            raise OutputError(f"{path} {what}. Start the run again to make it anew.")
        check_archive(path)
        with np.load(path, allow_pickle=False) as file:
            for name in file.files:
                stem, _, part = name.rpartition(".")
                if only and (stem or name) not in only:
                    continue
                if not stem:
                    out[name] = file[name]
                elif part == "shape":
                    pieces = tuple(file[f"{stem}.{p}"] for p in ("data", "indices", "indptr"))
                    out[stem] = sparse.csr_matrix(pieces, shape=tuple(file[name]))
    except FileNotFoundError as error:
        raise OutputError(f"{path}: is missing. Start the run again to make it anew.") from error
    except OutputError:
        raise
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise OutputError(f"{path}: cannot be read ({error}). Remove it and start the run again.") from error
    return out
