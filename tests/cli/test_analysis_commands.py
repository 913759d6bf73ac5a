"""``lloki annotate``, ``impute``, ``neighborhood``, and the pages of all analyses, from the command line."""

from __future__ import annotations

import re
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from lloki import keys
from planted import TYPES, planted

QUICK = {
    "programs": ("--n-metagenes", 2, "--iterations", 2),
    "transfer-labels": ("--label-key", "cell_type", "--source", "a"),
    "annotate": ("--markers", "markers.csv"),
    "impute": ("c",),
    "neighborhood": ("--focal", "Neuron", "--neighbor", "Oligo", "--label-key", "cell_type"),
}


def page_of(path: Path) -> str:
    html = path.read_text()
    assert not re.findall(r'(?:src|href)="(?!data:|#)', html)  # nothing from outside
    return html


def output(result) -> str:
    return " ".join((result.stdout + result.stderr).split())


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Slices a, b and c in in.h5ad, of which c did not measure G0 and G1; a table of markers."""
    adata = planted(cells=80)
    adata.obsm[keys.JOINT] = np.abs(adata.obsm[keys.JOINT])
    measured = np.ones((adata.n_vars, 3), bool)
    measured[:2, 2] = False
    adata.varm[keys.MEASURED] = measured
    adata.uns[keys.UNS] = {"slices": ["a", "b", "c"]}
    counts = adata.X.toarray()
    counts[np.ix_(adata.obs["slice"] == "c", [0, 1])] = 0
    adata.X = sparse.csr_matrix(counts)
    adata.write_h5ad(tmp_path / "in.h5ad")
    lines = [f"{kind},{';'.join(f'G{i}' for i in range(12) if i % 4 == t)}" for t, kind in enumerate(TYPES)]
    (tmp_path / "markers.csv").write_text("\n".join(["type,positive", *lines]))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_annotate_writes_types_and_a_page(lloki, folder):
    result = lloki("annotate", "in.h5ad", "--markers", "markers.csv", "--out", "out")
    assert result.exit_code == 0, result.output
    assert {p.name for p in Path("out").iterdir()} == {
        "annotated.h5ad",
        "types.csv",
        "annotation.html",
        "figures",
    }
    obs = ad.read_h5ad("out/annotated.h5ad").obs
    assert (obs[keys.MARKER_TYPE].astype(str) == obs["cell_type"].astype(str)).mean() > 0.95
    assert pd.read_csv("out/types.csv")["n_assigned"].sum() == len(obs)
    html = page_of(Path("out/annotation.html"))
    assert "2 of 3" in html  # markers of Astro and of Neuron that c has
    assert html.count("<svg") == 3
    assert result.stdout.startswith("Look at: ")
    assert "annotation.html" in result.stdout


def test_impute_writes_estimates_and_their_scores(lloki, folder):
    result = lloki("impute", "in.h5ad", "c", "--out", "out")
    assert result.exit_code == 0, result.output
    found = ad.read_h5ad("out/imputed.h5ad")
    assert list(found.var_names) == ["G0", "G1"]
    assert found.n_obs == 80
    table = pd.read_csv("out/genes.csv", index_col="gene")
    assert table["imputed"].all()
    assert (table["score"] > 0.3).all()
    html = page_of(Path("out/imputation.html"))
    assert html.count("<svg") == 1 + 2
    assert "median hold-out score" in html
    assert table["detected in a"].between(0.3, 0.9).all()
    assert "Detected in a" in html
    drawn = {p.stem for p in Path("out/figures").iterdir()}
    assert drawn == {"scores", "gene-G0", "gene-G1"}


def test_genes_are_imputed_from_single_cells_and_the_page_names_them(lloki, folder):
    single = planted("r", cells=90, seed=5)
    single.write_h5ad("reference.h5ad")
    result = lloki("impute", "in.h5ad", "c", "--reference", "reference.h5ad", "--out", "out")
    assert result.exit_code == 0, result.output
    assert (pd.read_csv("out/genes.csv")["n_sources"] == 3).all()
    html = page_of(Path("out/imputation.html"))
    assert "slices and of the reference (90 single cells)" in html
    assert "The reference counts as a slice" in html


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda a: a.obsm.pop(keys.JOINT), "obsm['X_lloki']: is absent. Run lloki project-reference with"),
        (lambda a: a.obsm.update({keys.JOINT: a.obsm[keys.JOINT][:, :3]}), "has 3 columns where the slices"),
        (lambda a: a.obs.pop("cell_type"), "reference.h5ad obs['cell_type']: the column is absent"),
        (lambda a: a.obs.__setitem__("cell_type", np.nan), "holds no label"),
    ],
)
def test_an_unusable_reference_is_named(lloki, folder, spoil, message):
    single = planted("r", cells=30)
    spoil(single)
    single.write_h5ad("reference.h5ad")
    for name, text in (("reference.h5ad", message), ("none.h5ad", "none.h5ad: does not exist")):
        call = ("in.h5ad", *QUICK["transfer-labels"], "--reference", name, "--out", "out")
        result = lloki("transfer-labels", *call)
        assert result.exit_code == 1
        assert text in output(result)
        assert not Path("out").exists()


def test_impute_lists_genes_that_it_leaves_out(lloki, folder):
    strict = lloki("impute", "in.h5ad", "c", "--min-score", 1.5, "--out", "none")
    assert strict.exit_code == 1
    assert "no hold-out score reaches 1.5" in strict.stderr
    assert not Path("none").exists()
    adata = ad.read_h5ad("in.h5ad")
    rows = np.isin(adata.obs["slice"].astype(str), ["a", "b"])
    noise = adata.X.toarray()
    noise[rows, 1] = np.random.default_rng(0).poisson(2, rows.sum())
    adata.X = sparse.csr_matrix(noise)
    adata.write_h5ad("noise.h5ad")
    result = lloki("impute", "noise.h5ad", "c", "--min-score", 0.25, "--out", "out")
    assert result.exit_code == 0, result.output
    table = pd.read_csv("out/genes.csv", index_col="gene")
    assert table["imputed"].to_dict() == {"G0": True, "G1": False}
    assert "Left out" in page_of(Path("out/imputation.html"))
    both = lloki("impute", "noise.h5ad", "c", "--keep-all", "--out", "all")
    assert both.exit_code == 0, both.output
    assert set(ad.read_h5ad("all/imputed.h5ad").var_names) == {"G0", "G1"}


def test_neighborhood_reports_first_whether_there_is_a_program(lloki, folder):
    where = ("--focal", "Neuron", "--neighbor", "Oligo", "--label-key", "cell_type")
    result = lloki("neighborhood", "in.h5ad", *where, "--n-neighbors", 10, "--permutations", 10, "-o", "out")
    assert result.exit_code == 0, result.output
    assert {p.name for p in Path("out").iterdir()} == {
        "neighborhood.h5ad",
        "genes.csv",
        "correlations.csv",
        "neighborhood.html",
        "figures",
    }
    html = page_of(Path("out/neighborhood.html"))
    assert "No program was found" in html  # positions are random
    assert html.index("No program was found") < html.index("<svg")
    assert list(pd.read_csv("out/correlations.csv")["dataset"]) == ["a", "b", "c", "pooled"]
    assert "No neighborhood program found" in result.stdout


def test_programs_and_labels_have_their_pages(lloki, folder):
    call = ("programs", "in.h5ad", *QUICK["programs"], "--label-key", "cell_type", "-o", "p")
    result = lloki(*call)
    assert result.exit_code == 0, result.output
    html = page_of(Path("p/programs.html"))
    assert html.count("<svg") == 2 + 3  # metagenes; types, affinities, Moran's I
    assert "Used most by" in html
    genes = pd.read_csv("p/genes.csv")
    assert set(genes[genes["slice"] == "a"]["gene"]) == {f"G{i}" for i in range(12)}
    assert set(genes[genes["slice"] == "c"]["gene"]) == {f"G{i}" for i in range(2, 12)}
    result = lloki("transfer-labels", "in.h5ad", *QUICK["transfer-labels"], "--out", "l")
    assert result.exit_code == 0, result.output
    html = page_of(Path("l/labels.html"))
    assert html.count("<svg") == 1 + 3
    assert "no two labeled slices share a type" in html


def test_programs_of_slices_without_counts_have_no_genes(lloki, folder):
    adata = ad.read_h5ad("in.h5ad")
    adata.X = -adata.X
    adata.write_h5ad("scaled.h5ad")
    result = lloki("programs", "scaled.h5ad", "--n-metagenes", 2, "--iterations", 1, "--out", "out")
    assert result.exit_code == 0, result.output
    viewed = lloki("view", "scaled.h5ad", "--no-open")
    assert viewed.exit_code == 0, viewed.output
    assert "genes of gene programs are left out" in output(result)
    assert not Path("out/genes.csv").exists()
    assert Path("out/programs.html").exists()


@pytest.mark.parametrize("command", QUICK)
def test_files_that_hold_no_slices_are_named(lloki, folder, command):
    (folder / "text.h5ad").write_text("no HDF5")
    with h5py.File("other.h5ad", "w") as file:
        file["obs"] = np.arange(3)
    for name, message in (
        ("none.h5ad", "none.h5ad: does not exist"),
        ("text.h5ad", "text.h5ad: is not an .h5ad (HDF5) file"),
        ("other.h5ad", "other.h5ad: is HDF5 but not AnnData"),
    ):
        result = lloki(command, name, *QUICK[command], "--out", "out")
        assert result.exit_code == 1
        assert message in output(result)
        assert not Path("out").exists()


@pytest.mark.parametrize(
    ("command", "options", "message"),
    [
        ("programs", ("--use-rep", "X_none"), "X_none"),
        ("programs", ("--n-metagenes", 20), "as many features"),
        ("annotate", ("--use-rep", "X_none"), "X_none"),
        ("annotate", ("--markers", "nowhere.csv"), "nowhere.csv"),
        ("annotate", ("--layer", "none"), "layers['none']"),
        ("impute", ("--gene", "Nowhere"), "no source measured Nowhere"),
        ("impute", ("--source", "z"), "no slice 'z'"),
        ("neighborhood", ("--focal", "Nobody"), "no cell of the focal type 'Nobody'"),
        ("neighborhood", ("--label-key", "none"), "the column is absent"),
        ("neighborhood", ("--slice-key", "none"), "the column is absent"),
    ],
)
def test_bad_input_is_named_and_nothing_is_left_behind(lloki, folder, command, options, message):
    result = lloki(command, "in.h5ad", *QUICK[command], *options, "--out", "out")
    assert result.exit_code in (1, 2)
    assert message in output(result)
    assert not Path("out").exists()


@pytest.mark.parametrize(
    "command", [("annotate", "in.h5ad", "--markers", "markers.csv"), ("align", "in.h5ad")]
)
def test_a_folder_of_another_command_is_left_alone(lloki, folder, command):
    Path("out").mkdir()
    Path("out/labels.html").write_text("of transfer-labels")
    result = lloki(*command, "--out", "out")
    assert result.exit_code != 0
    assert "holds labels.html of another command" in output(result)
    assert [p.name for p in Path("out").iterdir()] == ["labels.html"]
