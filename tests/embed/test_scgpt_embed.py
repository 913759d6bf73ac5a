"""scGPT as an embedder: the network beside torch's own, and rows that belong to their cells alone."""

from __future__ import annotations

import shutil
import warnings

import numpy as np
import pytest
import torch
from scipy import sparse
from torch import nn

from checkpoints import GENES, make_scgpt
from lloki.embed import Embedder, ScGPT, SliceSummary
from lloki.errors import GeneError, InputError, LlokiWarning, ModelError

PANEL = (*GENES[40:120], "nothing known", *GENES[10:30])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_scgpt(tmp_path_factory.mktemp("scgpt"), layers=3, seed=4)


@pytest.fixture(scope="module")
def model(folder) -> ScGPT:
    return ScGPT.from_checkpoint(folder, device="cpu")


def cells(n: int = 60, seed: int = 0) -> sparse.csr_matrix:
    rng = np.random.default_rng(seed)
    counts = rng.poisson(rng.gamma(1, 0.8, (n, 1)), (n, len(PANEL)))
    counts[:, :2] += 1
    return sparse.csr_matrix(counts.astype(np.float32))


NAMES = [f"cell{i}" for i in range(60)]


def embed(model: ScGPT, x=None, genes=PANEL, *, cell_ids=NAMES, **options) -> np.ndarray:
    return model.embed(cells() if x is None else x, genes, cell_ids=cell_ids, **options)


def plain_encoder(model: ScGPT) -> nn.TransformerEncoder:
    """torch's encoder with the same weights."""
    sizes = model.checkpoint.sizes
    layer = nn.TransformerEncoderLayer(sizes.dim, sizes.heads, sizes.hidden, dropout=0.0, batch_first=True)
    encoder = nn.TransformerEncoder(layer, sizes.layers, enable_nested_tensor=False)
    start = "transformer_encoder."
    weights = {
        name.removeprefix(start).replace("Wqkv.", "in_proj_"): weight
        for name, weight in model.checkpoint.weights.items()
        if name.startswith(start)
    }
    encoder.load_state_dict(weights)
    return encoder.train()  # not the fast path: the plain equations


def made_up_tokens(model: ScGPT) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(0, 300, (7, 33), generator=generator)
    values = torch.randint(-2, 700, (7, 33), generator=generator).float()  # over what is cut off, too
    ids[:, 0], values[:, 0] = model.checkpoint.cls_id, -2
    pad = torch.arange(33) >= torch.tensor([33, 1, 5, 30, 12, 33, 2])[:, None]
    return ids, values, pad


def test_the_network_is_torchs_encoder(model):
    ids, values, pad = made_up_tokens(model)
    weights = model.checkpoint.weights
    with torch.no_grad():
        genes = torch.nn.functional.layer_norm(
            weights["encoder.embedding.weight"][ids],
            (32,),
            weights["encoder.enc_norm.weight"],
            weights["encoder.enc_norm.bias"],
        )
        hidden = (
            values.clamp(max=512)[..., None] * weights["value_encoder.linear1.weight"][:, 0]
            + weights["value_encoder.linear1.bias"]
        ).relu()
        encoded = torch.nn.functional.layer_norm(
            hidden @ weights["value_encoder.linear2.weight"].T + weights["value_encoder.linear2.bias"],
            (32,),
            weights["value_encoder.norm.weight"],
            weights["value_encoder.norm.bias"],
        )
        expected = plain_encoder(model)(genes + encoded, src_key_padding_mask=pad)[:, 0]
    np.testing.assert_allclose(model.encode_tokens(ids, values, pad), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("precision", "tolerance"), [("bf16", 0.05), ("fp16", 0.01)])
def test_half_precision_is_near(model, folder, precision, tolerance):
    half = ScGPT.from_checkpoint(folder, device="cpu", precision=precision)
    distance = np.linalg.norm(embed(half) - embed(model), axis=1)
    assert 0 < distance.max() < tolerance
    assert embed(half).dtype == np.float32


def test_products_too_large_for_half_precision_are_told(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "large")
    weights = torch.load(folder / "best_model.pt")
    weights["transformer_encoder.layers.0.linear1.weight"] *= 1e6
    torch.save(weights, tmp_path / "large" / "best_model.pt")
    with pytest.raises(ModelError, match="60 of 60 cells came out NaN or infinite in precision 'fp16'"):
        embed(ScGPT.from_checkpoint(tmp_path / "large", device="cpu", precision="fp16"))
    assert np.isfinite(embed(ScGPT.from_checkpoint(tmp_path / "large", device="cpu"))).all()


def test_it_is_an_embedder(model):
    assert isinstance(model, Embedder)
    state = model.summarize(cells(), PANEL)
    assert state == SliceSummary(PANEL)
    assert model.fit({"a": state}, state) is model
    rows = embed(model, state=state)
    assert rows.shape == (60, model.dim) == (60, 32)
    assert rows.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    assert model.coverage(PANEL).dropped == ("nothing known",)


@pytest.mark.parametrize("budget", [1, 90, 500, 10**6])
@pytest.mark.parametrize("threads", [1, 4])
def test_rows_do_not_depend_on_batches(model, folder, budget, threads):
    other = ScGPT.from_checkpoint(folder, device="cpu")
    other.engine.token_budget = budget
    np.testing.assert_allclose(embed(other, threads=threads), embed(model), rtol=0, atol=1e-6)


