"""Made-up results of a run, as the report and the figures get them."""

from __future__ import annotations

from collections.abc import Callable

import anndata as ad
import numpy as np
import pandas as pd
import pytest


@pytest.fixture
def inputs() -> Callable[..., dict]:
    """Make the arguments of ``build_report``, without ``out``."""
    return make


def make(slices: tuple[str, ...] = ("one", "two"), n: int = 40, labels: int = 5) -> dict:
    rng = np.random.default_rng(0)
    total = n * len(slices)
    obs = pd.DataFrame(
        {
            "slice": np.repeat(slices, n),
            "technology": np.repeat([f"tech {s}" for s in slices], n),
            "panel": "p",
            "lloki_cluster": pd.Categorical(rng.integers(0, 12, total).astype(str)),
            "cell_type": [f"type {i}" for i in rng.integers(0, labels, total)],
        },
        index=[f"c{i}" for i in range(total)],
    )
    obsm = {
        "X_lloki": rng.random((total, 8)),
        "X_umap": rng.normal(size=(total, 2)),
        "spatial": rng.random((total, 2)),
    }
    joint = ad.AnnData(obs=obs, obsm=obsm)
    qc = pd.DataFrame({"slice": slices, "cells": n, "genes": 100, "genes_in_reference": 90, "extra <i>": 1.5})
    steps = np.arange(20)
    losses = pd.DataFrame({"step": steps, "total": 1 / (steps + 1), "triplet": 0.5, "validation": np.nan})
    losses.loc[::5, "validation"] = 0.4
    return {
        "joint": joint,
        "qc": qc,
        "losses": losses,
        "run": {
            "lloki": "0.1",
            "seed": 7,
            "parameters": {"fp": {"n_neighbors": 40}},
            "stages": [
                {"stage": "fp", "unit": "one", "status": "done", "seconds": 61.0, "peak_rss_mb": 100.2}
            ],
            "messages": [{"slice": s, "text": "something was corrected"} for s in slices],
            "metrics": {"mixing": 0.8, "preservation": 0.5},
            "verdict": {
                "answer": "yes",
                "reasons": ["Like met like: genes are predicted at least 92% as well.", "One thing more."],
                "evidence": {},
            },
        },
        "sparsity": {s: {k: rng.random(n) for k in ("before", "target", "after")} for s in slices},
        "label_key": "cell_type",
    }
