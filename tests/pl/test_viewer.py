"""The viewer's data: what a page holds is what the AnnData has."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import zlib

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import lloki
from lloki import keys
from lloki.errors import InputError
from lloki.fp import log_normalize
from lloki.pl import _viewer
from lloki.pl._viewer.encode import ABSENT, NOWHERE, Box, levels, positions, text_of

EVIL = "</div><script>alert(1)</script>"


def decoded(text: str) -> bytes:
    return zlib.decompress(base64.b64decode(text))


def wide(text: str) -> np.ndarray:
    low, high = np.frombuffer(decoded(text), np.uint8).reshape(2, -1).astype(int)
    return low + 256 * high


def made(n: int = 60) -> ad.AnnData:
    """Two slices, b before a in the rows, of which only b measured G0."""
    rng = np.random.default_rng(0)
    obs = pd.DataFrame(index=[f"c{i}" for i in range(2 * n)])
    obs["slice"] = np.tile(["b", "a"], n)
    obs["technology"] = np.tile(["T2", "T1"], n)
    obs[keys.CLUSTER] = pd.Categorical(rng.choice(["0", "1", "2"], 2 * n), categories=["0", "1", "2", "3"])
    obs["cell_type"] = pd.Categorical(rng.choice(["x", EVIL, None], 2 * n))
    obs[keys.LABEL_CONFIDENCE] = np.where(obs["slice"] == "a", rng.random(2 * n), np.nan)
    counts = rng.poisson(2.0, (2 * n, 4)).astype(np.float32)
    counts[obs["slice"] == "a", 0] = 0
    adata = ad.AnnData(counts, obs=obs, var=pd.DataFrame(index=["G0", "G1", "G2", "G3"]))
    adata.obsm = {"X_umap": rng.normal(size=(2 * n, 2)), "spatial": 1000 * rng.random((2 * n, 2))}
    adata.varm[keys.MEASURED] = np.array([[True, False], [True, True], [True, True], [True, True]])
    adata.uns[keys.UNS] = {"slices": ["b", "a"], "units": ["micrometre", ""]}
    return adata


def about(viewer: _viewer.Viewer) -> dict:
    return json.loads(decoded(viewer.blocks["about"]))


def test_cells_lie_where_they_are_slice_after_slice():
    adata = made()
    viewer = _viewer.viewer_of(adata)
    facts = about(viewer)
    assert [(s["name"], s["start"], s["count"], s["unit"]) for s in facts["slices"]] == [
        ("b", 0, 60, "µm"),
        ("a", 60, 60, ""),
    ]
    order = np.concatenate([np.flatnonzero(adata.obs["slice"] == s) for s in "ba"])
    assert decoded(viewer.blocks["ids"]).decode().split("\n") == list(adata.obs_names[order])
    embedding, tissue = facts["panels"]
    assert (embedding["grid"], tissue["grid"], tissue["bar"]) == (False, True, True)
    left, top, width, height = embedding["boxes"][0]
    steps = wide(viewer.blocks[embedding["block"]]).reshape(-1, 2) / 65534
    back = steps * (width, height) + (left, top)
    np.testing.assert_allclose(back * (1, -1), adata.obsm["X_umap"][order], atol=1e-4)
    steps = wide(viewer.blocks[tissue["block"]]).reshape(-1, 2) / 65534
    for k, rows in enumerate((slice(0, 60), slice(60, 120))):
        left, top, width, height = tissue["boxes"][k]
        np.testing.assert_allclose(
            steps[rows] * (width, height) + (left, top), adata.obsm["spatial"][order[rows]], atol=0.02
        )


def test_categories_keep_their_colors_and_a_gene_that_a_slice_lacks_is_no_zero():
    adata = made()
    viewer = _viewer.viewer_of(adata, label_key="cell_type")
    facts = about(viewer)
    column = {c["key"]: c for c in facts["columns"]}
    order = np.concatenate([np.flatnonzero(adata.obs["slice"] == s) for s in "ba"])
    assert keys.TECHNOLOGY not in column  # each slice has its own: the same as the slices
    assert column[keys.CLUSTER]["names"] == ["0", "1", "2"]
    assert column[keys.CLUSTER]["colors"] == ["#0072b2", "#e69f00", "#009e73"]
    codes = np.frombuffer(decoded(viewer.blocks[column["cell_type"]["block"]]), np.uint8)
    names = np.array([*column["cell_type"]["names"], None], dtype=object)
    expected = adata.obs["cell_type"].astype(object).where(adata.obs["cell_type"].notna(), None)
    at = np.where(codes == ABSENT, len(names) - 1, codes)
    assert list(names[at]) == list(expected.iloc[order])
    gene = column["G0"]
    values = np.frombuffer(decoded(viewer.blocks[gene["block"]]), np.uint8).astype(float)
    assert gene["missing"] == "not measured"
    assert (values[60:] == ABSENT).all()
    own = log_normalize(adata.X[order[:60]]).toarray()[:, 0]
    back = gene["low"] + values[:60] / 254 * (gene["high"] - gene["low"])
    np.testing.assert_allclose(back, np.clip(own, gene["low"], gene["high"]), atol=(gene["high"]) / 250)
    confidence = column[keys.LABEL_CONFIDENCE]
    assert (confidence["low"], confidence["high"], confidence["missing"]) == (0, 1, "label given")


def test_the_markup_holds_no_name_and_one_script():
    adata = made()
    adata.obs_names = [f"{EVIL}{i}" for i in range(adata.n_obs)]
    adata.obs["slice"] = np.where(adata.obs["slice"] == "a", EVIL, "b")
    page = lloki.pl.interactive(adata, color=["cell_type", "G1"], label_key="cell_type").html
    code = re.findall(r"<script>(.*?)</script", page, re.DOTALL)
    assert page.count("<script") == len(code) == 1
    assert "alert" not in page
    digest = base64.b64encode(hashlib.sha256(code[0].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'\">" in page
    assert not re.findall(r"https?://(?!www\.w3\.org)", page)


def test_a_notebook_shows_the_page_in_a_frame_of_its_own(tmp_path):
    shown = lloki.pl.interactive(made(), height=500)
    markup = shown._repr_html_()
    assert markup.startswith("<iframe srcdoc=")
    assert 'sandbox="allow-scripts"' in markup
    assert "height:500px" in markup
    assert (
        "<" not in markup.removeprefix("<").removesuffix("</iframe>")[:-1].split('srcdoc="')[1].split('"')[0]
    )
    assert shown.save(tmp_path / "a.html").read_text() == shown.html
    assert "120 cells" in repr(shown)


def test_what_does_not_exist_is_an_error_that_names_the_nearest():
    with pytest.raises(InputError, match="Did you mean 'cell_type'"):
        lloki.pl.interactive(made(), color="celltype")
    bare = made()
    bare.obsm = {}
    with pytest.raises(InputError, match="X_umap"):
        lloki.pl.interactive(bare)


def test_the_budget_leaves_out_genes_first():
    adata = made(300)
    viewer = _viewer.viewer_of(adata)
    full = [c["key"] for c in about(viewer)["columns"]]
    size = sum(len(text) for name, text in viewer.blocks.items() if name != "about")
    small = [c["key"] for c in about(_viewer.viewer_of(adata, budget=size - 10))["columns"]]
    assert full[: len(small)] == small
    assert len(small) == len(full) - 1


def test_same_cells_same_page():
    assert lloki.pl.interactive(made()).html == lloki.pl.interactive(made()).html


@given(
    arrays(float, st.tuples(st.integers(1, 30), st.just(2)), elements=st.floats(-1e6, 1e6) | st.just(np.nan))
)
def test_positions_come_back_within_a_step(xy):
    box = Box.around(xy)
    steps = positions(xy, box)
    known = np.isfinite(xy).all(axis=1)
    assert (steps[~known] == NOWHERE).all()
    assert (steps[known] < NOWHERE).all()
    back = steps[known] / 65534 * (box.width, box.height) + (box.left, box.top)
    assert np.all(np.abs(back - xy[known]) <= np.array([box.width, box.height]) / 65534 + 1e-6)
    assert np.array_equal(wide(text_of(steps)), steps.ravel())


@given(arrays(float, st.integers(1, 50), elements=st.floats(-10, 10) | st.just(np.nan)))
def test_levels_are_within_half_a_step_and_absent_where_unknown(values):
    found = levels(values, -5, 5).astype(float)
    known = np.isfinite(values)
    assert (found[~known] == ABSENT).all()
    np.testing.assert_allclose(
        found[known] / 254 * 10 - 5, np.clip(values[known], -5, 5), atol=10 / 254 / 2 + 1e-9
    )
