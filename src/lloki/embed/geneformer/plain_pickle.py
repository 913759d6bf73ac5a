"""Dictionaries out of pickles, without running what a pickle may hold.

A pickle is a program: ``pickle.load`` runs whatever its author put in. Geneformer's dictionaries are
published as pickles, but need numbers, texts and dictionaries only, so everything else is refused before it
is called.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np

from lloki.errors import ModelError

_NUMBERS = ("f2", "f4", "f8", "i4", "i8")


class _Dtype:
    """Stands in for ``numpy.dtype`` inside a pickle: keeps its arguments, and only of plain numbers."""

    def __init__(self, code: str, *_: Any) -> None:
        if code not in _NUMBERS:
            raise pickle.UnpicklingError(f"it holds numpy values of the type {code!r}")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.dtype = self.dtype.newbyteorder(state[1])


def _scalar(kind: _Dtype, content: bytes) -> float | int:
    """Stand in for the function that makes numpy scalars: gives Python's number."""
    number: float | int = np.frombuffer(content, dtype=kind.dtype, count=1)[0].item()
    return number


# A median may have been pickled as numpy.float64; these two names are all that takes.
_ALLOWED = {
    ("numpy", "dtype"): _Dtype,
    ("numpy.core.multiarray", "scalar"): _scalar,
    ("numpy._core.multiarray", "scalar"): _scalar,
}


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it refers to {module}.{name}, which would run code")
        return _ALLOWED[module, name]

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("it refers to data outside the file")


def read_plain_pickle(path: Path) -> Any:
    """Read a pickle of dictionaries, lists, texts and numbers.

    Parameters
    ----------
    path
        The file. numpy's numbers become Python's.

    Raises
    ------
    ModelError
        If it refers to anything else, by name and before that is called; or if it is no pickle.
    """
    try:
        with path.open("rb") as file:
            return _PlainUnpickler(file).load()
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error}") from error
    except Exception as error:  # a broken pickle can raise nearly anything
        raise ModelError(
            f"{path}: refused: {error or type(error).__name__}. A pickle here may hold plain dictionaries, "
            "texts and numbers only; get the file from its publisher, or save it as .json."
        ) from error
