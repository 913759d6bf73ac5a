"""One file from the network, by pooch: checked by its hash, whole or not there."""

from __future__ import annotations

import hashlib
from pathlib import Path

from lloki._progress import Progress, chosen
from lloki._version import __version__
from lloki.errors import DownloadError, MissingExtraError, OutputError

_TIMEOUT_S = 60.0
_ADVICE = "Look at the model's page in a browser, or give a mirror with --base-url (base_url=)."


def download(
    url: str, target: Path, *, sha256: str | None = None, progress: Progress | bool | None = None
) -> str:
    """Download one file; a failed attempt is repeated once, from the beginning.

    Parameters
    ----------
    url
        ``http://`` or ``https://``. Redirections are followed; proxies of the environment are used.
    target
        Where the file goes, in an existing folder; absent so far.
    sha256
        What its content must be; without it nothing but the length is checked.
    progress
        Whether to show the bytes received; ``None`` is ``lloki.settings.progress``.

    Returns
    -------
    str
        SHA-256 of the file.

    Raises
    ------
    DownloadError
        If the server cannot be reached, does not have the file or sends a web page in its place, or if the
        file has another hash.
    OutputError
        If the disk is full or the folder cannot be written.
    MissingExtraError
        If pooch is not installed.
    """
    try:
        import pooch
        from requests import HTTPError, RequestException
    except ImportError as error:
        raise MissingExtraError("pooch", "models", "downloading a model") from error
    pooch.get_logger().setLevel("WARNING")
    one = pooch.create(
        target.parent, base_url="", registry={target.name: sha256}, urls={target.name: url}, retry_if_failed=1
    )
    with chosen(progress).bar(target.name, 1, "B", unit_scale=True) as bar:  # pooch sets the total
        get = pooch.HTTPDownloader(
            progressbar=bar,
            chunk_size=1 << 20,
            timeout=_TIMEOUT_S,
            headers={"User-Agent": f"lloki/{__version__}"},
        )
        try:
            one.fetch(target.name, downloader=get)
        except HTTPError as error:
            answer = str(error).partition(" for url")[0]
            raise DownloadError(f"{url}: the server answered {answer}. {_ADVICE}") from error
        except RequestException as error:
            raise DownloadError(
                f"{url}: cannot be downloaded ({error}). Run the same again, or download {target.name} by "
                f"other means and put it into {target.parent}."
            ) from error
        except ValueError as error:
            raise DownloadError(
                f"{url}: the server sent another file than expected. {error} {_ADVICE}"
            ) from error
        except OSError as error:
            raise OutputError(
                f"{target}: cannot be written ({error.strerror or error}). Free some space and run the "
                "same command again, or choose another folder with --to (to=)."
            ) from error
    if _is_web_page(target):
        target.unlink()
        raise DownloadError(f"{url}: the server sent a web page in place of the file. {_ADVICE}")
    return file_sha256(target)


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is_web_page(path: Path) -> bool:
    """Whether a file is HTML, as file hosts send with status 200 when a quota is used up."""
    with path.open("rb") as file:
        return file.read(100).lstrip().lower().startswith((b"<!doctype html", b"<html"))
