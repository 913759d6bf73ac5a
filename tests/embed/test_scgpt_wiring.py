"""scGPT from counts to rows, put together by hand: gene by gene, bin by bin, cell by cell."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import sparse

from checkpoints import GENES, make_scgpt
from lloki.embed import ScGPT
from lloki.embed.scgpt import bin_values

PANEL = (*GENES[200:150:-1], "nothing known", *GENES[10:30])
N_BINS = 51


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_scgpt(tmp_path_factory.mktemp("scgpt"), layers=2, seed=1)


def cells() -> np.ndarray:
    """No two values of a cell are equal and none lies on an edge by chance: no draw matters."""
    rng = np.random.default_rng(0)
    there = rng.random((12, len(PANEL))) < 0.4
    return np.where(there, rng.gamma(1.0, 2.0, there.shape) + 0.1, 0).astype(np.float32)


def by_hand(model: ScGPT, x: np.ndarray, *, most: int = 1200) -> np.ndarray:
    vocab, rows = model.checkpoint.vocab, []
    for cell in x:
        at = [j for j in np.flatnonzero(cell) if PANEL[j] in vocab]
        bins = bin_values(cell[at], N_BINS, np.random.default_rng(0))
        best = np.sort(np.argsort(-cell[at], kind="stable")[: most - 1])
        ids = [vocab["<cls>"], *(vocab[PANEL[at[b]]] for b in best)]
        values = [-2.0, *bins[best].astype(float)]  # <cls> has the value of padding
        tokens = [torch.tensor([part]) for part in (ids, values, [False] * len(ids))]
        row = model.encode_tokens(*tokens)[0].numpy()
        rows.append(row / np.linalg.norm(row))
    return np.stack(rows)


def embedded(model: ScGPT, x: np.ndarray) -> np.ndarray:
    return model.embed(sparse.csr_matrix(x), PANEL, cell_ids=[f"c{i}" for i in range(len(x))])


def test_rows_are_those_of_the_tokens_by_hand(folder: Path) -> None:
    model = ScGPT.from_checkpoint(folder, device="cpu")
    rows = embedded(model, cells())
    np.testing.assert_allclose(rows, by_hand(model, cells()), atol=2e-6)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    assert np.abs(rows[0] - rows[1]).max() > 1e-3


def test_of_a_long_cell_the_highest_values_are_kept(folder: Path) -> None:
    model = ScGPT.from_checkpoint(folder, device="cpu", max_tokens=12)
    rows = embedded(model, cells())
    np.testing.assert_allclose(rows, by_hand(model, cells(), most=12), atol=2e-6)
    assert np.abs(rows - by_hand(model, cells())).max() > 1e-3
