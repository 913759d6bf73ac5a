"""The benchmark that a run with labels has in its folder and on its page."""

from __future__ import annotations

import sys

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from lloki.run import RunConfig
from lloki.run.inputs import Inputs
from lloki.run.scores import own_scores


def joined(n: int = 160) -> ad.AnnData:
    """Two slices with the same two types; batches part in one embedding and not in the other."""
    rng = np.random.default_rng(0)
    kind, batch = rng.integers(2, size=n), np.arange(n) % 2
    noise = rng.normal(size=(n, 6))
    types = 4 * np.eye(6)[kind]
    counts = rng.poisson(np.array([[5, 1, 1, 3], [1, 5, 2, 3]])[kind]).astype(np.float32)
    obs = pd.DataFrame({"slice": np.array(["a", "b"])[batch], "kind": np.array(["x", "y"])[kind]})
    obs.index = [f"c{i}" for i in range(n)]
    obsm = {
        "X_lloki_fp": (types + noise + 4 * np.eye(6)[2 + batch]).astype(np.float32),
        "X_lloki": (types + noise).astype(np.float32),
    }
    return ad.AnnData(sparse.csr_matrix(counts), obs=obs, obsm=obsm)


@pytest.mark.slow
def test_the_aligned_embedding_mixes_better_by_the_metrics():
    pytest.importorskip("scib_metrics")
    table, facts = own_scores(joined(), RunConfig(label_key="kind"))
    assert table is not None
    table = table.set_index("embedding")
    assert list(table.index) == ["X_lloki_fp", "X_lloki"]
    assert table.loc["X_lloki", "batch"] > table.loc["X_lloki_fp", "batch"] + 0.1
    assert table["ilisi"].is_monotonic_increasing
    assert facts["profile"] == "fast"
    assert (facts["cells"], facts["batches"], facts["types"]) == (160, 2, 2)
    assert "kbet" not in table
    assert not facts["trained_on"]


def test_both_embeddings_are_scored_on_the_same_cells(monkeypatch):
    asked = []

    def score(x, labels, batches, pre, *, metrics, seed):
        asked.append((x, labels, batches, pre, tuple(metrics)))
        return pd.DataFrame({"value": 0.5, "note": ""}, index=list(metrics))

    monkeypatch.setattr("lloki.run.scores.score_cells", score)
    adata = joined()
    adata.obs.loc[adata.obs_names[:7], "kind"] = np.nan
    table, facts = own_scores(adata, RunConfig(label_key="kind", benchmark="full"))
    assert table is not None
    assert facts["cells"] == 153
    assert facts["profile"] == "full"
    (one, *known), (other, *again) = asked
    assert len(one) == len(other) == 153
    for a, b in zip(known[:3], again[:3]):
        np.testing.assert_array_equal(a, b)
    order = [int(name[1:]) for name in adata.obs_names]
    rows = [int(np.flatnonzero((adata.obsm["X_lloki"] == row).all(1))[0]) for row in other]
    assert sorted(order[i] for i in rows) == list(range(7, 160))
    assert list(adata.obs["kind"].iloc[rows]) == list(known[0])


def test_what_cannot_be_scored_says_why(monkeypatch):
    adata = joined()
    assert own_scores(adata, RunConfig()) == (None, {})
    assert own_scores(adata, RunConfig(label_key="absent")) == (None, {})
    assert own_scores(adata, RunConfig(label_key="kind", benchmark="none")) == (None, {})
    few = adata[:60].copy()
    table, facts = own_scores(few, RunConfig(label_key="kind"))
    assert table is None
    assert "more than 50 cells with a label in 'kind'" in facts["why"]
    monkeypatch.setitem(sys.modules, "scib_metrics", None)
    table, facts = own_scores(adata, RunConfig(label_key="kind"))
    assert table is None
    assert "pip install 'lloki[benchmark]'" in facts["why"]


def test_scores_are_left_in_the_folder_and_on_the_page(integrate, monkeypatch):
    table = pd.DataFrame({"embedding": ["X_lloki_fp", "X_lloki"], "clisi": [0.5, 0.6]})
    shown = {}
    monkeypatch.setattr("lloki.run.outputs.own_scores", lambda adata, config: (table, {"cells": 7}))
    monkeypatch.setattr("lloki.run.outputs.build_report", lambda *a, **kw: shown.update(kw))
    result = integrate()
    pd.testing.assert_frame_equal(pd.read_csv(result.folder / "benchmark.csv"), table)
    pd.testing.assert_frame_equal(result.benchmark, table)
    assert result.run["benchmark"] == shown["run"]["benchmark"] == {"cells": 7}
    assert shown["scores"] is table
    assert {"dimensions", "types_kept", "like_with_like"} <= set(result.run["metrics"])
    # scores of an earlier run do not outlive it
    monkeypatch.setattr("lloki.run.outputs.own_scores", lambda adata, config: (None, {}))
    again = integrate()
    assert not (again.folder / "benchmark.csv").exists()
    assert again.benchmark is None


def test_a_run_says_what_it_was_called_with(base, files):
    inputs = Inputs.from_dict(base.run["inputs"])
    assert inputs.slices == tuple(str(p.resolve()) for p in files.slices)
    assert inputs.reference == str(files.reference.resolve())
    assert inputs.options.label_key == "cell_type"
    assert inputs.options.n_neighbors == 40
