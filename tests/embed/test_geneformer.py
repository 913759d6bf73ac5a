"""Geneformer-style checkpoints: the numbers of the public tool, rows of their own, and refusals by name."""

from __future__ import annotations

import json
import pickle
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from scipy import sparse

import lloki
from geneformer_folder import IDS, SYMBOLS, make_geneformer, write_dictionary
from lloki.embed import Embedder, get_embedder, load_embedder, save_embedder
from lloki.embed.geneformer import Geneformer, network
from lloki.embed.geneformer.ranking import linear_scale
from lloki.errors import ConfigError, GeneError, InputError, LlokiWarning, MissingExtraError, ModelError
from lloki.fp import log_normalize
from tissue import small_tissue

needs_transformers = pytest.mark.skipif(
    find_spec("transformers") is None, reason="transformers is absent: pip install 'lloki[geneformer]'"
)
CELLS = [f"cell{i}" for i in range(40)]


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[bool, Path]:
    """Checkpoints without and with special tokens."""
    root = tmp_path_factory.mktemp("geneformer")
    return {special: make_geneformer(root / f"v{1 + special}", special=special) for special in (False, True)}


@pytest.fixture
def counts() -> sparse.csr_matrix:
    """40 cells of the 120 genes, 1 to 100 of them in a cell, which is past the 64 positions."""
    rng = np.random.default_rng(1)
    x = rng.poisson(np.geomspace(0.05, 20, 40)[:, None] * rng.gamma(0.5, size=120)).astype(np.float32)
    x[:, 0] += 1
    assert (x > 0).sum(1).min() < 10
    assert (x > 0).sum(1).max() > 64
    return sparse.csr_matrix(x)


def plainly(folder: Path, x: sparse.csr_matrix, *, layer: int = -1, mode: str = "mean") -> np.ndarray:
    """Embed cells one at a time as the public tool describes it; column j is the gene IDS[j]."""
    from transformers import BertForMaskedLM

    tokens = pickle.loads((folder / "token_dictionary_gc30M.pkl").read_bytes())
    medians = pickle.loads((folder / "gene_median_dictionary_gc30M.pkl").read_bytes())
    model = BertForMaskedLM.from_pretrained(folder, output_hidden_states=True).eval()
    framed = "<cls>" in tokens
    longest = model.config.max_position_embeddings - 2 * framed
    rows = []
    for cell in x.toarray().astype(float):
        value = {gene: c / cell.sum() * 10_000 / medians[gene] for gene, c in zip(IDS, cell) if c > 0}
        sentence = [tokens[gene] for gene in sorted(value, key=value.get, reverse=True)][:longest]
        if framed:
            sentence = [tokens["<cls>"], *sentence, tokens["<eos>"]]
        with torch.no_grad():
            states = model(torch.tensor([sentence])).hidden_states
        vectors = states[model.config.num_hidden_layers + layer][0].numpy()
        inner = vectors[1:-1] if framed else vectors
        rows.append(vectors[0] if mode == "cls" else inner.mean(0))
    return np.array(rows)


@needs_transformers
@pytest.mark.parametrize(
    ("special", "layer", "mode"),
    [(False, -1, "mean"), (True, -1, "mean"), (True, 0, "cls"), (False, -3, "mean")],
)
def test_the_numbers_are_those_of_a_plain_computation(folders, counts, special, layer, mode):
    made = Geneformer.from_checkpoint(folders[special], layer=layer, mode=mode, device="cpu")
    found = made.embed(counts, IDS, cell_ids=CELLS)
    assert found.dtype == np.float32
    assert made.dim == found.shape[1]
    np.testing.assert_allclose(found, plainly(folders[special], counts, layer=layer, mode=mode), atol=1e-5)


@needs_transformers
@pytest.mark.parametrize("special", [False, True])
def test_a_row_is_its_cells_alone(folders, counts, special, monkeypatch):
    made = Geneformer(folders[special], device="cpu")
    whole = made.embed(counts, SYMBOLS, cell_ids=CELLS, threads=1)
    monkeypatch.setattr(network, "BUDGET", {"cpu": 100})
    made = Geneformer(folders[special], device="cpu")
    order = np.random.default_rng(0).permutation(40)
    genes = np.random.default_rng(1).permutation(120)
    shuffled = made.embed(
        counts[order][:, genes],
        [SYMBOLS[j] for j in genes],
        cell_ids=[CELLS[i] for i in order],
        threads=3,
    )
    np.testing.assert_allclose(shuffled, whole[order], atol=1e-6)
    alone = made.embed(counts[7:9], SYMBOLS, cell_ids=CELLS[7:9])
    np.testing.assert_allclose(alone, whole[7:9], atol=1e-6)
    np.testing.assert_allclose(made.embed(counts, IDS, cell_ids=CELLS), whole, atol=1e-6)


