"""The benchmark of a run by itself: its embedding before and after batch alignment, by known types."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from lloki import keys
from lloki._missing import text_labels
from lloki._parts import take_rows
from lloki.errors import MissingExtraError
from lloki.evaluate import (
    PROFILES,
    aggregate,
    entering,
    expression_pca,
    normalized,
    score_cells,
    scored_cells,
)
from lloki.run.config import RunConfig


def labels_of(adata: AnnData, label_key: str | None) -> NDArray[Any] | None:
    """Cell types as text, ``""`` where unknown; ``None`` if there is no such column."""
    if label_key is None or label_key not in adata.obs:
        return None
    column = adata.obs[label_key]
    return text_labels(column, unknown=True)


def own_scores(adata: AnnData, config: RunConfig) -> tuple[pd.DataFrame | None, dict[str, Any]]:
    """Score a run's embeddings by the metrics of integration, with slices as batches.

    Parameters
    ----------
    adata
        All cells, with counts, embeddings and labels.
    config
        The run's: label key, profile of the benchmark, seed.

    Returns
    -------
    table, facts
        A row an embedding, a column a metric or aggregate (``None`` if there is nothing to score), and what
        to say of it: profile, cells, metrics in the aggregates, notes of metrics without a value, or ``why``
        there is no table.

    Notes
    -----
    The PCR comparison is with a PCA of the union of all genes.
    """
    labels = labels_of(adata, config.label_key)
    if labels is None or config.benchmark == "none":
        return None, {}
    profile, batches = PROFILES[config.benchmark], adata.obs[keys.SLICE].astype(str).to_numpy()
    rows = scored_cells(labels, batches, n_cells=profile.cells, seed=config.seed)
    if not len(rows):
        return None, {"why": f"no slice has more than 50 cells with a label in {config.label_key!r}"}
    known, where = labels[rows], batches[rows]
    try:
        pre = expression_pca(normalized(take_rows(adata.X, rows)))
        tables = {
            key: score_cells(
                np.asarray(adata.obsm[key])[rows],
                known,
                where,
                pre,
                metrics=profile.metrics,
                seed=config.seed,
            )
            for key in (keys.FP, keys.JOINT)
        }
    except MissingExtraError as error:
        return None, {"why": str(error)}
    values = pd.DataFrame({key: table["value"] for key, table in tables.items()}).T
    notes = {m: note for m, note in tables[keys.JOINT]["note"].items() if note}
    facts = {
        "profile": config.benchmark,
        "cells": len(rows),
        "batches": len(np.unique(where)),
        "types": len(np.unique(known)),
        "aggregated": entering(values),
        "notes": notes,
        "trained_on": config.train_labels == config.label_key,
    }
    table = values.join(aggregate(values)).rename_axis("embedding").reset_index()
    return table, facts
