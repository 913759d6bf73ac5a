"""What the network knows of a cell: its token, its slice, or both."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lloki.cae import CAEConfig, CAEModel, train

SMALL = CAEConfig(steps=20, batch_size=100, check_every=10, n_pairs=5, hidden=(32, 24), latent=16)
TOKENS = {"a1": "xenium|p", "a2": "xenium|p", "b": "merfish|q"}


@pytest.fixture(scope="module")
def data() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {name: rng.normal(i, 1, size=(60 + 10 * i, 8)).astype(np.float32) for i, name in enumerate(TOKENS)}


@pytest.fixture(scope="module")
def models(data: dict[str, np.ndarray]) -> dict[str, CAEModel]:
    return {
        kind: train(data, TOKENS, config=CAEConfig(**{**SMALL.to_dict(), "condition": kind}))
        for kind in ("token", "slice", "both")
    }


@pytest.mark.parametrize(
    ("kind", "tables"),
    [
        ("token", {"token.weight": (2, 10)}),
        ("slice", {"slice.weight": (3, 10)}),
        ("both", {"token.weight": (2, 10), "slice.weight": (3, 10)}),
    ],
)
def test_the_parts_are_the_tables_of_the_network(kind, tables, models) -> None:
    weights = models[kind].network.state_dict()
    named = {name: tuple(w.shape) for name, w in weights.items() if name.split(".")[0] in ("token", "slice")}
    assert named == tables
    assert weights["encoder.0.weight"].shape[1] == 8 + 10 * len(tables)
    assert models[kind].tokens == ("merfish|q", "xenium|p")


def test_a_token_takes_no_notice_of_the_slice(models, data) -> None:
    x, model = data["a1"], models["token"]
    plain = model.encode(x, "xenium|p")
    for name in ("a1", "a2", "new"):
        np.testing.assert_array_equal(model.encode(x, "xenium|p", slice_name=name), plain)


@pytest.mark.parametrize("kind", ["slice", "both"])
def test_a_trained_slice_has_its_own_part_and_a_new_one_the_mean_of_its_token(kind, models, data) -> None:
    x, model = data["a1"], models[kind]
    one, other = (model.encode(x, "xenium|p", slice_name=name) for name in ("a1", "a2"))
    assert not np.allclose(one, other)
    new = model.encode(x, "xenium|p")
    assert not np.allclose(new, one)
    np.testing.assert_array_equal(model.encode(x, "xenium|p", slice_name="never seen"), new)
    # the name of a slice of another token says nothing
    np.testing.assert_array_equal(model.encode(x, "xenium|p", slice_name="b"), new)
    parts = model.conditions.vector(model.network, "xenium|p")
    own = [model.conditions.vector(model.network, "xenium|p", name) for name in ("a1", "a2")]
    np.testing.assert_allclose(parts, (own[0] + own[1]) / 2, atol=1e-6)
    # a token of one slice is that slice
    np.testing.assert_array_equal(
        model.encode(data["b"], "merfish|q"), model.encode(data["b"], "merfish|q", slice_name="b")
    )


@pytest.mark.parametrize("kind", ["slice", "both"])
def test_saved_and_loaded_is_the_same(kind, models, data, tmp_path: Path) -> None:
    models[kind].save(tmp_path)
    again = CAEModel.load(tmp_path)
    assert again.config.condition == kind
    for name, x in data.items():
        for asked in (name, None):
            np.testing.assert_array_equal(
                again.encode(x, TOKENS[name], slice_name=asked),
                models[kind].encode(x, TOKENS[name], slice_name=asked),
            )


@pytest.mark.parametrize("kind", ["slice", "both"])
def test_the_order_of_slices_does_not_matter(kind, models, data) -> None:
    config = CAEConfig(**{**SMALL.to_dict(), "condition": kind})
    backwards = train(dict(reversed(data.items())), dict(reversed(TOKENS.items())), config=config)
    for name, x in data.items():
        np.testing.assert_array_equal(
            backwards.encode(x, TOKENS[name], slice_name=name),
            models[kind].encode(x, TOKENS[name], slice_name=name),
        )
