"""What a file may do: give its own content, and no more than it can hold. Everything else is refused.

HDF5 and zarr can take their values from other files, and declare arrays of any size in a few bytes; pickles
run code. Each file of a user goes through here before anything of it is read. Only its structure is looked
at, never its values, so that this takes milliseconds.
"""

from __future__ import annotations

import errno
import json
import math
import os
import zipfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import psutil
from anndata import AnnData, read_h5ad

from lloki.errors import InputError

# Deflate, which most files are compressed with, gains a factor of at most 1,032; on counts, less than 100.
_MOST_GAIN = 1_032
_SMALL = 64 * 2**20  # bytes that any file may declare: empty arrays take no place in it
_MOST_METADATA = 64 * 2**20  # bytes of one file of zarr metadata
_ENTRY = 500  # bytes that any entry takes in memory, at least
_TEXT = 16  # bytes of a text of any length where it is referred to
_SPARSE_LINE = 4  # bytes of the shortest line of a Matrix Market file
_METADATA = (".zarray", ".zmetadata", "zarr.json")
_MAKE_WHOLE = "Write it again, whole, from a program that you trust: adata.write_h5ad(...)."
_DAMAGED = "Copy or download it again, from a source that you trust."


@contextmanager
def open_hdf5(path: Path, *, unread: Collection[str] = ()) -> Iterator[h5py.File]:
    """Open an HDF5 file to read, checked by `check_hdf5`."""
    with h5py.File(path, "r") as file:
        check_hdf5(file, path, unread=unread)
        yield file


def read_checked(path: Path) -> AnnData:
    """Read an ``.h5ad`` of lloki or of an analysis, checked as `check_hdf5` does."""
    with open_hdf5(path):
        pass
    return read_h5ad(path)


def check_hdf5(file: h5py.File, path: Path, *, unread: Collection[str] = ()) -> None:
    """Refuse an HDF5 file that takes values from elsewhere, or declares more than it can hold.

    Parameters
    ----------
    file
        Open to read.
    path
        Its path, for the message and its size.
    unread
        Groups at its root that are not read, and may be of any size.

    Raises
    ------
    InputError
        Naming the entry: a link to another file, a data set whose values are stored in other files or are
        virtual, links in a circle, or sizes beyond what the file, or the memory of this machine, can hold.
    """
    where = str(path)
    try:
        tree = _Tree(file, where)
        root = {name: target for name, target in tree.entries[tree.root] if name not in unread}
        total = sum(tree.size(target, name) for name, target in root.items())
    except (RuntimeError, KeyError, TypeError) as error:
        raise InputError(f"is damaged ({error})", where=where, hint=_DAMAGED) from error
    require_size(
        total, path.stat().st_size, where=where, slot=max(tree.datasets.values(), default=(0, ""))[1]
    )


def require_size(declared: int, stored: int, *, where: str, slot: str = "") -> None:
    """Refuse a file that declares more bytes than it can hold, or than the machine has memory for.

    Parameters
    ----------
    declared
        Bytes of all that would be read.
    stored
        Bytes of the file.
    where, slot
        The file, and its largest entry, for the message.

    Raises
    ------
    InputError
        In either case.
    """
    if declared <= _SMALL:
        return
    if declared > _SMALL + _MOST_GAIN * stored:
        raise InputError(
            f"declares arrays of {_bytes(declared)}, which a file of {_bytes(stored)} cannot hold",
            where=where,
            slot=slot,
            hint=f"It is damaged, or was made to fill the memory. {_DAMAGED}",
        )
    free = psutil.virtual_memory().available
    if declared > free:
        raise InputError(
            f"holds {_bytes(declared)}, and {_bytes(free)} of memory are free",
            where=where,
            slot=slot,
            hint="Leave out layers that are not needed, split it into its sections, or use a larger machine.",
        )


