"""Geneformer-style checkpoint folders of random weights, of the published form."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch

SYMBOLS = tuple(f"GENE{i:03d}" for i in range(120))
IDS = tuple(
    f"ENSG{90_000_000_000 + i}" for i in range(120)
)  # no real gene's, so no table of genes knows them


def make_geneformer(
    folder: Path,
    *,
    special: bool = False,
    layers: int = 3,
    dim: int = 24,
    positions: int = 64,
    binary: bool = False,
    pickles: bool = True,
    seed: int = 0,
    **sizes: Any,
) -> Path:
    """Make a checkpoint.

    Parameters
    ----------
    folder
        Made if absent.
    special
        Whether there are ``<cls>`` and ``<eos>``, as in the second version.
    layers, dim, positions
        Sizes of the network.
    binary
        Weights as ``pytorch_model.bin`` in place of ``model.safetensors``.
    pickles
        Dictionaries as ``.pkl``, in place of ``.json``.
    seed
        Of weights and medians.
    sizes
        Other fields of ``config.json``.
    """
    from transformers import BertConfig, BertForMaskedLM, logging

    folder.mkdir(parents=True, exist_ok=True)
    names = ["<pad>", "<mask>", *(["<cls>", "<eos>"] if special else []), *IDS]
    rng = np.random.default_rng(seed)
    medians = {name: m for name, m in zip(IDS, rng.uniform(0.5, 4, len(IDS)).tolist())}
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(names),
        hidden_size=dim,
        num_hidden_layers=layers,
        num_attention_heads=4,
        intermediate_size=2 * dim,
        hidden_act="relu",
        max_position_embeddings=positions,
        initializer_range=0.2,
        **sizes,
    )
    logging.disable_progress_bar()
    model = BertForMaskedLM(config)
    model.save_pretrained(folder)
    if binary:
        (folder / "model.safetensors").unlink()
        torch.save(model.state_dict(), folder / "pytorch_model.bin")
    write_dictionary(folder, "token_dictionary", {name: i for i, name in enumerate(names)}, pickles)
    write_dictionary(folder, "gene_median_dictionary", medians, pickles)
    write_dictionary(folder, "gene_name_id_dict", dict(zip(SYMBOLS, IDS)), pickles)
    return folder


def write_dictionary(folder: Path, stem: str, content: object, pickles: bool = True) -> None:
    """Write one of the dictionaries, under the kind of name that published ones have."""
    if pickles:
        (folder / f"{stem}_gc30M.pkl").write_bytes(pickle.dumps(content))
    else:
        (folder / f"{stem}.json").write_text(json.dumps(content))
