"""The scGPT encoder as a torch module whose weights have the published names.

A transformer without positions: token = LayerNorm(gene embedding) + value encoding, then in every layer

    x ← LayerNorm(x + attention(x))
    x ← LayerNorm(x + W₂ relu(W₁ x + b₁) + b₂)

A cell is the last layer's vector at its first token, ``<cls>``. The last layer is computed for that token
alone: the others only give it keys and values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

EPSILON = 1e-5  # of every LayerNorm
LARGEST_VALUE = 512.0  # values are cut off there before they are encoded


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """What fixes the shapes of all weights.

    Attributes
    ----------
    tokens
        Rows of the embedding: genes and special tokens.
    dim
        Columns of every token's vector, and of the result.
    hidden
        Units between the two linear maps of a layer.
    layers
        Layers.
    heads
        Heads of each attention; ``dim`` is a multiple of it.
    """

    tokens: int
    dim: int
    hidden: int
    layers: int
    heads: int


class Network(nn.Module):
    """Token vectors in, ``<cls>`` vectors out.

    Gene and value vectors are apart from the layers, since few of either are different: a caller looks them
    up in tables instead of computing them for every token.
    """

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.encoder = GeneEncoder(sizes)
        self.value_encoder = ValueEncoder(sizes)
        self.transformer_encoder = Encoder(sizes)

    def compute_in(self, dtype: torch.dtype) -> Network:
        """Let linear maps and attention of the layers compute in ``dtype``.

        What is summed up over the layers stays float32, and so do the norms: as under autocast, but the
        weights are rounded once.
        """
        for module in self.transformer_encoder.modules():
            if isinstance(module, nn.Linear):
                module.to(dtype)
        return self

    def forward(self, x: Tensor, keep: Tensor | None = None) -> Tensor:
        """Encode cells.

        Parameters
        ----------
        x
            (b, t, d) float32 token vectors, ``<cls>`` first.
        keep
            (b, t) bool, False at padding; None if there is none.

        Returns
        -------
        cls
            (b, d) float32, not normalized.
        """
        mask = None if keep is None else keep[:, None, None, :]
        *layers, last = self.transformer_encoder.layers
        for layer in layers:
            x = layer(x, mask)
        cls: Tensor = last(x, mask, cls_only=True)
        return cls[:, 0]


class GeneEncoder(nn.Module):
    """Gene ids (…) → (…, d) LayerNorm of their embeddings."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.embedding = nn.Embedding(sizes.tokens, sizes.dim)
        self.enc_norm = nn.LayerNorm(sizes.dim, eps=EPSILON)

    def forward(self, ids: Tensor) -> Tensor:
        vectors: Tensor = self.enc_norm(self.embedding(ids))
        return vectors

    @torch.inference_mode()
    def table(self, ids: Sequence[int]) -> Tensor:
        """Vectors of a few genes, once for all tokens: (m,) → (m, d) on the module's device."""
        return self(torch.as_tensor(ids, device=self.embedding.weight.device))


class ValueEncoder(nn.Module):
    """Values (…) → (…, d) their encodings."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.linear1 = nn.Linear(1, sizes.dim)
        self.linear2 = nn.Linear(sizes.dim, sizes.dim)
        self.norm = nn.LayerNorm(sizes.dim, eps=EPSILON)

    def forward(self, values: Tensor) -> Tensor:
        cut = values.unsqueeze(-1).clamp(max=LARGEST_VALUE)
        vectors: Tensor = self.norm(self.linear2(F.relu(self.linear1(cut))))
        return vectors

    @torch.inference_mode()
    def table(self, values: Sequence[float]) -> Tensor:
        """Vectors of a few values, likewise."""
        return self(torch.tensor(values, dtype=torch.float32, device=self.norm.weight.device))


class Encoder(nn.Module):
    """The layers, under the name they have in a checkpoint."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer(sizes) for _ in range(sizes.layers))


class Layer(nn.Module):
    """One layer, post-norm."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.self_attn = Attention(sizes)
        self.linear1 = nn.Linear(sizes.dim, sizes.hidden)
        self.linear2 = nn.Linear(sizes.hidden, sizes.dim)
        self.norm1 = nn.LayerNorm(sizes.dim, eps=EPSILON)
        self.norm2 = nn.LayerNorm(sizes.dim, eps=EPSILON)

    def forward(self, x: Tensor, mask: Tensor | None, *, cls_only: bool = False) -> Tensor:
        seen = self.self_attn(x, mask, cls_only=cls_only)
        x = self.norm1((x[:, :1] if cls_only else x) + seen)
        hidden = F.relu(self.linear1(x.to(self.linear1.weight.dtype)), inplace=True)
        out: Tensor = self.norm2(x + self.linear2(hidden))
        return out


class Attention(nn.Module):
    """Multi-head attention of all tokens, or of the first, to all tokens."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.heads = sizes.heads
        self.Wqkv = nn.Linear(sizes.dim, 3 * sizes.dim)
        self.out_proj = nn.Linear(sizes.dim, sizes.dim)

    def forward(self, x: Tensor, mask: Tensor | None, *, cls_only: bool = False) -> Tensor:
        weight, bias = self.Wqkv.weight, self.Wqkv.bias
        x, d = x.to(weight.dtype), x.shape[-1]
        if cls_only:
            q = self._split(F.linear(x[:, :1], weight[:d], bias[:d]))[0]
            k, v = self._split(F.linear(x, weight[d:], bias[d:]))
        else:
            q, k, v = self._split(F.linear(x, weight, bias))
        seen = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        out: Tensor = self.out_proj(seen.transpose(1, 2).flatten(2))
        return out

    def _split(self, x: Tensor) -> Tensor:
        """(b, t, parts · d) → (parts, b, heads, t, d / heads)."""
        size = self.out_proj.in_features // self.heads
        return x.unflatten(-1, (-1, self.heads, size)).permute(2, 0, 3, 1, 4)
