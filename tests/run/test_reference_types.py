"""The nearest type of the reference, by cluster."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from lloki.run.reference import Reference
from lloki.run.reference_types import nearest_types

GENES = ("a", "b", "c")
EMBEDDER: Any = SimpleNamespace(
    joint=True, summarize=lambda x, genes: None, embed=lambda x, genes, **_: x.toarray().astype(np.float32)
)


def reference(key: str = "cell_type", label_key: str | None = None) -> Reference:
    """40 cells of each of three types, each with its own gene; half of type C is unknown."""
    counts = np.repeat(np.eye(3, dtype=np.float32) * 5, 40, axis=0)
    adata = ad.AnnData(np.vstack([counts, np.zeros((1, 3), np.float32)]))
    adata.var_names = list(GENES)
    types = [*"A" * 40, *"B" * 40, *"C" * 20, *["Unknown"] * 20, "A"]
    adata.obs[key] = pd.Categorical(types)
    trained: Any = SimpleNamespace(genes=GENES)
    return Reference.cut(adata, [trained], [trained], label_key=label_key)


def slices() -> tuple[dict, dict]:
    """Cluster 0 is like B; cluster 1 lies two to one between A and C, whatever the slice."""
    rows = {"x": np.tile(np.array([0, 1, 0], np.float32), (30, 1)), "y": np.zeros((30, 3), np.float32)}
    rows["y"][:20, 0], rows["y"][20:, 2] = 1, 1
    return rows, {"x": np.zeros(30, int), "y": np.ones(30, int)}


def test_it_is_the_type_of_most_near_cells_and_their_share():
    found = nearest_types(reference(), EMBEDDER, *slices(), seed=0)
    assert found is not None
    assert list(found.index) == ["0", "1"]
    assert list(found["type"]) == ["B", "A"]
    assert found["share"].to_list() == pytest.approx([1, 2 / 3])


def test_the_order_of_slices_does_not_matter(monkeypatch):
    monkeypatch.setattr("lloki.run.reference_types.CELLS", 12)
    rows, clusters = slices()
    clusters = {name: np.arange(30) % 2 for name in clusters}
    turned = ({n: d[n] for n in reversed(list(d))} for d in (rows, clusters))
    one = nearest_types(reference(), EMBEDDER, rows, clusters, seed=3)
    pd.testing.assert_frame_equal(one, nearest_types(reference(), EMBEDDER, *turned, seed=3))


def test_the_column_is_the_one_of_the_slices_labels_or_one_with_a_usual_name():
    assert nearest_types(reference("celltype"), EMBEDDER, *slices(), seed=0) is not None
    assert nearest_types(reference("layer"), EMBEDDER, *slices(), seed=0) is None
    assert nearest_types(reference("layer", "layer"), EMBEDDER, *slices(), seed=0) is not None


def test_it_is_left_out_without_a_reference_and_with_a_pretrained_embedder():
    pretrained: Any = SimpleNamespace(joint=False)
    assert nearest_types(None, EMBEDDER, *slices(), seed=0) is None
    assert nearest_types(reference(), pretrained, *slices(), seed=0) is None