@needs_transformers
def test_log_values_rank_as_counts_do(folders, counts):
    made = Geneformer(folders[False], device="cpu")
    from_counts = made.embed(counts, IDS, cell_ids=CELLS)
    from_logs = made.embed(log_normalize(counts), IDS, cell_ids=CELLS)
    np.testing.assert_allclose(from_logs, from_counts, atol=1e-6)


@given(
    rows=st.lists(st.lists(st.integers(0, 300), min_size=6, max_size=6), min_size=1, max_size=4),
    total=st.floats(20.0, 5e4),
)
@settings(max_examples=50, deadline=None)
def test_the_scale_of_a_cell_is_recognized(rows, total):
    counts = sparse.csr_matrix(np.array(rows, dtype=np.float32))
    assert (linear_scale(counts) != counts).nnz == 0
    sums = counts.toarray().sum(1, keepdims=True)
    normalized = counts.toarray() * total / np.maximum(sums, 1)
    back = linear_scale(sparse.csr_matrix(np.log1p(normalized).astype(np.float32))).toarray()
    # a cell whose logarithms happen to be whole numbers is taken for counts; ranks need only proportions
    for mine, truth in zip(back, normalized):
        scale = truth.max() / mine.max() if mine.max() else 1.0
        np.testing.assert_allclose(mine * scale, truth, rtol=1e-4)


def test_counts_with_some_fractions_stay_counts():
    x = sparse.csr_matrix([[1.0, 2.0, 0.5, 4.0], [30.5, 2.5, 1.5, 0.0], [0.5, 1.5, 2.5, 0.25]])
    linear = linear_scale(x)
    assert (linear[:2] != x[:2]).nnz == 0
    np.testing.assert_allclose(linear[2].toarray(), np.expm1(x[2].toarray()))


@needs_transformers
def test_ties_are_drawn_from_seed_and_cell(folders, tmp_path):
    folder = shutil.copytree(folders[False], tmp_path / "tied")
    write_dictionary(folder, "gene_median_dictionary", dict.fromkeys(IDS, 2.0))
    made = Geneformer(folder, device="cpu")
    x = np.zeros((3, 120), dtype=np.float32)
    x[:2, :30] = 1.0  # two cells of the same counts, all tied
    x[2, :30] = np.arange(1, 31)
    x = sparse.csr_matrix(x)
    one, same, other = (made.embed(x, IDS, cell_ids=["a", "b", "c"], seed=s) for s in (1, 1, 2))
    assert np.array_equal(one, same)
    assert np.abs(one[0] - one[1]).max() > 1e-3  # no two cells share the order of their ties
    assert np.abs(one[:2] - other[:2]).max() > 1e-3
    assert np.array_equal(one[2], other[2])
    np.testing.assert_array_equal(made.embed(x[1], IDS, cell_ids=["b"], seed=1)[0], one[1])


@needs_transformers
def test_genes_by_name(folders, counts):
    made = Geneformer(folders[False], device="cpu")
    names = [*SYMBOLS[:60], *IDS[60:118], "no-gene", "other"]
    found = made.coverage(names)
    assert (found.used, found.dropped) == (tuple(names[:118]), ("no-gene", "other"))
    without = counts.tolil()
    without[:, 118:] = 0
    expected = made.embed(without.tocsr(), IDS, cell_ids=CELLS)
    np.testing.assert_array_equal(made.embed(counts, names, cell_ids=CELLS), expected)
    # a gene that occurs under both of its names is one token, of both genes' counts
    twice = sparse.hstack([counts, counts[:, :10]], format="csr")
    doubled = counts.tolil()
    doubled[:, :10] *= 2
    np.testing.assert_allclose(
        made.embed(twice, [*IDS, *SYMBOLS[:10]], cell_ids=CELLS),
        made.embed(doubled.tocsr(), IDS, cell_ids=CELLS),
        atol=1e-6,
    )
    assert made.coverage(["Slc17a7", "Gad1"]).diagnosis
    with pytest.raises(InputError, match="negative or not finite"):
        made.embed(-counts, IDS, cell_ids=CELLS)
    with pytest.raises(GeneError, match="2 of 120 genes"):
        made.embed(counts, [*IDS[:2], *(f"x{i}" for i in range(118))], cell_ids=CELLS)


