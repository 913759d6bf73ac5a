"""Numbers of the public package, from its own runs on checkpoints of random weights."""

from __future__ import annotations

import anndata
import numpy as np
import pytest
import torch
from scipy import sparse

from lloki.embed import ScGPT
from lloki.embed.scgpt import bin_values

CHECKPOINTS = ["ckpt_tiny", "ckpt_tiny_plain"]  # one of each naming of the attention
N_BINS = 51


@pytest.fixture(scope="module")
def parity(shared_data):
    return shared_data / "scgpt_parity"


@pytest.fixture(scope="module", params=CHECKPOINTS)
def model(request, parity):
    return ScGPT.from_checkpoint(parity / request.param, device="cpu")


@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy])
def test_the_network_gives_the_public_numbers(model, parity, kind):
    io = np.load(parity / "peer_model_io.npz")
    batches = sorted({name.rsplit("_", 1)[0] for name in io.files if name.endswith("_gene")})
    assert len(batches) == 6
    for batch in batches:
        given = (kind(io[f"{batch}_{part}"]) for part in ("gene", "expr", "pad"))
        cls = model.encode_tokens(*given)
        assert type(cls) is type(kind(io[f"{batch}_expr"]))
        np.testing.assert_allclose(np.asarray(cls), io[f"{batch}_cls_raw"], rtol=0, atol=1e-5)


def embed(model, adata, seed=0):
    genes, cells = list(adata.var["gene_names"]), list(adata.obs_names)
    return model.embed(adata.X, genes, cell_ids=cells, seed=seed)


def tie_free(adata, vocab) -> np.ndarray:
    """Cells whose bins no seed changes."""
    known = np.array([gene in vocab for gene in adata.var["gene_names"]])
    rows = sparse.csr_matrix(adata.X).toarray()[:, known].astype(np.float32)
    low, high = (np.stack([bin_values(row, N_BINS, Always(u)) for row in rows]) for u in (0.0, 1 - 1e-9))
    return (low == high).all(1)


class Always:
    """A source of draws that gives one number."""

    def __init__(self, number: float) -> None:
        self.number = number

    def random(self, size: int, /) -> np.ndarray:
        return np.full(size, self.number)


def test_the_pipeline_gives_the_public_embeddings(model, parity, request):
    adata = anndata.read_h5ad(parity / "tiny_float.h5ad")
    name = request.node.callspec.params["model"]
    peer = np.load(parity / "peer_embeddings.npz")[f"float_ml1200_{name}"]
    ours, free = embed(model, adata), tie_free(adata, model.checkpoint.vocab)
    assert free.sum() == len(free) - 1  # all but the cell of one gene
    assert (ours * peer).sum(1)[free].min() >= 0.99999
    np.testing.assert_allclose(ours[free], peer[free], atol=1e-5)


def test_ties_differ_from_the_public_package_as_it_does_from_itself(model, parity, request):
    """Draws differ, their distribution does not: simulated by the peer's own rule under its own generator."""
    adata = anndata.read_h5ad(parity / "tiny_counts.h5ad")
    name = request.node.callspec.params["model"]
    peer = np.load(parity / "peer_embeddings.npz")[f"counts_ml1200_{name}"]
    genes = np.array([model.checkpoint.vocab.get(gene, -1) for gene in adata.var["gene_names"]])
    rows = sparse.csr_matrix(adata.X).toarray()

    def as_the_peer(seed: int) -> np.ndarray:
        legacy, shape = np.random.RandomState(seed), (len(rows), 1 + len(genes))
        ids, values, pad = np.zeros(shape, np.int64), np.zeros(shape, np.float32), np.ones(shape, bool)
        ids[:, 0], values[:, 0], pad[:, 0] = model.checkpoint.cls_id, -2, False
        for i, row in enumerate(rows):
            at = np.flatnonzero((row > 0) & (genes >= 0))
            n = slice(1, 1 + len(at))
            ids[i, n], values[i, n], pad[i, n] = genes[at], bin_values(row[at], N_BINS, legacy), False
        out = model.encode_tokens(ids, values, pad)
        return out / np.linalg.norm(out, axis=1, keepdims=True)

    distance = lambda a, b: np.linalg.norm(a - b, axis=1)[1:]  # noqa: E731 (cell 0 has one gene: any bin)
    own = np.stack([distance(as_the_peer(seed), peer) for seed in range(4)])
    ours = np.stack([distance(embed(model, adata, seed), peer) for seed in range(4)])
    assert ours.mean() <= 1.1 * own.mean()
    assert ours.max() <= 1.2 * own.max()


def test_bins_are_the_public_ones(parity):
    vectors = np.load(parity / "binning_vectors.npz")
    for i in range(5):
        row, bins = vectors[f"row{i}"], [vectors[f"bin{i}_seed{seed}"] for seed in (0, 1)]
        free = bin_values(row, N_BINS, Always(0.0)) == bin_values(row, N_BINS, Always(1 - 1e-9))
        ours = bin_values(row, N_BINS, np.random.default_rng(5))
        np.testing.assert_array_equal(ours[free], bins[0][free])
        assert (bins[0] == bins[1])[free].all()
        for seed in (0, 1):  # with the peer's generator even the ties are the same
            np.testing.assert_array_equal(bin_values(row, N_BINS, np.random.RandomState(seed)), bins[seed])
