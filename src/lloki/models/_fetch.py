"""Download published weights into a folder that the embedders take."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lloki._progress import Progress
from lloki.errors import ConfigError, DownloadError, OutputError
from lloki.models._download import download, file_sha256
from lloki.models.registry import WeightsFile, published


@dataclass(frozen=True)
class FetchedFile:
    """One file that is now in place.

    Attributes
    ----------
    name
        Its name in the folder.
    sha256
        SHA-256 of the content.
    checked
        Whether it was known what the hash must be, and it is.
    new
        Whether it was downloaded now; otherwise it was there.
    """

    name: str
    sha256: str
    checked: bool
    new: bool


@dataclass(frozen=True)
class Fetched:
    """A model that is in place.

    Attributes
    ----------
    folder
        What to give to ``--model``.
    files
        What it holds.
    """

    folder: Path
    files: tuple[FetchedFile, ...]


def models_folder() -> Path:
    """Where models are kept: ``LLOKI_MODELS``, else ``lloki/models`` in the user's folder of caches."""
    if chosen := os.environ.get("LLOKI_MODELS"):
        return Path(chosen).expanduser()
    caches = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(caches).expanduser() / "lloki" / "models"


def fetch(
    name: str,
    *,
    to: str | os.PathLike[str] | None = None,
    base_url: str | None = None,
    sha256: Mapping[str, str] | None = None,
    progress: Progress | bool | None = None,
) -> Fetched:
    """Download a published model, or find it where it was downloaded before.

    Parameters
    ----------
    name
        One of :func:`~lloki.models.published_models`.
    to
        The folder; by default ``NAME`` in :func:`models_folder`.
    base_url
        A mirror, which has the files under their names in the folder.
    sha256
        File name → hash it must have: pins what the registry does not know, and wins over what it knows.
    progress
        Whether to show the bytes received; ``None`` is ``lloki.settings.progress``.

    Returns
    -------
    Fetched
        The folder with all files, each with its hash; ``checked`` says whether the hash was known.

    Raises
    ------
    DownloadError
        If a file cannot be downloaded; those that were complete stay.
    OutputError
        If another file of that name is in the folder (nothing is overwritten), the disk is full, or the
        folder cannot be written.
    ConfigError
        If there is no such model, or ``sha256`` names no file of it.
    MissingExtraError
        If pooch is not installed: ``pip install 'lloki[models]'``.

    Notes
    -----
    Files that are there are not downloaded again, only hashed, at about 1 GB/s; a file whose download was
    stopped is downloaded from its beginning.
    """
    model = published(name)
    pins = dict(sha256 or {})
    unknown = [file for file in pins if file not in {f.name for f in model.files}]
    if unknown:
        raise ConfigError(f"{name} has no file {unknown[0]!r}. It has: {_names(model.files)}.")
    folder = Path(to).expanduser() if to is not None else models_folder() / name
    absent = [file for file in model.files if not (folder / file.name).exists()]
    by_hand = [file for file in absent if not (file.url or base_url)]
    if by_hand:
        raise DownloadError(
            f"{_names(by_hand)} of {name} can be downloaded in a browser only. Download from {model.page} "
            f"into {folder}, then run the same again."
        )
    _make(folder)
    found = []
    for file in model.files:
        url = f"{base_url.rstrip('/')}/{file.name}" if base_url else file.url
        found.append(_get(folder / file.name, url, pins.get(file.name, file.sha256), progress))
    return Fetched(folder, tuple(found))


def _get(target: Path, url: str, wanted: str | None, progress: Progress | bool | None) -> FetchedFile:
    new = not target.exists()
    found = download(url, target, sha256=wanted, progress=progress) if new else file_sha256(target)
    if wanted is not None and found != wanted.lower():
        raise OutputError(
            f"{target}: is another file than the published one (sha256 {found}, not {wanted}). It was not "
            "changed: move it away, or choose another folder with --to (to=)."
        )
    return FetchedFile(target.name, found, checked=wanted is not None, new=new)


def _names(files: Sequence[WeightsFile]) -> str:
    return ", ".join(file.name for file in files)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"{folder}: cannot be made ({error.strerror}). Choose another folder with --to (to=)."
        ) from error