@needs_transformers
def test_cells_without_genes_are_zeros_and_counted(folders):
    made = Geneformer(folders[True], device="cpu")
    done: list[int] = []
    nothing = sparse.csr_matrix((3, 120), dtype=np.float32)
    with pytest.warns(LlokiWarning, match="3 of 3 cells have no gene"):
        rows = made.embed(nothing, IDS, cell_ids=list("abc"), advance=done.append)
    assert not rows.any()
    assert sum(done) == 3


@needs_transformers
def test_saved_and_loaded(folders, counts, tmp_path):
    made = get_embedder("geneformer", model=folders[True], seed=0)
    assert isinstance(made, Embedder)
    save_embedder(made, tmp_path)
    assert not list(tmp_path.glob("*.pkl"))
    loaded = load_embedder(tmp_path, device="cpu")
    assert loaded.config == made.config
    expected = made.embed(counts, IDS, state=made.summarize(counts, IDS), cell_ids=CELLS)
    np.testing.assert_array_equal(loaded.embed(counts, IDS, state=None, cell_ids=CELLS), expected)
    (tmp_path / "geneformer.json").unlink()
    with pytest.raises(ModelError, match="holds no saved geneformer"):
        load_embedder(tmp_path)


@needs_transformers
@pytest.mark.filterwarnings("ignore::lloki.errors.LlokiWarning")
def test_slices_are_embedded_by_their_symbols(tmp_path):
    slices = small_tissue(n_cells=80, n_reference=100).slices[:2]
    folder = make_geneformer(tmp_path)
    genes = sorted({gene for adata in slices for gene in adata.var_names})[: len(IDS)]
    write_dictionary(folder, "gene_name_id_dict", dict(zip(genes, IDS)))
    made = lloki.tl.embed(slices, embedder="geneformer", model=folder, device="cpu", seed=3)
    for adata in slices:
        known = [gene for gene in adata.var_names if gene in genes]
        assert list(made.coverage(adata.var_names).used) == known
        x = adata[:, known].X
        expected = made.embed(x, [IDS[genes.index(g)] for g in known], cell_ids=list(adata.obs_names), seed=3)
        np.testing.assert_allclose(adata.obsm["X_lloki_fp"], expected, atol=1e-6)


@needs_transformers
def test_forms_of_the_files(folders, counts, tmp_path):
    other = make_geneformer(tmp_path / "other", binary=True, pickles=False)
    expected = Geneformer(folders[False], device="cpu").embed(counts, IDS, cell_ids=CELLS)
    np.testing.assert_array_equal(
        Geneformer(other, device="cpu").embed(counts, IDS, cell_ids=CELLS), expected
    )
    medians = pickle.loads((folders[False] / "gene_median_dictionary_gc30M.pkl").read_bytes())
    for kind in (np.float64, np.float32, np.dtype(">f8").type):
        (other / "gene_median_dictionary.json").unlink(missing_ok=True)
        write_dictionary(other, "gene_median_dictionary", {n: kind(m) for n, m in medians.items()})
        again = Geneformer(other, device="cpu").embed(counts, IDS, cell_ids=CELLS)
        np.testing.assert_allclose(again, expected, atol=1e-6)


class Touch:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@needs_transformers
@pytest.mark.parametrize(
    "stem", ["token_dictionary", "gene_median_dictionary", "gene_name_id_dict", "weights"]
)
def test_a_pickle_that_holds_code_is_refused_and_not_run(tmp_path, stem):
    folder, proof = make_geneformer(tmp_path / "model", binary=True), tmp_path / "proof"
    content = {"<pad>": 0, "x": Touch(proof)}
    if stem == "weights":
        torch.save(content, folder / "pytorch_model.bin")
    else:
        write_dictionary(folder, stem, content)
    with pytest.raises(ModelError, match="run code"):
        Geneformer(folder)
    assert not proof.exists()
    pickle.loads(pickle.dumps(content))  # what a trusting reader would have done
    assert proof.exists()


@needs_transformers
def test_damaged_and_odd_pickles_are_refused(folders, tmp_path):
    folder = shutil.copytree(folders[False], tmp_path / "model")
    path = folder / "token_dictionary_gc30M.pkl"
    whole = path.read_bytes()
    date = np.datetime64("2020-01-01")
    for content in (
        whole[:-10],
        b"",
        b"text",
        pickle.dumps([1]),
        pickle.dumps({"a": date}),
        pickle.dumps({1: 2}),
    ):
        path.write_bytes(content)
        with pytest.raises(ModelError, match="token_dictionary"):
            Geneformer(folder)


