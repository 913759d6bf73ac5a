"""An embedding that the user made elsewhere, taken from an ``obsm`` key of the slices."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from lloki._progress import Advance
from lloki.embed.base import SliceSummary
from lloki.errors import ConfigError, InputError, ModelError
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

    def summarize(self, expression: sparse.csr_matrix, genes: Sequence[str]) -> SliceSummary:
        return SliceSummary(tuple(genes))

    def fit(self, slices: Mapping[str, SliceSummary], reference: SliceSummary) -> Precomputed:
        return self

    def take(self, obsm: Mapping[str, NDArray[np.floating]], *, where: str) -> NDArray[np.float32]:
        """Return the slice's own embedding as float32, checked.

        Raises
        ------
        InputError
            If the key is absent, the array is no finite (n, d) matrix, or d is not that of the slices before.
        """
        slot = f"obsm[{self.key!r}]"
        if self.key not in obsm:
            raise InputError(
                "the embedding is absent",
                where=where,
                slot=slot,
                hint=f"Its obsm keys are: {', '.join(sorted(obsm)) or 'none'}. Name one of them.",
            )
        values: Any = obsm[self.key]
        try:
            x = np.asarray(values.toarray() if sparse.issparse(values) else values, dtype=np.float32)
        except (ValueError, TypeError) as error:
            raise InputError(
                f"the embedding holds values that are not numbers ({error})",
                where=where,
                slot=slot,
                hint="Give numbers.",
            ) from error
        if x.ndim != 2 or not x.shape[1]:
            raise InputError(
                f"the embedding has shape {x.shape}", where=where, slot=slot, hint="Give (cells, columns)."
            )
        if not np.isfinite(x).all():
            raise InputError(
                "the embedding holds NaN or infinity", where=where, slot=slot, hint="Fix these rows first."
            )
        if self._dim not in (0, x.shape[1]):
            raise InputError(
                f"the embedding has {x.shape[1]} columns, that of the slices before has {self._dim}",
                where=where,
                slot=slot,
                hint="Embed all slices with one model.",
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
        (folder / "precomputed.json").write_text(json.dumps({"key": self.key, "dim": self._dim}))

    @classmethod
    def load(cls, folder: Path) -> Precomputed:
        try:
            facts = json.loads((folder / "precomputed.json").read_text())
            self = cls(key=facts["key"])
            self._dim = int(facts["dim"])
        except (OSError, ValueError, KeyError) as error:
            raise ModelError(f"{folder}: cannot be read: {error}") from error
        return self
