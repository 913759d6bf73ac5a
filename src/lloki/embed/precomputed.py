"""An embedding that the user made elsewhere, taken from an ``obsm`` key of the slices."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from lloki._progress import Advance
from lloki.embed.base import SliceSummary
from lloki.errors import ConfigError, InputError
from lloki.genes import PanelCoverage


class Precomputed:
    """Pass an ``obsm`` key of each slice on to the batch alignment. LLOKI-FP is not run for it.

    Parameters
    ----------
    key
        The ``obsm`` key; every slice must have it, with the same number of columns.
    """

    name = "precomputed"
    joint = False
    uses_expression = False

    def __init__(self, *, key: str = "", model: Path | None = None, seed: int = 0) -> None:
        if not key:
            raise ConfigError("name the obsm key to use, as in precomputed:X_mymodel")
        self.key = key
        self._dim = 0

    @property
    def dim(self) -> int:
        return self._dim

    def coverage(self, genes: Sequence[str]) -> PanelCoverage:
        return PanelCoverage(tuple(genes), ())

    def summarise(self, expression: sparse.csr_matrix, genes: Sequence[str]) -> SliceSummary:
        return SliceSummary(tuple(genes))

    def fit(self, slices: Mapping[str, SliceSummary], reference: SliceSummary) -> Precomputed:
        return self

    def take(self, obsm: Mapping[str, NDArray[np.floating]], *, where: str) -> NDArray[np.float32]:
        """Return the slice's own embedding as float32, checked.

        Raises
        ------
        InputError
            If the key is absent, or the array is not a finite (n, d) matrix.
        """
        slot = f"obsm[{self.key!r}]"
        if self.key not in obsm:
            raise InputError(
                "the embedding is absent",
                where=where,
                slot=slot,
                mend=f"Its obsm keys are: {', '.join(sorted(obsm)) or 'none'}. Name one of them.",
            )
        x = np.asarray(obsm[self.key], dtype=np.float32)
        if x.ndim != 2 or not x.shape[1]:
            raise InputError(
                f"the embedding has shape {x.shape}", where=where, slot=slot, mend="Give (cells, columns)."
            )
        if not np.isfinite(x).all():
            raise InputError(
                "the embedding holds NaN or infinity", where=where, slot=slot, mend="Mend these rows first."
            )
        self._dim = x.shape[1]
        return x

    def embed(
        self,
        expression: sparse.csr_matrix,
        genes: Sequence[str],
        *,
        state: SliceSummary,
        cell_ids: Sequence[str],
        seed: int = 0,
        threads: int | None = None,
        advance: Advance | None = None,
    ) -> NDArray[np.float32]:
        raise ConfigError("a precomputed embedding is taken from obsm, not computed from expression")

    def save(self, folder: Path) -> None:
        (folder / "precomputed.json").write_text(json.dumps({"key": self.key}))

    @classmethod
    def load(cls, folder: Path) -> Precomputed:
        return cls(key=json.loads((folder / "precomputed.json").read_text())["key"])