def test_rows_do_not_depend_on_their_neighbors(model):
    whole = embed(model)
    order = np.random.default_rng(1).permutation(60)
    moved = embed(model, cells()[order], cell_ids=[NAMES[i] for i in order])
    np.testing.assert_allclose(moved, whole[order], rtol=0, atol=1e-6)
    parts = [embed(model, cells()[i : i + 7], cell_ids=NAMES[i : i + 7]) for i in range(0, 60, 7)]
    np.testing.assert_allclose(np.concatenate(parts), whole, rtol=0, atol=1e-6)


def test_rows_do_not_depend_on_the_order_of_genes(model):
    order = np.random.default_rng(1).permutation(len(PANEL))
    moved = embed(model, cells()[:, order], [PANEL[j] for j in order])
    np.testing.assert_allclose(moved, embed(model), rtol=0, atol=1e-6)


def test_the_same_input_in_another_form(model):
    x = cells()
    for other in (
        x.toarray(),
        sparse.csc_matrix(x),
        x.astype(np.float64),
        sparse.csr_array(x),
        x.astype(int),
    ):
        np.testing.assert_allclose(embed(model, other), embed(model), rtol=0, atol=1e-6)


def test_seeds_differ_only_through_ties_and_truncation(model, folder):
    ties, x = cells(), cells()
    x.data = (x.data + np.random.default_rng(0).random(x.nnz)).astype(np.float32)  # no two values are equal
    x = sparse.vstack([x[:5], ties[5], x[6:]]).tocsr()
    differs = np.abs(embed(model, x, seed=0) - embed(model, x, seed=1)).max(1) > 1e-6
    assert np.flatnonzero(differs).tolist() == [5]
    short = ScGPT.from_checkpoint(folder, device="cpu", max_tokens=30)
    differs = np.abs(embed(short, x, seed=0) - embed(short, x, seed=1)).max(1) > 1e-6
    genes = np.diff(x.indptr)
    # up to 50 genes have a bin each, so that which are the highest is no matter of chance
    assert differs[5]
    assert not np.delete(differs, 5)[np.delete(genes, 5) <= 50].any()
    assert np.abs(embed(short, x) - embed(model, x)).max(1)[genes > 35].min() > 1e-4


def test_cells_without_genes_are_flagged(model):
    x = cells().tolil()
    x[[3, 8]] = 0
    x[8, PANEL.index("nothing known")] = 5
    with pytest.warns(LlokiWarning, match="2 of 60 cells have no gene that the model knows"):
        rows = embed(model, x)
    np.testing.assert_allclose(rows[3], rows[8], atol=1e-6)
    assert np.isfinite(rows).all()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        others = embed(model)
    keep = np.delete(np.arange(60), [3, 8])
    np.testing.assert_allclose(rows[keep], others[keep], atol=1e-6)


def test_no_cells(model):
    assert embed(model, cells()[:0], cell_ids=[]).shape == (0, 32)


def test_progress_counts_cells(model):
    done: list[int] = []
    embed(model, advance=done.append)
    assert sum(done) == 60


@pytest.mark.parametrize("value", [-0.5, np.nan, np.inf])
def test_impossible_values_are_named(model, value):
    x = cells().toarray()
    x[7, 2] = value
    with pytest.raises(InputError, match=f"1 values are .* of gene '{PANEL[2]}' in cell 'cell7'"):
        embed(model, x)


def test_lengths_that_do_not_agree(model):
    with pytest.raises(InputError, match="expression is 60 x 101, but there are 59 cell ids and 101 genes"):
        embed(model, cell_ids=NAMES[1:])


def test_a_panel_that_the_model_hardly_knows_is_refused(model):
    genes = [*PANEL[:10], *(f"other{i}" for i in range(len(PANEL) - 10))]
    with pytest.raises(GeneError, match="10 of 101 genes are in the model's vocabulary"):
        embed(model, genes=genes)
    assert len(model.coverage(genes).used) == 10


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda ids, values, pad: (ids + 3, values, pad), "gene_ids must be 0 to 302, got .* to 30[3-9]"),
        (lambda ids, values, pad: (ids, values[:, 1:], pad), "All must be"),
        (lambda ids, values, pad: (ids, values / 0, pad), "NaN or infinite"),
        (lambda ids, values, pad: (ids, values, pad.flip(1)), "first token of a row is padding"),
    ],
)
def test_tokens_that_are_none(model, change, message):
    ids, values, pad = made_up_tokens(model)
    with pytest.raises(InputError, match=message):
        model.encode_tokens(*change(ids, values, pad))


def test_memory_that_does_not_suffice_halves_the_budget(model, folder, monkeypatch):
    """The network refuses large batches as a full device would; rows stay the same, the budget stays low."""
    other = ScGPT.from_checkpoint(folder, device="cpu")
    forward = type(other.engine.network()).forward

    def limited(self, x, keep=None):
        if x.shape[0] * x.shape[1] > 300:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return forward(self, x, keep)

    monkeypatch.setattr(type(other.engine.network()), "forward", limited)
    rows = embed(other)
    monkeypatch.undo()
    np.testing.assert_allclose(rows, embed(model), rtol=0, atol=1e-6)
    assert other.engine.token_budget is not None
    assert 100 < other.engine.token_budget <= 300