def damage(folder: Path, what: str) -> None:
    """Spoil one thing of a checkpoint."""
    weights = load_file(folder / "model.safetensors")
    config = json.loads((folder / "config.json").read_text())
    tokens = pickle.loads((folder / "token_dictionary_gc30M.pkl").read_bytes())
    medians = pickle.loads((folder / "gene_median_dictionary_gc30M.pkl").read_bytes())
    query = "bert.encoder.layer.1.attention.self.query.weight"
    dense = "bert.encoder.layer.2.intermediate.dense.weight"
    if what == "renamed":
        weights[query.replace("query", "asked")] = weights.pop(query)
    elif what == "transposed":
        weights[dense] = weights[dense].T.contiguous()
    elif what == "NaN":
        weights[query][3, 4] = float("nan")
    elif what == "fewer tokens":
        tokens.pop(IDS[-1])
    elif what == "no pad":
        tokens["<padding>"] = tokens.pop("<pad>")
    elif what == "lone cls":
        tokens["<cls>"] = tokens.pop("<mask>")
    elif what == "no median":
        medians.pop(IDS[5])
    elif what == "zero median":
        medians[IDS[5]] = 0
    elif what == "other model":
        config["model_type"] = "gpt2"
    elif what == "other size":
        config["hidden_size"] = 32
    elif what == "no size":
        config.pop("max_position_embeddings")
    elif what == "other depth":
        config["num_hidden_layers"] = 4
    elif what == "two dictionaries":
        write_dictionary(folder, "token_dictionary_v9", tokens)
    save_file(weights, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config))
    write_dictionary(folder, "token_dictionary", tokens)
    write_dictionary(folder, "gene_median_dictionary", medians)


@needs_transformers
@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("renamed", r"missing: .*layer\.1.*query\.weight; unexpected: .*layer\.1.*asked\.weight"),
        (
            "transposed",
            r"of the wrong shape: encoder\.layer\.2\.intermediate.*\(24, 48\) instead of \(48, 24\)",
        ),
        ("NaN", r"NaN or infinity: encoder\.layer\.1\.attention\.self\.query\.weight"),
        ("fewer tokens", "numbers 121 tokens .* vocab_size 122"),
        ("no pad", "needs <pad>"),
        ("lone cls", "both or none of <cls>, <eos>"),
        ("no median", f"no value above 0 for {IDS[5]}"),
        ("zero median", f"no value above 0 for {IDS[5]}"),
        ("other model", "model type is 'gpt2'"),
        ("other size", r"of the wrong shape: embeddings\.LayerNorm\.bias \(24,\) instead of \(32,\)"),
        ("other depth", r"missing: encoder\.layer\.3.* and 11 more"),
        ("no size", "no whole number for max_position_embeddings"),
        ("two dictionaries", "found token_dictionary_gc30M.pkl, token_dictionary_v9_gc30M.pkl"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused_by_name(folders, tmp_path, what, message):
    folder = shutil.copytree(folders[False], tmp_path / "model")
    damage(folder, what)
    with pytest.raises(ModelError, match=message):
        Geneformer(folder)


@needs_transformers
@pytest.mark.parametrize(
    "name",
    ["config.json", "model.safetensors", "token_dictionary_gc30M.pkl", "gene_median_dictionary_gc30M.pkl"],
)
def test_a_missing_file_is_named(folders, tmp_path, name):
    folder = shutil.copytree(folders[False], tmp_path / "model")
    (folder / name).unlink()
    with pytest.raises(ModelError, match=name.removesuffix("_gc30M.pkl")):
        Geneformer(folder)


@needs_transformers
def test_settings_out_of_range(folders, tmp_path):
    with pytest.raises(ConfigError, match="needs a checkpoint folder"):
        get_embedder("geneformer")
    with pytest.raises(ModelError, match="no such folder"):
        Geneformer(tmp_path / "absent")
    for wrong, message in (
        ({"mode": "cls"}, "needs a model with the token <cls>"),
        ({"mode": "max"}, "'mean' or 'cls'"),
        ({"layer": 1}, "between -3"),
        ({"layer": -4}, "between -3"),
        ({"precision": "int8"}, "float32"),
    ):
        with pytest.raises(ConfigError, match=message):
            Geneformer(folders[False], **wrong)


def test_without_transformers_the_command_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr("lloki.embed.geneformer.network.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'lloki\[geneformer\]'"):
        get_embedder("geneformer", model=tmp_path)


def test_transformers_loads_only_when_used():
    code = "import sys, lloki.embed; lloki.embed.Geneformer; assert 'transformers' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
