"""SHA-256 sums beside stored files: what is read is what was written.

A file's sum is in a file of its own beside it, those of a folder in one file inside, both as ``sha256sum -c``
reads them. A sum finds damage: a flipped bit, a half-copied folder. It is no signature.
"""

from __future__ import annotations

import hashlib
import os
import uuid
from contextlib import suppress
from pathlib import Path

from lloki.errors import ModelError

ENDING = ".sha256"  # of the file beside a file
SUMS = "SHA256SUMS"  # in a folder

_seen: dict[Path, tuple[tuple[int, int, int], str]] = {}  # files that this process has read: state and sum


def seal(path: Path, place: Path | None = None, *, keep: bool = False) -> None:
    """Write the sums of a file or folder.

    Parameters
    ----------
    path
        The file or folder.
    place
        Where it is about to be moved to: the sum of a file is written beside that. Without, it stays.
    keep
        Let what is at ``place`` count as whole too, until the move is done; a kill in between then leaves
        either with its sum.
    """
    place = place or path
    if path.is_dir():
        lines = [f"{_sum(file, place / name)}  {name}\n" for name, file in _inside(path)]
        (path / SUMS).write_text("".join(lines), encoding="utf-8")
        return
    new = f"{_sum(path, place)}  {place.name}\n"
    known = _known(beside(place)).get(place.name, set()) if keep else set()
    old = "".join(f"{value}  {place.name}\n" for value in sorted(known) if value not in new)
    temporary = place.with_name(f".{place.stem[:100]}.{uuid.uuid4().hex[:12]}.part{ENDING}")
    try:
        temporary.write_text(new + old, encoding="utf-8")
        os.replace(temporary, beside(place))
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def beside(path: Path) -> Path:
    """Path of the sum of a file."""
    return path.with_name(path.name + ENDING)


def damage(path: Path, *, strict: bool = True) -> str:
    """Compare a file, or all files of a folder, with their sums.

    Parameters
    ----------
    path
        The file or folder; what was compared before in this process, and has the same time and size, is not
        read again.
    strict
        Whether a missing sum counts as damage; else nothing is compared without.

    Returns
    -------
    str
        What is wrong, as a clause after the name of the file or folder; ``""`` if nothing is.
    """
    folder = path.is_dir()
    listed = path / SUMS if folder else beside(path)
    if not listed.exists():
        return f"has no SHA-256 sum ({listed.name})" if strict else ""
    try:
        known = _known(listed)
    except (OSError, ValueError) as error:
        return f"has sums that cannot be read ({listed.name}: {error})"
    files = {name: path / name for name in known} if folder else {path.name: path}
    for name, file in files.items():
        what = f"{name} " if folder else ""
        if not file.is_file():
            return f"is damaged: {name} is missing"
        if _sum(file, file) not in known.get(name, ()):
            return f"is damaged: {what}differs from its SHA-256 sum"
    return ""


def require_whole(folder: Path) -> None:
    """Refuse the folder of a model of which a file differs from its sum; those of older versions have none.

    Raises
    ------
    ModelError
        Naming the file.
    """
    if what := damage(folder, strict=False):
        raise ModelError(f"{folder} {what}. Copy the folder again, or make the model again.")


def forget(path: Path) -> None:
    """Remove the sum of a file that is about to be removed."""
    with suppress(OSError):
        beside(path).unlink()


def _sum(path: Path, place: Path) -> str:
    """Sum of a file, which is or will be at ``place``; read again only if it has changed."""
    state, (before, found) = _state(path), _seen.get(place, (None, ""))
    if state != before:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        _seen[place] = state, found
    return found


def _state(path: Path) -> tuple[int, int, int]:
    about = path.stat()
    return about.st_mtime_ns, about.st_size, about.st_ino


def _inside(folder: Path) -> list[tuple[str, Path]]:
    files = ((file.relative_to(folder).as_posix(), file) for file in folder.rglob("*") if file.is_file())
    return sorted((name, file) for name, file in files if name != SUMS)


def _known(listed: Path) -> dict[str, set[str]]:
    """File → the sums that it may have."""
    known: dict[str, set[str]] = {}
    if listed.exists():
        for line in listed.read_text(encoding="utf-8").splitlines():
            value, _, name = line.partition("  ")
            if len(value) != 64 or not name or Path(name).is_absolute() or ".." in Path(name).parts:
                raise ValueError("a line is no sum")
            known.setdefault(name, set()).add(value)
    return known
