"""The three parts of the loss (Eq 6–9), pure functions of tensors."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

# Keeps the gradient of a distance finite where two points coincide.
EPS = 1e-12

Distance = Literal["squared", "euclidean"]


def pair_distance(a: Tensor, b: Tensor) -> Tensor:
    """Euclidean distance along the last axis; broadcasts (…, d) and (…, d) to (…)."""
    return ((a - b).square().sum(-1) + EPS).sqrt()


def reconstruction_loss(x: Tensor, y: Tensor) -> Tensor:
    """Mean squared error between inputs and their reconstruction, both (n, d) (Eq 6); 0 without rows."""
    return (x - y).square().sum() / max(x.numel(), 1)


def triplet_loss(
    anchor: Tensor, positive: Tensor, negative: Tensor, *, margin: float = 1.0, distance: Distance = "squared"
) -> Tensor:
    """Mean hinge of anchor–positive against anchor–negative distance (Eq 7).

    Parameters
    ----------
    anchor, positive, negative
        Latents (n, latent); row i of each belongs to triplet i.
    margin
        By how much the negative must be farther than the positive before a triplet costs nothing.
    distance
        ``"squared"`` as the paper writes it; ``"euclidean"`` is the unsquared form of its published code.

    Returns
    -------
    loss
        Scalar; 0 if there are no triplets.
    """
    if distance == "squared":
        near = (anchor - positive).square().sum(1)
        far = (anchor - negative).square().sum(1)
    else:
        near, far = pair_distance(anchor, positive), pair_distance(anchor, negative)
    return torch.relu(near - far + margin).sum() / max(len(anchor), 1)


def conservation_loss(z: Tensor, z_neighbors: Tensor, input_distance: Tensor) -> Tensor:
    """Mean squared difference of latent and input distance between cells and their neighbors (Eq 8).

    Parameters
    ----------
    z, z_neighbors
        Latents of cells (n, latent) and of m of each one's neighbors (n, m, latent).
    input_distance
        (n, m) distances of the same pairs in the input, in the model's unit.

    Returns
    -------
    loss
        Scalar, mean over cells and neighbors; 0 if there are none. The mean in place of the paper's sum over
        neighbors makes the weight independent of how many of them a step samples.
    """
    latent_distance = pair_distance(z[:, None, :], z_neighbors)
    return (latent_distance - input_distance).square().sum() / max(input_distance.numel(), 1)
