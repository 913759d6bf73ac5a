"""``lloki.tl.metagenes``, ``lloki.tl.domains``, their figures, and ``lloki programs``."""

from __future__ import annotations

import json

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from typer.testing import CliRunner

import lloki
from lloki import keys
from lloki.cli import app
from lloki.errors import ConfigError, InputError

FEW = {"n_metagenes": 3, "iterations": 3, "pretraining": 2}


def joint(n: int = 60) -> ad.AnnData:
    """Two slices in one object, in rows that alternate, the second without labels."""
    rng = np.random.default_rng(0)
    names = np.tile(["a", "b"], n)
    xy = rng.random((2 * n, 2)) * 100
    z = np.eye(3)[np.minimum((xy[:, 0] / 34).astype(int), 2)] + 0.1
    rates = z @ rng.dirichlet(np.full(8, 0.3), 3) * 30
    adata = ad.AnnData(
        sparse.csr_matrix(rng.poisson(rates), dtype=np.float32),
        obs=pd.DataFrame(
            {"slice": names, "cell_type": np.where(names == "a", np.array(["x", "y", "z"])[z.argmax(1)], "")},
            index=[f"c{i}" for i in range(2 * n)],
        ),
        var=pd.DataFrame(index=[f"g{i}" for i in range(8)]),
        obsm={"spatial": xy, "X_lloki": (z @ rng.random((3, 5))).astype(np.float32)},
    )
    measured = np.ones((8, 2), bool)
    measured[0, 0] = False
    adata.varm[keys.MEASURED] = measured
    return adata


def test_states_are_written_where_the_cells_are_and_survive_a_file(tmp_path):
    adata = joint()
    found = lloki.tl.metagenes(adata, **FEW)
    for name, states in zip("ab", found.states):
        np.testing.assert_array_equal(adata.obsm[keys.METAGENES][adata.obs["slice"] == name], states)
    adata.write_h5ad(tmp_path / "a.h5ad")
    entry = ad.read_h5ad(tmp_path / "a.h5ad").uns[keys.UNS]["metagenes"]
    np.testing.assert_allclose(entry["metagenes"], found.metagenes)
    assert list(entry["slices"]) == ["a", "b"]
    assert json.loads(entry["parameters"])["n_metagenes"] == 3
    parts = [adata[adata.obs["slice"] == name].copy() for name in "ab"]
    again = lloki.tl.metagenes(parts, **FEW)
    np.testing.assert_array_equal(again.metagenes, found.metagenes)
    np.testing.assert_array_equal(parts[1].obsm[keys.METAGENES], found.states[1])


def test_a_slice_by_itself_keeps_the_genes_that_it_alone_measured():
    adata = joint()
    adata.uns[keys.UNS] = {"slices": ["a", "b"]}
    alone = adata[adata.obs["slice"] == "b"].copy()
    assert not adata.varm[keys.MEASURED][0, 0]
    lloki.tl.metagenes(alone, use_rep=None, **FEW)
    assert list(alone.uns[keys.UNS]["metagenes"]["features"]) == list(adata.var_names)


@pytest.mark.parametrize(("find", "settings"), [("metagenes", FEW), ("domains", {"n_domains": 3})])
def test_the_order_of_slices_does_not_matter(find, settings):
    adata = joint()
    parts = [adata[adata.obs["slice"] == name].copy() for name in "ab"]
    turned = [part.copy() for part in parts[::-1]]
    for slices in (parts, turned):
        getattr(lloki.tl, find)(slices, **settings)
    for a, b in zip(parts, turned[::-1]):
        for slot in a.obsm:
            np.testing.assert_array_equal(a.obsm[slot], b.obsm[slot])
        pd.testing.assert_frame_equal(a.obs, b.obs)


def test_genes_are_those_that_every_slice_measured():
    adata = joint()
    lloki.tl.metagenes(adata, use_rep=None, **FEW)
    assert list(adata.uns[keys.UNS]["metagenes"]["features"]) == [f"g{i}" for i in range(1, 8)]
    lloki.tl.metagenes(adata, use_rep=None, genes=["g3", "g1", "g5"], **FEW)
    assert list(adata.uns[keys.UNS]["metagenes"]["features"]) == ["g3", "g1", "g5"]


