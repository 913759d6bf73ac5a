"""A training that was stopped resumes from its last file."""

from __future__ import annotations

import hashlib
import pickle
import time
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lloki import _sums
from lloki.errors import ConfigError, LlokiWarning

# Seconds between two files. A file takes about a second for a million cells.
EVERY_S = 60.0


class Checkpoint:
    """The file that holds a training as it stands.

    Parameters
    ----------
    path
        Replaced as a whole each time. It stays when training has ended; whoever has saved the model may
        remove it.
    fingerprint
        Hash of all that determines the result: the file of another training is not continued.
    """

    def __init__(self, path: str | Path, fingerprint: str) -> None:
        self.path, self.fingerprint = Path(path), fingerprint
        self._last = time.monotonic()

    def load(self) -> dict[str, Any] | None:
        """Read what `save` was given; ``None`` if there is nothing, or nothing that can be read.

        Raises
        ------
        ConfigError
            If the file is of another training.

        Warns
        -----
        LlokiWarning
            If it is damaged: training then starts anew.
        """
        if not self.path.exists():
            return None
        try:
            if what := _sums.damage(self.path):
                raise ValueError(what)
            state: dict[str, Any] = torch.load(self.path, map_location="cpu", weights_only=True)
            theirs = state.pop("fingerprint")
        except (OSError, EOFError, RuntimeError, ValueError, KeyError, pickle.UnpicklingError) as error:
            text = f"{self.path}: cannot be read ({_reason(error)}), so training starts anew"
            warnings.warn(text, LlokiWarning, stacklevel=2)
            return None
        if theirs != self.fingerprint:
            raise ConfigError(
                f"{self.path}: is of a training with other cells, settings or labels. Remove it, or choose "
                "another place for this one."
            )
        return state

    def due(self) -> bool:
        """Tell whether it is time for the next file."""
        return time.monotonic() - self._last >= EVERY_S

    def save(self, state: dict[str, Any]) -> None:
        """Write tensors and plain values, whole or not at all."""
        from lloki.io import atomic  # brings anndata, which nothing else here needs

        with atomic(self.path) as temporary:
            torch.save(state | {"fingerprint": self.fingerprint}, temporary)
            _sums.seal(temporary, self.path, keep=True)
        self._last = time.monotonic()


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, ValueError) else type(error).__name__


def fingerprint(plain: Any, arrays: Iterable[NDArray[Any]]) -> str:
    """Hash values that have a stable ``repr`` and arrays, by their content."""
    digest = hashlib.blake2b(repr(plain).encode(), digest_size=16)
    for array in arrays:
        digest.update(f"{array.shape}{array.dtype.str}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
