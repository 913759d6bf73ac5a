"""Checkpoint folders of random weights: small enough for tests, of the published form."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

SPECIAL = ("<pad>", "<cls>", "<eoc>")
GENES = tuple(f"GENE{i:03d}" for i in range(300))


def scgpt_args(
    *, layers: int = 2, dim: int = 32, heads: int = 4, hidden: int | None = None, n_bins: int = 51
) -> dict[str, Any]:
    """Settings as a published ``args.json`` holds them."""
    return {
        "embsize": dim,
        "nheads": heads,
        "d_hid": hidden or dim + dim // 2,
        "nlayers": layers,
        "n_layers_cls": 3,
        "dropout": 0.2,
        "pad_token": "<pad>",
        "pad_value": -2,
        "mask_value": -1,
        "input_emb_style": "continuous",
        "n_bins": n_bins,
        "max_seq_len": 1200,
        "fast_transformer": True,
        "input_style": "binned",
        "include_zero_gene": False,
    }


def scgpt_weights(
    args: Mapping[str, Any], tokens: int, *, naming: str = "in_proj", seed: int = 0
) -> dict[str, torch.Tensor]:
    """Random weights under the published names, with one of the heads that embedding does not need."""
    d, hidden = args["embsize"], args["d_hid"]
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int, mean: float = 0.0, scale: float = 0.1) -> torch.Tensor:
        return torch.randn(*shape, generator=generator) * scale + mean

    tensors = {
        "encoder.embedding.weight": normal(tokens, d),
        "encoder.enc_norm.weight": normal(d, mean=1.0),
        "encoder.enc_norm.bias": normal(d),
        "value_encoder.linear1.weight": normal(d, 1),
        "value_encoder.linear1.bias": normal(d),
        "value_encoder.linear2.weight": normal(d, d, scale=d**-0.5),
        "value_encoder.linear2.bias": normal(d),
        "value_encoder.norm.weight": normal(d, mean=1.0),
        "value_encoder.norm.bias": normal(d),
        "decoder.fc.0.weight": normal(d, d),
    }
    stem = "self_attn.Wqkv." if naming == "Wqkv" else "self_attn.in_proj_"
    for i in range(args["nlayers"]):
        layer = {
            f"{stem}weight": normal(3 * d, d, scale=d**-0.5),
            f"{stem}bias": normal(3 * d),
            "self_attn.out_proj.weight": normal(d, d, scale=d**-0.5),
            "self_attn.out_proj.bias": normal(d),
            "linear1.weight": normal(hidden, d, scale=d**-0.5),
            "linear1.bias": normal(hidden),
            "linear2.weight": normal(d, hidden, scale=hidden**-0.5),
            "linear2.bias": normal(d),
            "norm1.weight": normal(d, mean=1.0),
            "norm1.bias": normal(d),
            "norm2.weight": normal(d, mean=1.0),
            "norm2.bias": normal(d),
        }
        tensors |= {f"transformer_encoder.layers.{i}.{name}": value for name, value in layer.items()}
    return tensors


def write_scgpt(
    folder: Path, args: Mapping[str, Any], vocab: Mapping[str, int], tensors: Mapping[str, Any]
) -> Path:
    """Write the three files of a checkpoint folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "args.json").write_text(json.dumps(args))
    (folder / "vocab.json").write_text(json.dumps(vocab))
    torch.save(tensors, folder / "best_model.pt")
    return folder


def make_scgpt(
    folder: Path,
    *,
    layers: int = 2,
    dim: int = 32,
    heads: int = 4,
    genes: Sequence[str] = GENES,
    naming: str = "in_proj",
    seed: int = 0,
) -> Path:
    """Make a whole checkpoint of random weights; ``naming`` of the attention is ``in_proj`` or ``Wqkv``."""
    args = scgpt_args(layers=layers, dim=dim, heads=heads)
    vocab = {name: i for i, name in enumerate((*genes, *SPECIAL))}
    return write_scgpt(folder, args, vocab, scgpt_weights(args, len(vocab), naming=naming, seed=seed))
