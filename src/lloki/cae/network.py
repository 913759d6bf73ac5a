"""The conditional autoencoder: two small stacks of linear layers that both see the batch token."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn


class ConditionalAutoencoder(nn.Module):
    """Encoder ``[d + token] → hidden → latent``, ReLU after every layer; mirrored decoder, linear at the end.

    The encoder's last ReLU makes the latent non-negative, which factorizations such as NMF need downstream.

    Parameters
    ----------
    dim
        Columns of the input embedding, d.
    conditions
        Named parts of the batch token → rows of their table, see `lloki.cae.condition`. A number stands for
        so many tokens (technology x panel) and no other part.
    latent, hidden, token_dim
        Widths; the paper's are 128, (256, 175) and 10. Each part has ``token_dim`` columns.
    """

    def __init__(
        self,
        dim: int,
        conditions: Mapping[str, int] | int,
        *,
        latent: int = 128,
        hidden: Sequence[int] = (256, 175),
        token_dim: int = 10,
    ) -> None:
        super().__init__()
        conditions = {"token": conditions} if isinstance(conditions, int) else conditions
        self.parts = tuple(conditions)
        for part, rows in conditions.items():
            self.add_module(part, nn.Embedding(rows, token_dim))
        widths = [dim, *hidden, latent]
        back = widths[::-1]
        width = token_dim * len(self.parts)
        self.encoder = nn.ModuleList(_linears(widths, width))
        self.decoder = nn.ModuleList(_linears(back, width))

    def table(self, part: str) -> nn.Module:
        """Table of one part: rows to vectors of ``token_dim`` columns."""
        return self.get_submodule(part)

    def condition(self, rows: Tensor) -> Tensor:
        """Look rows (n, parts) int64 up in the tables and join them: vectors (n, width)."""
        return torch.cat([self.table(part)(rows[:, i]) for i, part in enumerate(self.parts)], dim=1)

    def encode(self, x: Tensor, condition: Tensor) -> Tensor:
        """Map inputs (n, d) and vectors of their batches (n, width) to the latent (n, latent), all ≥ 0."""
        h = torch.relu_(_linear_beside(self.encoder[0], x, condition))
        for layer in self.encoder[1:]:
            h = torch.relu_(layer(h))
        return h

    def decode(self, z: Tensor, condition: Tensor) -> Tensor:
        """Map latents (n, latent) and vectors of their batches (n, width) back to inputs (n, d)."""
        h = torch.relu_(_linear_beside(self.decoder[0], z, condition))
        for layer in self.decoder[1:-1]:
            h = torch.relu_(layer(h))
        return self.decoder[-1](h)


def _linear_beside(layer: nn.Module, x: Tensor, condition: Tensor) -> Tensor:
    """Apply a linear layer to ``[x, condition]`` without joining them.

    Inputs need no gradient then: joined with the condition, which does, they would be given one, and that is
    the largest product of all.
    """
    weight, d = layer.get_parameter("weight"), x.shape[1]
    h = nn.functional.linear(x, weight[:, :d], layer.get_parameter("bias"))
    return h + nn.functional.linear(condition, weight[:, d:])


def _linears(widths: Sequence[int], extra: int) -> list[nn.Linear]:
    """Linear layers between successive widths; the first also takes ``extra`` columns."""
    inputs = [widths[0] + extra, *widths[1:-1]]
    return [nn.Linear(i, o) for i, o in zip(inputs, widths[1:], strict=True)]
