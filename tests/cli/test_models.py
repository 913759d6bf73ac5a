"""``lloki models``: list, fetch from a server, inspect a folder of weights."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import anndata
import numpy as np
import pytest
from scipy import sparse

from checkpoints import make_scgpt
from lloki.genes import orthologs
from lloki.models import published
from website import Site, serving

PANEL = {
    "Slc17a7": 5,
    "Gad1": 3,
    "Tac2": 2,
    "Pvalb": 1,
    "Ly6a": 4,
    "Fam19a1": 5,
}  # gene → its count in a cell
MORE = list(dict.fromkeys(m for h, m in sorted(orthologs("human", "mouse").items()) if h.startswith("KCN")))[
    :40
]


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A small scGPT checkpoint that knows human genes."""
    human = [orthologs("mouse", "human").get(gene, "") for gene in [*PANEL, *MORE]]
    return make_scgpt(tmp_path / "weights", genes=[*dict.fromkeys(filter(None, human)), "LY6A"])


def slice_file(file: Path, genes: dict[str, int]) -> Path:
    counts = sparse.csr_matrix(np.tile(list(genes.values()), (30, 1)).astype(np.float32))
    adata = anndata.AnnData(counts)
    adata.var_names = list(genes)
    adata.obs_names = [f"cell{i}" for i in range(30)]
    adata.obsm["spatial"] = np.random.default_rng(0).random((30, 2)) * 100
    adata.uns["technology"] = "MERFISH"
    adata.write_h5ad(file)
    return file


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("LLOKI_MODELS", str(tmp_path / "models"))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with serving({name: name.encode() for name in ("args.json", "vocab.json", "best_model.pt")}) as site:
        yield site


def test_list_names_source_and_license(lloki, tmp_path, monkeypatch):
    monkeypatch.setenv("LLOKI_MODELS", str(tmp_path))
    result = lloki("models", "list")
    assert result.exit_code == 0, result.output
    for text in ("scgpt-human", "geneformer-v1-10m", "Apache-2.0", "unknown", "by hand"):
        assert text in result.stdout


def test_fetch_from_a_mirror_warns_of_unknown_hashes_and_how_to_pin_them(lloki, mirror, tmp_path):
    result = lloki("models", "fetch", "scgpt-continual", "--base-url", mirror.url)
    assert result.exit_code == 0, result.output
    folder = tmp_path / "models" / "scgpt-continual"
    assert (folder / "best_model.pt").read_bytes() == b"best_model.pt"
    pin = f"best_model.pt={hashlib.sha256(b'best_model.pt').hexdigest()}"
    assert "lloki knows no hash of args.json, vocab.json, best_model.pt" in result.stderr
    assert "unknown" in result.stdout
    assert f"--sha256 {pin}" in result.stderr
    assert f"--embedder scgpt --model {folder}" in result.stdout
    again = lloki("models", "fetch", "scgpt-continual", "--sha256", pin)
    assert again.exit_code == 0, again.output
    assert "already there" in again.stdout
    assert len(mirror.seen) == 3


def test_fetch_refuses_weights_that_are_not_the_published_ones(lloki, mirror, tmp_path):
    result = lloki("models", "fetch", "scgpt-human", "--base-url", mirror.url)
    assert result.exit_code == 1
    assert "the server sent another file than expected" in result.stderr
    assert published("scgpt-human").files[0].sha256 in result.stderr
    assert not list((tmp_path / "models" / "scgpt-human").glob("*"))


def test_fetch_with_wrong_arguments(lloki, mirror):
    assert lloki("models", "fetch", "scgpt-humann").exit_code == 2
    assert lloki("models", "fetch", "scgpt-human", "--sha256", "best_model.pt=12").exit_code == 2
    assert mirror.seen == []


def test_inspect_a_folder(lloki, weights):
    result = lloki("models", "inspect", weights)
    assert result.exit_code == 0, result.output
    for text in ("scgpt", "51", "best_model.pt", "loaded; they agree"):
        assert text in result.stdout
    assert hashlib.sha256((weights / "best_model.pt").read_bytes()).hexdigest() in result.stdout.replace(
        "\n", ""
    )


def test_inspect_counts_the_genes_and_counts_of_slices_that_a_model_uses(lloki, weights, tmp_path):
    good = slice_file(tmp_path / "good.h5ad", PANEL | dict.fromkeys(MORE, 1))
    few = slice_file(tmp_path / "few.h5ad", PANEL)
    result = lloki("models", "inspect", weights, good, few, "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["model"]["sizes"]["layers"] == 2
    assert "BioMart" in found["orthologs"]["source"]
    one, other = found["slices"]
    assert one["slice"] == "good"
    assert (one["genes"], one["used"]) == (46, 44)
    assert set(one["dropped"]) == {"Ly6a", "Fam19a1"}
    assert one["counts_kept"] == pytest.approx((20 + 40 - 9) / (20 + 40))
    assert one["per_cell"] == pytest.approx([51 / 60] * 3)
    assert one["problem"] == ""
    assert "at least 20 genes" in other["problem"]


def test_inspect_names_the_genes(lloki, weights, tmp_path):
    good = slice_file(tmp_path / "good.h5ad", PANEL | dict.fromkeys(MORE, 1))
    short = lloki("models", "inspect", weights, good)
    assert "Ly6a" in short.stdout
    assert "85.0%" in short.stdout
    assert "Tac2 → TAC3" in short.stdout
    assert "34 more (--json lists all)" in short.stdout
    assert "BioMart" in short.stdout


def test_inspect_refuses_a_folder_that_is_no_model_or_does_not_load(lloki, weights, tmp_path):
    assert "no such folder" in lloki("models", "inspect", tmp_path / "none").stderr
    (weights / "best_model.pt").write_bytes(b"not weights")
    broken = lloki("models", "inspect", weights)
    assert broken.exit_code == 1
    assert "best_model.pt" in broken.stderr


def test_listing_does_not_load_torch():
    code = "import sys; from lloki.cli import app; import lloki.cli.models; print('torch' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"
    )