def test_bad_input_is_named_and_nothing_written():
    for spoil, error, text, options in (
        (lambda a: a.obsm.pop("X_lloki"), InputError, "X_lloki", {}),
        (lambda a: a.obsm.pop("spatial"), InputError, "spatial", {}),
        (lambda a: a.obs.pop("slice"), InputError, "slice_key", {}),
        (lambda a: a.obsm["X_lloki"].__setitem__((0, 0), -1), InputError, "a: features go down to", {}),
        (lambda a: a.obsm["X_lloki"].__setitem__((1, 0), np.nan), InputError, "b obsm.*hold NaN", {}),
        (lambda a: None, ConfigError, "as many features", {"n_metagenes": 6}),
        (lambda a: None, ConfigError, "seed must be a whole number, got None", {"seed": None}),
        (lambda a: None, ConfigError, "n_metagenes must be a whole number, got 3.0", {"n_metagenes": 3.0}),
        (lambda a: None, ConfigError, "metagenes has no option 'steps'", {"steps": 6}),
        (lambda a: None, InputError, "no gene 'q'", {"use_rep": None, "genes": ["q"]}),
        (lambda a: None, InputError, "layers", {"use_rep": None, "layer": "q"}),
    ):
        adata = joint()
        spoil(adata)
        with pytest.raises(error, match=text):
            lloki.tl.metagenes(adata, **(FEW | options))
        assert keys.METAGENES not in adata.obsm
    lone = joint()[:3].copy()  # two cells of a, one of b
    with pytest.raises(InputError, match="b: no cell has a spatial neighbor"):
        lloki.tl.metagenes(lone, **FEW)
    with pytest.raises(InputError, match="no cell has a spatial neighbor"):
        lloki.tl.domains(lone, n_domains=2)


def test_domains_have_one_name_everywhere():
    adata = joint(120)
    lloki.tl.domains(adata, n_domains=3, scales=(1, 2))
    assert list(adata.obs[keys.DOMAIN].cat.categories) == ["D1", "D2", "D3"]
    shares = pd.crosstab(adata.obs["slice"], adata.obs[keys.DOMAIN], normalize="index")
    assert abs(shares.loc["a"] - shares.loc["b"]).max() < 0.3
    assert adata.obs[keys.DOMAIN_CONFIDENCE].between(0, 1).all()


def test_genes_of_a_metagene_are_named_by_every_slice_that_measured_them():
    adata = joint(150)
    adata.uns[keys.UNS] = {"slices": ["a", "b"]}
    lloki.tl.metagenes(adata, **FEW)
    states = adata.obsm[keys.METAGENES].copy()
    adata.X = adata.X.toarray()
    adata.X[:, 0] = np.round(20 * states[:, 1] / states.sum(1))  # g0 follows metagene 2; a did not measure it
    adata.X = sparse.csr_matrix(adata.X)
    table = lloki.tl.gene_loadings(adata)
    assert list(table.columns) == ["slice", "metagene", "gene", "weight"]
    assert set(table["metagene"]) == {"metagene1", "metagene2", "metagene3"}
    first = table.groupby(["slice", "metagene"])["gene"].first()
    assert first["b", "metagene2"] == "g0"
    assert "g0" not in set(table[table["slice"] == "a"]["gene"])
    falls = table.groupby(["slice", "metagene"])["weight"].apply(lambda w: w.is_monotonic_decreasing)
    assert falls.all()
    again = lloki.tl.gene_loadings([adata[adata.obs["slice"] == s].copy() for s in "ab"])
    pd.testing.assert_frame_equal(
        again[again["slice"] == "b"].reset_index(drop=True),
        table[table["slice"] == "b"].reset_index(drop=True),
    )
    adata.X = -adata.X
    with pytest.raises(InputError, match="negative"):
        lloki.tl.gene_loadings(adata)
    del adata.obsm[keys.METAGENES]
    with pytest.raises(InputError, match=r"tl\.metagenes first"):
        lloki.tl.gene_loadings(adata)


