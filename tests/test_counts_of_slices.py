"""Analyses take counts, wherever they are: values on another scale are refused, not used as counts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pytest
from anndata import AnnData

import lloki
from lloki.errors import InputError

MARKERS = {"one": ["Acsbg1", "Fgfr3", "Aqp4"], "two": ["Mog", "Mobp", "Opalin"]}


@pytest.fixture(scope="module")
def joint() -> AnnData:
    """Two slices of one panel with counts in X, ``layers["counts"]`` and ``raw``."""
    made = lloki.datasets.tissue(
        n_cells=120, n_reference=50, seed=0, platforms=(lloki.datasets.ALPHAFISH,) * 2
    ).slices
    found = ad.concat(made, label="slice", keys=["a", "b"], index_unique="-")
    found.layers["counts"] = found.X.copy()
    found.raw = found.copy()
    found.obsm["X_lloki"] = np.log1p(found.X[:, :10].toarray())
    found.obsm["X_lloki_metagenes"] = np.log1p(found.X[:, :3].toarray())
    return found


def annotate(adata: AnnData, **options: Any) -> Any:
    lloki.tl.annotate_by_markers(adata, MARKERS, n_neighbors=0, **options)
    return adata.obs["lloki_marker_type_confidence"].to_numpy()


def impute(adata: AnnData, **options: Any) -> Any:
    totals = np.asarray(adata.layers["counts"][:].sum(axis=0)).ravel()
    genes = list(adata.var_names[np.argsort(totals)[-2:]])
    return lloki.tl.impute(adata, "a", genes=genes, min_score=None, n_neighbors=5, **options).X


def loadings(adata: AnnData, **options: Any) -> Any:
    return lloki.tl.gene_loadings(adata, **options).select_dtypes("number").to_numpy()


ANALYSES = [annotate, impute, loadings]


def on_scale(adata: AnnData, scale: str) -> AnnData:
    out, x = adata.copy(), adata.X.toarray()
    lined = x / np.maximum(x.sum(1, keepdims=True), 1) * 1e4
    out.X = lined if scale == "normalized" else np.log1p(lined)
    if scale == "negative":
        out.X = lined - lined.mean(0)
    return out


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("analysis", ANALYSES)
@pytest.mark.parametrize("scale", ["normalized", "logarithms", "negative"])
def test_other_scales_are_refused_naming_the_layer(
    joint: AnnData, analysis: Callable[..., Any], scale: str
) -> None:
    with pytest.raises(InputError, match=f"X: holds {scale}.*--layer counts"):
        analysis(on_scale(joint, scale))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("analysis", ANALYSES)
@pytest.mark.parametrize("layer", ["counts", "raw"])
def test_counts_of_a_layer_or_raw_give_what_those_of_x_do(
    joint: AnnData, analysis: Callable[..., Any], layer: str
) -> None:
    expected = analysis(joint.copy())
    np.testing.assert_array_equal(analysis(on_scale(joint, "logarithms"), layer=layer), expected)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("analysis", ANALYSES)
def test_backed_slices_give_the_same(joint: AnnData, analysis: Callable[..., Any], tmp_path: Path) -> None:
    expected = analysis(joint.copy())
    joint.write_h5ad(tmp_path / "joint.h5ad")
    backed = ad.read_h5ad(tmp_path / "joint.h5ad", backed="r")
    try:
        np.testing.assert_array_equal(analysis(backed), expected)
        lloki.pl.spatial(backed, color="Mog", show=False)
        if analysis is annotate:
            lloki.pl.spatial(backed[:200], color="Mog", show=False)
            with pytest.raises(InputError, match="to_memory"):
                analysis(backed[:200])
    finally:
        backed.file.close()
