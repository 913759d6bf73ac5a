"""Each loss against a direct loop."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lloki.cae.losses import conservation_loss, reconstruction_loss, triplet_loss


def draw(seed: int, *shape: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


def test_reconstruction_is_the_mean_squared_error() -> None:
    x, y = draw(0, 7, 5), draw(1, 7, 5)
    total = 0.0
    for i in range(7):
        for j in range(5):
            total += (float(x[i, j]) - float(y[i, j])) ** 2
    assert float(reconstruction_loss(x, y)) == pytest.approx(total / 35)


@pytest.mark.parametrize("distance", ["squared", "euclidean"])
@pytest.mark.parametrize("margin", [0.0, 1.0, 7.5])
def test_triplet_is_the_mean_hinge(distance: str, margin: float) -> None:
    a, p, n = (draw(s, 20, 4) for s in range(3))
    total, active = 0.0, 0
    for i in range(20):
        near, far = (sum((float(a[i, j]) - float(other[i, j])) ** 2 for j in range(4)) for other in (p, n))
        if distance == "euclidean":
            near, far = near**0.5, far**0.5
        total += max(0.0, near - far + margin)
        active += near - far + margin > 0
    assert active > 0  # both sides of the hinge are exercised
    assert margin > 0 or active < 20
    got = triplet_loss(a, p, n, margin=margin, distance=distance)
    assert float(got) == pytest.approx(total / 20)


def test_conservation_compares_latent_with_input_distances() -> None:
    z, near, wanted = draw(0, 6, 3), draw(1, 6, 4, 3), draw(2, 6, 4).abs()
    total = 0.0
    for i in range(6):
        for j in range(4):
            latent = sum((float(z[i, c]) - float(near[i, j, c])) ** 2 for c in range(3)) ** 0.5
            total += (latent - float(wanted[i, j])) ** 2
    assert float(conservation_loss(z, near, wanted)) == pytest.approx(total / 24)


def test_losses_of_nothing_are_zero() -> None:
    none = torch.zeros((0, 3))
    assert float(reconstruction_loss(none, none)) == 0
    assert float(triplet_loss(none, none, none)) == 0
    assert float(conservation_loss(none, torch.zeros((0, 2, 3)), torch.zeros((0, 2)))) == 0


def test_gradients_stay_finite_where_points_coincide() -> None:
    z = torch.ones((4, 3), requires_grad=True)
    loss = conservation_loss(z, z[:, None, :], torch.zeros((4, 1)))
    loss = loss + triplet_loss(z, z, z, distance="euclidean")
    (gradient,) = torch.autograd.grad(loss, [z])
    assert torch.isfinite(gradient).all()


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000), st.floats(-5, 5))
def test_losses_do_not_depend_on_where_the_origin_lies(seed: int, shift: float) -> None:
    a, p, n, wanted = draw(seed, 9, 3), draw(seed + 1, 9, 3), draw(seed + 2, 9, 3), draw(seed + 3, 9, 1).abs()
    for loss in (
        lambda s: triplet_loss(a + s, p + s, n + s),
        lambda s: conservation_loss(a + s, (p + s)[:, None, :], wanted),
    ):
        assert float(loss(shift)) == pytest.approx(float(loss(0.0)), rel=1e-6, abs=1e-9)
