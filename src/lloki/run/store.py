"""Where finished pieces of a run lie: one file a piece, named by a hash of all that went into it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from lloki.errors import OutputError
from lloki.io import atomic

# Raise when the numbers that a stage computes change: pieces made by an older version are then made again.
RECIPE = 1


def key_of(*parts: Any) -> str:
    """Hash of plain values, dataclasses and arrays, as 16 hex digits; equal inputs give equal keys anywhere."""
    digest = hashlib.sha256(str(RECIPE).encode())
    for part in parts:
        if isinstance(part, np.ndarray):
            digest.update(str((part.shape, part.dtype.str)).encode() + np.ascontiguousarray(part).tobytes())
        else:
            plain = asdict(part) if is_dataclass(part) and not isinstance(part, type) else part
            digest.update(json.dumps(plain, sort_keys=True, default=str).encode())
        digest.update(b"\0")
    return digest.hexdigest()[:16]


class Store:
    """The folder ``work`` of a run.

    Parameters
    ----------
    folder
        Made if absent.

    Raises
    ------
    OutputError
        If nothing can be written there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with atomic(folder / ".writable") as probe:  # said before any work, not after an hour of it
            probe.write_text("")
        (folder / ".writable").unlink(missing_ok=True)

    def path(self, stage: str, name: str, key: str, ending: str = ".npz") -> Path:
        """Place of one piece. Slice names may hold any character: the key tells pieces apart, the name is for people."""
        readable = re.sub(r"[^A-Za-z0-9._-]+", "_", name)[:60]
        return self.folder / stage / f"{readable}-{key}{ending}"


def save_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write arrays and CSR matrices to one ``.npz``, atomically."""
    flat: dict[str, Any] = {}
    for name, value in arrays.items():
        if sparse.issparse(value):
            x = sparse.csr_matrix(value)
            flat |= {f"{name}.data": x.data, f"{name}.indices": x.indices, f"{name}.indptr": x.indptr}
            flat[f"{name}.shape"] = np.array(x.shape)
        else:
            flat[name] = np.asarray(value)
    with atomic(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, allow_pickle=False, **flat)


def load_arrays(path: Path) -> dict[str, Any]:
    """Read what `save_arrays` wrote.

    Raises
    ------
    OutputError
        If the file is damaged, with the word to remove it.
    """
    out: dict[str, Any] = {}
    try:
        with np.load(path, allow_pickle=False) as file:
            for name in file.files:
                stem, _, part = name.rpartition(".")
                if not stem:
                    out[name] = file[name]
                elif part == "shape":
                    pieces = tuple(file[f"{stem}.{p}"] for p in ("data", "indices", "indptr"))
                    out[stem] = sparse.csr_matrix(pieces, shape=tuple(file[name]))
    except (OSError, ValueError, KeyError) as error:
        raise OutputError(f"{path}: cannot be read ({error}). Remove it and start the run again.") from error
    return out


def text(array: NDArray[Any]) -> str:
    """A string that was stored as a 0-d array."""
    return str(array[()])