class _Tree:
    """Groups and data sets of a file by their addresses in it; nothing outside of the file is opened.

    Attributes
    ----------
    root
        Address of the root.
    entries
        Group → names in it, and the address of each.
    datasets
        Data set → bytes that reading it takes, and its first name.
    """

    def __init__(self, file: h5py.File, where: str) -> None:
        self.where, self.root = where, _address(file["/"].id)
        self.entries: dict[Any, list[tuple[str, Any]]] = {}
        self.datasets: dict[Any, tuple[int, str]] = {}
        self._sizes: dict[Any, int | None] = {}
        soft, groups = [], [("", file["/"].id)]
        while groups:
            parent, group = groups.pop()
            inside = self.entries[_address(group)] = []
            for raw in group:
                name = parent + raw.decode(errors="replace")
                kind = group.links.get_info(raw).type
                if kind == h5py.h5l.TYPE_SOFT:
                    soft.append((group, raw, name))
                    continue
                if kind == h5py.h5l.TYPE_EXTERNAL:
                    target = b":".join(group.links.get_val(raw)).decode(errors="replace")
                    raise _elsewhere(where, name, f"is a link to another file ({target})")
                if kind != h5py.h5l.TYPE_HARD:
                    raise _elsewhere(where, name, "is a link of an unknown kind")
                found = h5py.h5o.open(group, raw)
                at = _address(found)
                inside.append((name, at))
                if isinstance(found, h5py.h5g.GroupID) and at not in self.entries:
                    self.entries[at] = []
                    groups.append((f"{name}/", found))
                elif isinstance(found, h5py.h5d.DatasetID) and at not in self.datasets:
                    self.datasets[at] = (_declared(found, where, name), name)
        for group, raw, name in soft:  # no link leaves the file, so neither does a path
            with suppress(KeyError):  # it leads nowhere
                self.entries[_address(group)].append((name, _address(h5py.h5o.open(group, raw))))

    def size(self, at: Any, name: str) -> int:
        """Bytes that reading an entry takes; what has several names is read as often."""
        if at in self.datasets:
            return self.datasets[at][0] + _ENTRY
        if at not in self.entries:  # a named type
            return _ENTRY
        if at not in self._sizes:
            self._sizes[at] = None
            try:
                found = sum(self.size(target, inner) for inner, target in self.entries[at])
            except RecursionError:
                found = None
            if found is None:
                raise InputError("is nested too deeply", where=self.where, slot=name[:60], hint=_DAMAGED)
            self._sizes[at] = found + _ENTRY
        known = self._sizes[at]
        if known is None:
            raise InputError("is a link to a group that it is in", where=self.where, slot=name, hint=_DAMAGED)
        return known


def _address(found: Any) -> tuple[int, int]:
    about = h5py.h5o.get_info(found)
    return about.fileno, about.addr


def _declared(dataset: Any, where: str, name: str) -> int:
    """Bytes that reading a data set takes, if its values are in the file."""
    how = dataset.get_create_plist()
    if how.get_external_count():
        source = how.get_external(0)[0].decode(errors="replace")
        raise _elsewhere(where, name, f"is stored in another file ({source})")
    layout = how.get_layout()
    if layout == h5py.h5d.VIRTUAL:  # before its shape, which HDF5 would look up in the other files
        raise _elsewhere(where, name, "is virtual: its values come from other files or data sets")
    space = dataset.get_space()
    shape = space.get_simple_extent_dims() if space.get_simple_extent_type() == h5py.h5s.SIMPLE else (1,)
    item = dataset.get_type().get_size()
    # a chunk is read as a whole, and may be larger than the data set
    chunk = math.prod(how.get_chunk()) if layout == h5py.h5d.CHUNKED and 0 not in shape else 0
    return item * max(math.prod(shape), chunk)


def check_zarr(path: Path, *, unread: Collection[str] = ()) -> None:
    """Refuse a zarr store that leaves its folder, runs code, or declares more than it can hold.

    Parameters
    ----------
    path
        Folder, or zip file, of the store.
    unread
        Groups at its root that are not read at once, such as images: each chunk of them is limited.

    Raises
    ------
    InputError
        Naming the entry.
    """
    where, sizes = str(path), dict[str, int]()
    for name, about in _zarr_arrays(path):
        codec = _pickle(about)
        if codec:
            raise InputError(
                f"is stored as pickles ({codec}), and reading these runs code",
                where=where,
                slot=name,
                hint=f"It was not read. {_DAMAGED}",
            )
        whole, chunk = _zarr_sizes(about)
        size = chunk if name.split("/")[0] in unread else max(whole, chunk)
        sizes[name] = max(size, sizes.get(name, 0))
    if sum(sizes.values()) > _SMALL:
        largest = max(sizes, key=lambda name: sizes[name])
        require_size(sum(sizes.values()), _stored(path), where=where, slot=largest)


