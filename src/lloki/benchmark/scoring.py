"""Scores and layouts of embeddings, kept under a hash of what they were computed from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lloki.benchmark.subject import Subject
from lloki.errors import ConfigError, InputError
from lloki.evaluate import expression_pca, score_cells, scored_cells, stratified, transfer_accuracy
from lloki.evaluate.metrics import Profile
from lloki.evaluate.sampling import LEAST
from lloki.evaluate.score import checked
from lloki.run._view import view
from lloki.run.store import Store, load_arrays, write_arrays

TRANSFER_CELLS = 40_000  # labels are carried between so many cells at most; time grows with the square
LAYOUT_CELLS = 4_000
TRANSFER = ("transfer_accuracy", "transfer_macro_f1")


@dataclass(frozen=True)
class Judge:
    """Scores embeddings of the same cells, all in the same way.

    Attributes
    ----------
    labels, batches
        (n,) text.
    rows, transfer_rows
        Cells that metrics and label transfer are computed from.
    pre
        (len(rows), e) from before integration, or ``None``.
    metrics
        Names of those to compute.
    seed
        Random seed.
    store
        Where scores are kept.
    """

    labels: NDArray[np.str_]
    batches: NDArray[np.str_]
    rows: NDArray[np.int64]
    transfer_rows: NDArray[np.int64]
    pre: NDArray[np.float32] | None
    metrics: Sequence[str]
    seed: int
    store: Store

    @classmethod
    def of(
        cls,
        subject: Subject,
        store: Store,
        *,
        profile: Profile,
        max_cells: int | None = None,
        pre_key: str | None = None,
        seed: int = 0,
    ) -> Judge:
        """Choose the cells, and what they looked like before integration.

        Raises
        ------
        InputError
            If no batch has enough labeled cells.
        ConfigError
            If there is no such embedding from before.
        """
        labels, batches = subject.labels, subject.batches
        rows = scored_cells(labels, batches, n_cells=max_cells or profile.cells, seed=seed)
        if not len(rows):
            raise InputError(
                f"no batch has more than {LEAST} cells with a label",
                slot=f"obs[{subject.label_key!r}]",
                hint="Name another column with --label-key (label_key=).",
            )
        known = scored_cells(labels, batches, n_cells=None)
        if len(known) > TRANSFER_CELLS:
            known = known[np.sort(stratified(batches[known], TRANSFER_CELLS, seed=seed))]
        pre = None
        if pre_key is not None:
            if pre_key not in subject.embeddings:
                there = ", ".join(subject.embeddings) or "none"
                raise ConfigError(f"there is no embedding {pre_key!r} to compare with. There are: {there}.")
            pre = subject.embeddings[pre_key][rows]
        elif subject.x is not None and subject.x.shape[1] > 2:  # fewer genes make no PCA
            pre = expression_pca(subject.expression(np.ones_like(subject.shared))[rows])
        return cls(labels, batches, rows, known, pre, profile.metrics, seed, store)

    def facts(self) -> dict[str, Any]:
        """Say what scores are computed from."""
        used = np.unique(self.batches[self.rows])
        return {
            "cells": len(self.labels),
            "cells_with_label": int((self.labels != "").sum()),
            "cells_scored": len(self.rows),
            "cells_of_transfer": len(self.transfer_rows),
            "batches": list(map(str, used)),
            "batches_left_out": sorted(set(map(str, np.unique(self.batches))) - set(map(str, used))),
            "types": list(map(str, np.unique(self.labels[self.rows]))),
            "metrics": list(self.metrics),
        }

    def scores(self, name: str, embedding: NDArray[np.floating]) -> dict[str, Any]:
        """Values (``None`` where there is none) and notes of an embedding (n, d).

        Raises
        ------
        InputError
            If it does not fit the cells or holds NaN.
        """
        x = checked(embedding, len(self.labels), "the embedding").astype(np.float32)
        pre = np.zeros(0) if self.pre is None else self.pre
        piece = self.store.piece(
            *("scores", name, _scib_version(), x, pre, self.rows, self.transfer_rows),
            *(self.labels.tolist(), self.batches.tolist(), list(self.metrics), self.seed),
            ending=".json",
        )
        path = self.store.cached(piece, lambda path: path.write_text(json.dumps(self._compute(x))))
        kept: dict[str, Any] = json.loads(path.read_text())
        return kept

    def layout(self, name: str, embedding: NDArray[np.floating]) -> NDArray[np.float32]:
        """UMAP of `layout_rows`: (m, 2)."""
        x = np.asarray(embedding, np.float32)[self.layout_rows]
        piece = self.store.piece("umap", name, x, self.seed)
        path = self.store.cached(piece, lambda path: write_arrays(path, {"umap": view(x, seed=self.seed)[0]}))
        xy: NDArray[np.float32] = load_arrays(path)["umap"]
        return xy

    @property
    def layout_rows(self) -> NDArray[np.int64]:
        """Cells that figures show: an equal share of every batch."""
        return self.rows[stratified(self.batches[self.rows], LAYOUT_CELLS, seed=self.seed)]

    def _compute(self, x: NDArray[np.float32]) -> dict[str, Any]:
        rows = self.rows
        table = score_cells(
            x[rows], self.labels[rows], self.batches[rows], self.pre, metrics=self.metrics, seed=self.seed
        )
        values = {str(m): None if pd.isna(v) else float(v) for m, v in table["value"].items()}
        notes = {str(m): str(note) for m, note in table["note"].items() if note}
        rows = self.transfer_rows
        carried = transfer_accuracy(x[rows], self.labels[rows], self.batches[rows])
        values |= {name: None if np.isnan(v) else v for name, v in zip(TRANSFER, carried)}
        return {"columns": x.shape[1], "values": values, "notes": notes}


def _scib_version() -> str:
    try:
        return version("scib-metrics")
    except PackageNotFoundError:
        return ""