def test_tables_name_metagenes_as_figures_number_them():
    adata = joint()
    lloki.tl.metagenes(adata, **FEW)
    names = ["metagene1", "metagene2", "metagene3"]
    assert {s: list(t) for s, t in lloki.tl.enrichment(adata, "cell_type").items()} == {"a": names}
    found = lloki.tl.moran(adata)
    assert list(found.index) == names
    assert list(found) == ["a", "b"]
    assert list(lloki.tl.moran(adata, use_rep="X_lloki").index) == [f"X_lloki:{i}" for i in range(5)]
    colors = [
        lloki.pl.metagene(adata, which).axes[0].collections[0].get_array() for which in (2, "metagene2")
    ]
    np.testing.assert_array_equal(*colors)
    for unknown in ("metagene4", "metagene0", "X", 0):
        with pytest.raises(InputError, match="no metagene"):
            lloki.pl.metagene(adata, unknown)


def test_a_metagene_whose_type_a_slice_lacks_is_dark_there():
    adata = joint()
    adata.obs["cell_type"] = np.where(adata.obs["slice"] == "a", "x", "y")
    adata.obsm[keys.METAGENES] = np.where(adata.obs["slice"].to_numpy()[:, None] == "a", [[8.0, 1.0]], 1.0)
    figure = lloki.pl.enrichment(adata, "cell_type")
    shown = [ax.images[0].get_array() for ax in figure.axes[:2]]
    assert shown[0][0].tolist() == [1.0, 1.0]
    assert shown[1][1].tolist() == [0.125, 1.0]


def test_the_command_writes_tables_and_figures(tmp_path):
    joint().write_h5ad(tmp_path / "in.h5ad")
    out = tmp_path / "out"
    call = [
        "programs",
        str(tmp_path / "in.h5ad"),
        "--out",
        str(out),
        "--n-metagenes",
        "3",
        "--iterations",
        "2",
    ]
    result = CliRunner().invoke(app, [*call, "--label-key", "cell_type"])
    assert result.exit_code == 0, result.output
    assert {p.name for p in out.iterdir()} == {
        "programs.h5ad",
        "metagenes.csv",
        "affinity.csv",
        "moran.csv",
        "objective.csv",
        "enrichment.csv",
        "genes.csv",
        "programs.html",
        "figures",
    }
    names = ["metagene1", "metagene2", "metagene3"]
    assert list(pd.read_csv(out / "moran.csv", index_col="metagene").index) == names
    assert list(pd.read_csv(out / "enrichment.csv")) == ["slice", "type", *names]
    assert set(pd.read_csv(out / "enrichment.csv")["slice"]) == {"a"}
    assert set(pd.read_csv(out / "genes.csv")["metagene"]) == set(names)
    drawn = {p.stem for p in (out / "figures").iterdir()}
    assert drawn == {"metagene1", "metagene2", "metagene3", "affinity", "moran", "enrichment"}
    unknown = CliRunner().invoke(app, [*call, "--label-key", "kind"])
    assert unknown.exit_code == 1
    assert "There are: slice, cell_type" in unknown.output
    none = CliRunner().invoke(app, ["programs", str(tmp_path / "none.h5ad"), "--out", str(out)])
    assert "does not exist" in none.output


def test_figures_say_what_they_lack():
    adata = joint()
    with pytest.raises(InputError, match="X_lloki_metagenes"):
        lloki.pl.metagene(adata, 1)
    with pytest.raises(InputError, match="holds no metagenes"):
        lloki.pl.affinity(adata)
    with pytest.raises(InputError, match="lloki_domain"):
        lloki.pl.domains(adata)
    lloki.tl.metagenes(adata, **FEW)
    with pytest.raises(InputError, match="no metagene 4"):
        lloki.pl.metagene(adata, 4)
    with pytest.raises(InputError, match="no slice has a type"):
        lloki.pl.enrichment(adata[adata.obs["slice"] == "b"], "cell_type")