def _zarr_arrays(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Name and metadata of every array, again where consolidated metadata repeats them."""
    for name, text in _in_zip(path) if path.is_file() else _in_folder(path):
        parent = name.rpartition("/")[0]
        try:
            about = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise InputError(f"is not valid JSON ({error})", where=str(path / name), hint=_DAMAGED) from error
        if not isinstance(about, dict):
            continue
        inside: Any = about.get("metadata") or (about.get("consolidated_metadata") or {}).get("metadata")
        entries = {name: about}
        if isinstance(inside, dict):
            entries |= {f"{parent}/{below}".lstrip("/"): entry for below, entry in inside.items()}
        for place, entry in entries.items():
            array = place.endswith(".zarray") or (
                isinstance(entry, dict) and entry.get("node_type") == "array"
            )
            if array and isinstance(entry, dict) and "shape" in entry:  # attributes may have a shape as well
                yield place.removesuffix("/.zarray").removesuffix("/zarr.json"), entry


def _in_folder(path: Path) -> Iterator[tuple[str, bytes]]:
    root = path.resolve()
    for folder, folders, files in os.walk(path):
        for name in (*folders, *files):
            entry = Path(folder, name)
            if entry.is_symlink() and not entry.resolve().is_relative_to(root):
                raise _elsewhere(
                    str(path), str(entry.relative_to(path)), f"is a link to another place ({entry.resolve()})"
                )
        for name in sorted(set(files) & set(_METADATA)):
            entry = Path(folder, name)
            if entry.stat().st_size > _MOST_METADATA:
                raise InputError("is too large for metadata", where=str(entry), hint=_DAMAGED)
            yield entry.relative_to(path).as_posix(), entry.read_bytes()


def _in_zip(path: Path) -> Iterator[tuple[str, bytes]]:
    try:
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                if info.filename.rpartition("/")[2] in _METADATA:
                    if info.file_size > _MOST_METADATA:
                        raise InputError(
                            "is too large for metadata", where=f"{path}/{info.filename}", hint=_DAMAGED
                        )
                    yield info.filename, archive.read(info)
    except zipfile.BadZipFile as error:
        raise InputError(f"is no zip file, or damaged ({error})", where=str(path), hint=_DAMAGED) from error


def _pickle(about: Any) -> str:
    """Name of a codec that unpickles, among all that an array passes through."""
    if isinstance(about, Mapping):
        names = [str(about.get(key, "")) for key in ("id", "name")]
        found = next((name for name in names if name.rpartition(".")[2].lower() == "pickle"), "")
        # attributes are the user's own, and name no codec
        return found or _pickle([value for key, value in about.items() if key != "attributes"])
    if isinstance(about, list):
        return next(filter(None, map(_pickle, about)), "")
    return ""


def _zarr_sizes(about: Mapping[str, Any]) -> tuple[int, int]:
    """Bytes of an array, and of one of its chunks."""
    grid = about.get("chunk_grid") or {}
    chunk = about.get("chunks") or (grid.get("configuration") or {}).get("chunk_shape") or []
    item = _item_size(about.get("dtype", about.get("data_type")))
    try:
        whole, part = (math.prod(int(n) for n in shape) for shape in (about["shape"], chunk))
    except (TypeError, ValueError):
        return 0, 0  # zarr says what is wrong with it
    return item * whole, item * part if whole else 0


def _item_size(kind: Any) -> int:
    if isinstance(kind, Mapping):  # zarr 3: a name and its configuration
        length = (kind.get("configuration") or {}).get("length_bytes")
        return int(length) if isinstance(length, int) else _item_size(kind.get("name"))
    try:
        dtype = np.dtype([tuple(field) for field in kind] if isinstance(kind, list) else str(kind))
    except (TypeError, ValueError):
        return _TEXT
    return _TEXT if dtype.hasobject else dtype.itemsize


def _stored(path: Path) -> int:
    files = (p for p in path.rglob("*") if p.is_file()) if path.is_dir() else (path,)
    return sum(file.stat().st_size for file in files)


def check_archive(path: Path) -> None:
    """Refuse a zip file, such as ``.npz`` or weights of torch, whose members are larger than it.

    numpy and torch store arrays as they are, so that their sum is less than the file.

    Raises
    ------
    InputError
        If they are.
    """
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        inside = sum(info.file_size for info in archive.infolist())
    size = path.stat().st_size
    if inside > size:
        text = f"declares {_bytes(inside)} in a file of {_bytes(size)}"
        raise InputError(text, where=str(path), hint=f"It is damaged. {_DAMAGED}")


def check_market(lines: Iterator[bytes], shape: tuple[int, int], stored: int, *, path: Path) -> None:
    """Compare the size that a Matrix Market file declares with its tables and its bytes.

    Parameters
    ----------
    lines
        Of the file, from its beginning.
    shape
        Rows and columns that its tables name.
    stored
        Bytes of the file, which may be compressed.
    path
        For the message.

    Raises
    ------
    InputError
        If it has another shape, or more values than its bytes can hold.
    """
    head = next((line for line in lines if line.strip() and not line.startswith(b"%")), b"")
    try:
        rows, columns, values = (int(number) for number in head.split()[:3])
    except ValueError:
        return  # scipy says what is wrong with it
    if (rows, columns) != shape:
        raise InputError(
            f"is for {columns:,} cells and {rows:,} features, but its folder names {shape[1]:,} and "
            f"{shape[0]:,}",
            where=str(path),
            hint="Copy or export the folder again.",
        )
    if values * _SPARSE_LINE > _SMALL + _MOST_GAIN * stored:
        raise InputError(
            f"declares {values:,} values, which a file of {_bytes(stored)} cannot hold",
            where=str(path),
            hint="Copy or export the folder again.",
        )


def require_name(path: str | os.PathLike[str]) -> None:
    """Refuse a path that is too long for the file system, of which any look-up would fail.

    Raises
    ------
    InputError
        With the beginning of the path.
    """
    try:
        os.stat(path)
    except ValueError:
        raise InputError("holds a zero byte, and is no path", where=ascii(path)) from None
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise InputError(
                f"is a path of {len(str(path)):,} characters, too long for the file system",
                where=f"{str(path)[:60]}…",
                hint="Give a shorter one; a path holds one file.",
            ) from error


def _elsewhere(where: str, slot: str, what: str) -> InputError:
    return InputError(what, where=where, slot=slot, hint=f"It was not followed. {_MAKE_WHOLE}")


def _bytes(n: int) -> str:
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if n < 1_000 or unit == "TB":
            break
        n /= 1_000  # type: ignore[assignment]
    return f"{n:,.0f} {unit}" if n >= 10 or unit == "bytes" else f"{n:.1f} {unit}"
