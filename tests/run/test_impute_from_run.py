"""Genes are tried in an embedding without them that the run's own models give."""

from __future__ import annotations

import json
import warnings

import anndata as ad
import numpy as np
import pytest

import lloki
from lloki import keys
from lloki.errors import LlokiWarning
from lloki.run import Result


def impute(adata: ad.AnnData, base: Result | None) -> tuple[ad.AnnData, dict]:
    last = adata.uns[keys.UNS]["slices"][-1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LlokiWarning)
        found = lloki.tl.impute(
            adata, last, run=None if base is None else base.folder, min_score=None, method="neighbors"
        )
    return found, json.loads(found.uns[keys.UNS]["impute"]["parameters"])


def test_the_models_of_the_run_leave_genes_out(base: Result) -> None:
    adata = base.adata
    found, by_run = impute(adata, base)
    assert by_run["unseen_by_run"] == sorted(adata.uns[keys.UNS]["slices"])
    other, without = impute(adata, None)
    assert without["unseen_by_run"] == []
    # 150 cells a slice: the estimate without the run comes only so close
    both = found.var["score"].notna()
    assert abs((found.var["score"] - other.var["score"])[both].mean()) < 0.15
    np.testing.assert_array_equal(found.X, other.X)


@pytest.mark.parametrize("change", [lambda x: x[:, ::-1], lambda x: x[:, :20], lambda x: x + 1])
def test_models_that_did_not_make_the_embedding_are_not_used(base: Result, change) -> None:
    adata = base.adata.copy()
    adata.obsm[keys.JOINT] = np.ascontiguousarray(change(adata.obsm[keys.JOINT]))
    assert impute(adata, base)[1]["unseen_by_run"] == []
