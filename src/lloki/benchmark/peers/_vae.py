"""A variational autoencoder of counts with a negative binomial likelihood over each cell's own panel."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor, nn

from lloki._device import choose_device
from lloki._parallel import blocks

HIDDEN = 128
BATCH = 128
LEARNING_RATE, WEIGHT_DECAY, EPSILON = 1e-3, 1e-6, 0.01  # scVI's
DROPOUT = 0.1
_BLOCK = 4096  # cells that are encoded at a time


class VAE(nn.Module):
    """Encoder of all genes, decoder of proportions within the panel of a cell's batch.

    Parameters
    ----------
    measured
        (batches, g) which batch measured which gene.
    latent
        Columns of the latent space.
    """

    def __init__(self, measured: Tensor, latent: int) -> None:
        super().__init__()
        n_batches, n_genes = measured.shape
        self.measured: Tensor
        self.register_buffer("measured", measured)
        self.encoder = nn.Sequential(*_hidden(n_genes, DROPOUT), *_hidden(HIDDEN, DROPOUT))
        self.mean, self.log_variance = nn.Linear(HIDDEN, latent), nn.Linear(HIDDEN, latent)
        self.decoder = nn.Sequential(*_hidden(latent + n_batches, 0.0), *_hidden(HIDDEN, 0.0))
        self.proportions = nn.Linear(HIDDEN, n_genes)
        self.log_dispersion = nn.Parameter(torch.randn(n_genes))

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance of the posterior of counts (b, g): (b, latent) each."""
        h = self.encoder(torch.log1p(x))
        return self.mean(h), self.log_variance(h).clamp(-10, 10)

    def loss(self, x: Tensor, batch: Tensor, kl_weight: float) -> Tensor:
        """Mean negative evidence lower bound of counts (b, g) of batches (b,)."""
        mean, log_variance = self.encode(x)
        z = mean + torch.randn_like(mean) * (log_variance / 2).exp()
        measured = self.measured[batch]
        code = nn.functional.one_hot(batch, len(self.measured)).to(z.dtype)
        logits = self.proportions(self.decoder(torch.cat([z, code], 1)))
        logits = logits.masked_fill(~measured, -torch.inf)
        mu = x.sum(1, keepdim=True) * torch.softmax(logits, 1)
        log_p = negative_binomial(x, mu, self.log_dispersion.exp())
        likelihood = torch.where(measured, log_p, 0.0).sum(1)
        kl = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum(1)
        return (kl_weight * kl - likelihood).mean()


def negative_binomial(x: Tensor, mu: Tensor, theta: Tensor, small: float = 1e-8) -> Tensor:
    """Log probability of counts with mean ``mu`` and variance ``mu + mu² / theta``, less log(x!)."""
    log_sum = torch.log(theta + mu + small)
    return (
        theta * (torch.log(theta + small) - log_sum)
        + x * (torch.log(mu + small) - log_sum)
        + torch.lgamma(x + theta)
        - torch.lgamma(theta)
    )


def train(
    counts: sparse.csr_matrix,
    batches: NDArray[np.integer],
    measured: NDArray[np.bool_],
    *,
    seed: int,
    epochs: int,
    latent: int,
) -> NDArray[np.float32]:
    """Train on counts (n, g) of batches (n,), 0 where not measured; return posterior means (n, latent)."""
    device = choose_device()
    n = counts.shape[0]
    order = np.random.default_rng(seed)
    devices = [device.index or 0] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        model = VAE(torch.from_numpy(measured), latent).to(device)
        optimizer = torch.optim.Adam(
            model.parameters(), lr=LEARNING_RATE, eps=EPSILON, weight_decay=WEIGHT_DECAY
        )
        for epoch in range(epochs):
            model.train()
            weight = min(1.0, (epoch + 1) / max(epochs / 2, 1))
            for rows in np.array_split(order.permutation(n), max(n // BATCH, 1)):
                x = torch.from_numpy(counts[rows].toarray()).to(device)
                batch = torch.from_numpy(batches[rows]).to(device)
                optimizer.zero_grad()
                model.loss(x, batch, weight).backward()
                optimizer.step()
    model.eval()
    out = np.empty((n, latent), np.float32)
    with torch.no_grad():
        for part in blocks(n, _BLOCK):
            out[part] = model.encode(torch.from_numpy(counts[part].toarray()).to(device))[0].cpu().numpy()
    return out


def _hidden(inputs: int, dropout: float) -> list[nn.Module]:
    return [
        nn.Linear(inputs, HIDDEN),
        nn.BatchNorm1d(HIDDEN, momentum=0.01, eps=0.001),
        nn.ReLU(),
        nn.Dropout(dropout),
    ]
