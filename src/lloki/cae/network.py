"""The conditional autoencoder: two small stacks of linear layers that both see the batch token."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class ConditionalAutoencoder(nn.Module):
    """Encoder ``[d + token] → hidden → latent``, ReLU after every layer; mirrored decoder, linear at the end.

    The encoder's last ReLU makes the latent non-negative, which factorisations such as NMF need downstream.

    Parameters
    ----------
    dim
        Columns of the input embedding, d.
    tokens
        Number of batch tokens (technology x panel).
    latent, hidden, token_dim
        Widths; the paper's are 128, (256, 175) and 10.
    """

    def __init__(
        self,
        dim: int,
        tokens: int,
        *,
        latent: int = 128,
        hidden: Sequence[int] = (256, 175),
        token_dim: int = 10,
    ) -> None:
        super().__init__()
        self.token = nn.Embedding(tokens, token_dim)
        widths = [dim, *hidden, latent]
        back = widths[::-1]
        self.encoder = nn.ModuleList(_linears(widths, token_dim))
        self.decoder = nn.ModuleList(_linears(back, token_dim))

    def encode(self, x: Tensor, token: Tensor) -> Tensor:
        """Map inputs (n, d) float and token indices (n,) int64 to the latent (n, latent), all ≥ 0."""
        h = torch.cat([x, self.token(token)], dim=1)  # (n, d + token_dim)
        for layer in self.encoder:
            h = torch.relu(layer(h))
        return h

    def decode(self, z: Tensor, token: Tensor) -> Tensor:
        """Map latents (n, latent) and token indices (n,) back to inputs (n, d)."""
        h = torch.cat([z, self.token(token)], dim=1)  # (n, latent + token_dim)
        for layer in self.decoder[:-1]:
            h = torch.relu(layer(h))
        return self.decoder[-1](h)


def _linears(widths: Sequence[int], token_dim: int) -> list[nn.Linear]:
    """Linear layers between successive widths; the first also takes the token."""
    inputs = [widths[0] + token_dim, *widths[1:-1]]
    return [nn.Linear(i, o) for i, o in zip(inputs, widths[1:], strict=True)]
