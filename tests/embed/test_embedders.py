"""Finding embedders by name, embeddings made elsewhere, and embedders of other packages."""

from __future__ import annotations

import json
from importlib.metadata import entry_points
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import lloki
from lloki.embed import (
    Embedder,
    Factor,
    Precomputed,
    SliceSummary,
    get_embedder,
    load_embedder,
    save_embedder,
)
from lloki.embed import base as module
from lloki.errors import ConfigError, InputError, ModelError
from lloki.genes import PanelCoverage
from tissue import small_tissue


class Shares:
    """A third package's embedder: a fixed random projection of each cell's shares, known by gene name."""

    name = "shares"
    joint = False
    uses_expression = True
    dim = 5

    def __init__(self, *, model=None, seed=0):
        self.model, self.config = model, {"seed": seed}

    def coverage(self, genes):
        return PanelCoverage(tuple(genes), ())

    def summarize(self, expression, genes):
        return SliceSummary(tuple(genes))

    def fit(self, slices, reference):
        return self

    def embed(self, expression, genes, *, state, cell_ids, seed=0, threads=None, advance=None):
        assert len(cell_ids) == expression.shape[0]
        weights = [np.random.default_rng([seed, *gene.encode()]).normal(size=self.dim) for gene in genes]
        if advance:
            advance(expression.shape[0])
        return np.asarray(expression @ np.array(weights), np.float32)

    def save(self, folder):
        (folder / "shares.json").write_text(json.dumps(self.config))

    @classmethod
    def load(cls, folder):
        return cls(**json.loads((folder / "shares.json").read_text()))


@pytest.fixture
def plugin(monkeypatch):
    entry = SimpleNamespace(name="shares", load=lambda: Shares)
    built_in = SimpleNamespace(
        name="factor", load=lambda: pytest.fail("a plugin must not replace a built-in")
    )
    monkeypatch.setattr(module, "entry_points", lambda group: [entry, built_in])


def test_built_in_embedders_are_entry_points():
    found = {e.name: e for e in entry_points(group=module.ENTRY_POINTS)}
    assert {"factor", "precomputed"} <= set(found)
    assert found["factor"].load() is Factor


@pytest.mark.parametrize("made", [Factor(), Precomputed(key="X_a"), Shares()])
def test_they_keep_the_protocol(made):
    assert isinstance(made, Embedder)


def test_by_name(plugin):
    assert isinstance(get_embedder("factor"), Factor)
    mine = get_embedder("precomputed:X_mine:2")
    assert isinstance(mine, Precomputed)
    assert mine.key == "X_mine:2"
    other = get_embedder("shares", model="weights", seed=3)
    assert (other.model, other.config) == (Path("weights"), {"seed": 3})
    installed = "factor, geneformer, precomputed, scgpt, shares"
    with pytest.raises(ConfigError, match=rf"'none'\. Installed: {installed}"):
        get_embedder("none")
    with pytest.raises(ConfigError, match="does not take these options"):
        get_embedder("shares:key")


def test_saved_embedders(plugin, tmp_path, monkeypatch):
    save_embedder(Shares(seed=4), tmp_path)
    assert load_embedder(tmp_path).config == {"seed": 4}
    monkeypatch.undo()
    with pytest.raises(ModelError, match="'shares', which is not installed here"):
        load_embedder(tmp_path)
    with pytest.raises(ModelError, match="holds no saved embedder"):
        load_embedder(tmp_path / "absent")


def test_an_embedder_of_another_package_runs(plugin, tmp_path, monkeypatch):
    paths = small_tissue(n_cells=100, n_reference=150).write(tmp_path)
    monkeypatch.setattr("lloki.run.outputs.build_report", lambda *a, **k: None)
    settings = {"embedder": "shares", "cae": {"steps": 5, "batch_size": 128}, "seed": 2}
    weights = tmp_path / "weights"
    weights.write_text("1")

    def run(**model):
        return lloki.integrate(paths[:2], reference=paths[-1], out=tmp_path / "run", **settings, **model)

    first = run(model=str(weights))
    assert first.adata.obsm["X_lloki_fp"].shape == (200, 5)

    def status(result):
        return {s["stage"]: s["status"] for s in result.run["stages"]}

    assert status(run(model=str(weights)))["embedding"] == "reused"
    weights.write_text("2")  # other weights in the same place
    assert status(run(model=str(weights)))["embedding"] == "computed"
    projected = lloki.project(paths[0], run=tmp_path / "run")
    np.testing.assert_allclose(projected.obsm["X_lloki"], first.adata.obsm["X_lloki"][:100], atol=1e-5)


def test_precomputed_rows():
    taken = Precomputed(key="X_a")
    rows = np.arange(6).reshape(3, 2)
    for given in (rows, sparse.csr_matrix(rows), pd.DataFrame(rows)):
        found = taken.take({"X_a": given}, where="slice_1")
        assert found.dtype == np.float32
        assert np.array_equal(found, rows)
    assert taken.dim == 2


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "absent. Its obsm keys are: X_b, spatial."),
        (np.zeros(3), r"has shape \(3,\)"),
        (np.zeros((3, 0)), r"has shape \(3, 0\)"),
        (np.array([[1.0, np.nan]] * 3), "holds NaN or infinity"),
        (np.array([["a", "b"]] * 3), "not numbers"),
        (np.zeros((3, 4)), "has 4 columns, that of the slices before has 2"),
    ],
)
def test_precomputed_rows_that_cannot_be_taken(value, message):
    taken = Precomputed(key="X_a")
    taken.take({"X_a": np.ones((3, 2))}, where="slice_0")
    obsm = {"X_b": np.ones((3, 2)), "spatial": np.ones((3, 2))} | ({} if value is None else {"X_a": value})
    with pytest.raises(InputError, match=message) as caught:
        taken.take(obsm, where="slice_1")
    assert str(caught.value).startswith("slice_1 obsm['X_a']")


def test_a_saved_precomputed_embedder_remembers_its_width(tmp_path):
    taken = Precomputed(key="X_a")
    taken.take({"X_a": np.ones((3, 2))}, where="slice_0")
    save_embedder(taken, tmp_path)
    again = load_embedder(tmp_path)
    assert (again.key, again.dim) == ("X_a", 2)
    (tmp_path / "precomputed.json").write_text("{}")
    with pytest.raises(ModelError, match="cannot be read"):
        load_embedder(tmp_path)
    with pytest.raises(ConfigError, match="not computed from expression"):
        taken.embed(sparse.csr_matrix((1, 1)), ["a"], state=SliceSummary(("a",)), cell_ids=["c"])
    with pytest.raises(ConfigError, match="name the obsm key"):
        Precomputed()


def test_the_key_that_was_named_is_taken():
    rows = {
        name: np.random.default_rng(i).normal(size=(3, 2)) for i, name in enumerate(("X_a", "X_b", "X_c"))
    }
    for name, values in rows.items():
        np.testing.assert_allclose(Precomputed(key=name).take(rows, where="slice_1"), values, rtol=1e-6)
