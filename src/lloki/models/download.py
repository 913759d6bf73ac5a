"""One file from the network: resumed where it broke off, checked by its hash, whole or not there."""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lloki._log import logger
from lloki._progress import Advance, Progress, Silent
from lloki._version import __version__
from lloki.errors import ConfigError, DownloadError, LlokiError, OutputError

_CHUNK = 1 << 20
_MB = 1_000_000  # progress is counted in these
_TRIES = 5  # in a row without a byte more
_WAIT_S = 0.5  # before the second try, doubled before each further one
_TIMEOUT_S = 60.0
_ADVICE = "Look at the model's page in a browser, or give a mirror with --base-url (base_url=)."


class _BrokenError(Exception):
    """The connection failed; another try may go on."""


def download(url: str, target: Path, *, sha256: str | None = None, progress: Progress | None = None) -> str:
    """Bring one file here.

    What has come so far is kept beside the target as ``NAME.part``. A broken connection is taken up again at
    once, and a stopped call by the next one, if the server can send the rest of a file and, where no hash is
    given, if the file is still the same there (by its ETag or date, kept as ``NAME.part.tag``).

    Parameters
    ----------
    url
        ``http://`` or ``https://``. Redirections are followed; proxies of the environment are used.
    target
        Where the file goes, in an existing folder.
    sha256
        What its content must be; without it nothing but the length is checked.
    progress
        Told of the MB that have come.

    Returns
    -------
    str
        SHA-256 of the file.

    Raises
    ------
    DownloadError
        If the server cannot be reached, does not have the file, sends a web page in its place, or keeps
        breaking off; or if what came has another hash, and is then removed.
    OutputError
        If the disk is full or the folder cannot be written.
    ConfigError
        If the address is not one of the web.

    Notes
    -----
    Memory is one chunk of 1 MiB. The file is read once more at the end, for its hash.
    """
    if not re.match("https?://", url):
        raise ConfigError(f"{url}: only http:// and https:// addresses can be fetched.")
    part, tag = (target.with_name(target.name + ending) for ending in (".part", ".part.tag"))
    meter = _Meter(progress or Silent(), target.name)
    with _writing(target):
        failures = 0
        while True:
            before = _size(part)
            try:
                _continue(url, part, tag, sure=sha256 is not None, meter=meter)
                break
            except _BrokenError as error:
                failures = 1 if _size(part) > before else failures + 1
                if failures >= _TRIES or not _size(part):
                    raise DownloadError(
                        f"{url}: {error}, with {_size(part) / _MB:.1f} MB here. Run the same again to go on, "
                        f"or bring {target.name} by other means and put it into {target.parent}."
                    ) from error
                logger.info("%s: %s; going on from %.1f MB", target.name, error, _size(part) / _MB)
                time.sleep(_WAIT_S * 2 ** (failures - 1))
        found = file_sha256(part)
        if sha256 is not None and found != sha256.lower():
            part.unlink()
            tag.unlink(missing_ok=True)
            raise DownloadError(
                f"{url}: sent another file than expected (sha256 {found}, not {sha256}), which was removed. "
                "Try again; if it stays so, what is published there has changed: do not use it unseen."
            )
        os.replace(part, target)
        tag.unlink(missing_ok=True)
    return found


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _continue(url: str, part: Path, tag: Path, *, sure: bool, meter: _Meter) -> None:
    """Ask for what is missing and append it; return when the file is whole."""
    # without a hash to check it by in the end, only what is known to be the same file may be continued
    have = _size(part) if sure or tag.exists() else 0
    request = urllib.request.Request(url, headers={"User-Agent": f"lloki/{__version__}"})
    if have:
        request.add_header("Range", f"bytes={have}-")
        if tag.exists():
            request.add_header("If-Range", tag.read_text())
    try:
        response = urllib.request.urlopen(request, timeout=_TIMEOUT_S)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # nothing is left of it, or it is shorter now than what is here
            if str(error.headers.get("Content-Range", "")).endswith(f"/{have}"):
                return
            part.unlink()
            return _continue(url, part, tag, sure=sure, meter=meter)
        raise DownloadError(f"{url}: the server says {error.code} {error.reason}. {_ADVICE}") from error
    except (OSError, http.client.HTTPException) as error:
        raise _BrokenError(f"the server cannot be reached ({getattr(error, 'reason', error)})") from error
    with response:
        if response.headers.get_content_type() == "text/html":
            raise DownloadError(f"{url}: the server sent a web page in place of the file. {_ADVICE}")
        if have and response.status != 206:
            logger.info("%s: begun anew; it has changed there, or the server sends it whole only", part.stem)
            have = 0
        elif have and not str(response.headers.get("Content-Range")).startswith(f"bytes {have}-"):
            raise DownloadError(f"{url}: the server sent another part than it was asked for. {_ADVICE}")
        length = response.headers.get("Content-Length")
        total = have + int(length) if length else None
        _keep_tag(tag, response)
        meter.start(have, total)
        with part.open("ab" if have else "wb") as file:
            while chunk := _read(response):
                file.write(chunk)
                meter.add(len(chunk))
    if total is not None and _size(part) < total:
        raise _BrokenError("the connection broke")


def _read(response: http.client.HTTPResponse) -> bytes:
    try:
        return response.read(_CHUNK)
    except (OSError, http.client.HTTPException) as error:
        raise _BrokenError(f"the connection broke ({error})") from error


def _keep_tag(tag: Path, response: http.client.HTTPResponse) -> None:
    """Keep what tells this version of the file: a strong ETag, else its date."""
    etag = response.headers.get("ETag", "")
    version = etag if etag and not etag.startswith("W/") else response.headers.get("Last-Modified", "")
    if version:
        tag.write_text(version)
    else:
        tag.unlink(missing_ok=True)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


@contextmanager
def _writing(target: Path) -> Iterator[None]:
    """Turn what goes wrong with the disk into an error that says so."""
    try:
        yield
    except LlokiError:
        raise
    except OSError as error:
        raise OutputError(
            f"{target}: cannot be written ({error.strerror or error}). What has come is kept: make room "
            "and run the same again, or choose another place with --to (to=)."
        ) from error


class _Meter:
    """Counts bytes, and reports MB."""

    def __init__(self, progress: Progress, name: str) -> None:
        self._progress, self._name, self._done, self._told = progress, name, 0, 0
        self._advance: Advance | None = None

    def start(self, have: int, total: int | None) -> None:
        if self._advance is None and total:
            self._advance = self._progress.task(self._name, -(-total // _MB), unit="MB")
        self.add(have - self._done)

    def add(self, n: int) -> None:
        self._done += n
        if self._advance and (now := -(-self._done // _MB)) > self._told:
            self._advance(now - self._told)
            self._told = now
