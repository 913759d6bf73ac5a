"""The network against its formula written out in numpy."""

from __future__ import annotations

import numpy as np
import torch

from lloki.cae.network import ConditionalAutoencoder


def network(dim: int = 20, tokens: int = 3) -> ConditionalAutoencoder:
    torch.manual_seed(0)
    return ConditionalAutoencoder(dim, tokens)


def test_forward_is_the_formula() -> None:
    net = network()
    w = {name: value.detach().numpy().astype(np.float64) for name, value in net.state_dict().items()}
    x = np.random.default_rng(0).normal(size=(5, 20)).astype(np.float32)
    token = np.array([0, 2, 1, 1, 0])
    h = np.concatenate([x, w["token.weight"][token]], axis=1)
    for layer in range(3):
        h = np.maximum(h @ w[f"encoder.{layer}.weight"].T + w[f"encoder.{layer}.bias"], 0)
    z = h
    h = np.concatenate([z, w["token.weight"][token]], axis=1)
    for layer in range(3):
        h = h @ w[f"decoder.{layer}.weight"].T + w[f"decoder.{layer}.bias"]
        if layer < 2:
            h = np.maximum(h, 0)
    with torch.no_grad():
        condition = net.condition(torch.from_numpy(token)[:, None])
        got = net.encode(torch.from_numpy(x), condition)
        back = net.decode(got, condition)
    np.testing.assert_allclose(got.numpy(), z, atol=1e-5)
    np.testing.assert_allclose(back.numpy(), h, atol=1e-5)


def test_widths_are_the_papers() -> None:
    shapes = {name: tuple(value.shape) for name, value in network(dim=512).state_dict().items()}
    assert [shapes[f"encoder.{i}.weight"] for i in range(3)] == [(256, 522), (175, 256), (128, 175)]
    assert [shapes[f"decoder.{i}.weight"] for i in range(3)] == [(175, 138), (256, 175), (512, 256)]
    assert shapes["token.weight"] == (3, 10)


def test_latent_is_non_negative_and_sees_the_token() -> None:
    net = network()
    x = torch.randn((50, 20), generator=torch.Generator().manual_seed(1)) * 100
    with torch.no_grad():
        a, b = (net.encode(x, net.condition(torch.full((50, 1), t))) for t in (0, 1))
    assert (a >= 0).all()
    assert (a > 0).any()
    assert not torch.equal(a, b)


def test_two_parts_of_the_token_stand_side_by_side() -> None:
    torch.manual_seed(0)
    net = ConditionalAutoencoder(20, {"token": 2, "slice": 5}, token_dim=3)
    w = net.state_dict()
    assert w["encoder.0.weight"].shape == (256, 20 + 6)
    assert w["decoder.0.weight"].shape == (175, 128 + 6)
    joined = net.condition(torch.tensor([[1, 4], [0, 2]]))
    assert torch.equal(joined[0], torch.cat([w["token.weight"][1], w["slice.weight"][4]]))
    assert torch.equal(joined[1], torch.cat([w["token.weight"][0], w["slice.weight"][2]]))
