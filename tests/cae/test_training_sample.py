"""Of a token with very many cells, a sample is trained on; every cell can be encoded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pytest

from lloki.cae import CAEConfig, sample_sizes, train
from lloki.errors import InputError

TOKENS = {"a": "x|p", "b": "x|p", "c": "y|q"}
HOW = {"steps": 4, "batch_size": 64, "components": 2, "mnn_rounds": 1, "most_cells": 150}


def made_up() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {name: rng.standard_normal((n, 6)).astype(np.float32) for name, n in zip("abc", (200, 100, 120))}


def test_each_slice_of_a_token_gives_the_same_share():
    assert sample_sizes({"a": 200, "b": 100, "c": 120}, TOKENS, 150) == {"a": 100, "b": 50, "c": 120}
    assert sample_sizes({"a": 200, "b": 1}, TOKENS, 10) == {"a": 9, "b": 1}
    assert sample_sizes({"a": 200, "b": 100}, TOKENS, 300) == {"a": 200, "b": 100}


class Once(Mapping[str, np.ndarray]):
    """Slices that are made when asked for, and the numbers of rows that are alive at once."""

    def __init__(self, x: dict[str, np.ndarray]) -> None:
        self.x = x

    def __getitem__(self, name: str) -> np.ndarray:
        return self.x[name].copy()

    def __iter__(self) -> Iterator[str]:
        return iter(self.x)

    def __len__(self) -> int:
        return len(self.x)


def test_training_on_a_sample():
    x, config = made_up(), CAEConfig(**HOW)
    model = train(x, TOKENS, config=config, device="cpu")
    assert sum(model.landmarks.sizes) <= 270
    assert np.isfinite(model.encode(x["a"], "x|p")).all()
    # the order does not matter, nor whether slices lie in memory
    again = train(Once(dict(reversed(x.items()))), TOKENS, config=config, device="cpu")
    np.testing.assert_array_equal(model.encode(x["a"], "x|p"), again.encode(x["a"], "x|p"))
    # a limit that nothing reaches changes nothing
    free, large = (
        train(x, TOKENS, config=CAEConfig(**HOW | {"most_cells": n}), device="cpu") for n in (300, 10**6)
    )
    np.testing.assert_array_equal(free.encode(x["a"], "x|p"), large.encode(x["a"], "x|p"))
    assert (free.encode(x["a"], "x|p") != model.encode(x["a"], "x|p")).any()


def test_cells_that_are_not_drawn_do_not_enter():
    x = made_up()
    seen = sample_sizes({n: len(v) for n, v in x.items()}, TOKENS, 150)
    drawn = np.random.default_rng([0, 0]).permutation(200)[: seen["a"]]
    other = {**x, "a": x["a"].copy()}
    other["a"][np.setdiff1d(np.arange(200), drawn)] += 5
    one, two = (train(y, TOKENS, config=CAEConfig(**HOW), device="cpu") for y in (x, other))
    np.testing.assert_array_equal(one.encode(x["c"], "y|q"), two.encode(x["c"], "y|q"))


def test_labels_go_with_their_cells():
    x = made_up()
    kinds = {name: np.where(v[:, 0] > 0, "up", "down").tolist() for name, v in x.items()}
    model = train(x, TOKENS, labels=kinds, config=CAEConfig(**HOW), device="cpu")
    assert np.isfinite(model.history[-1]["total"])
    with pytest.raises(InputError, match="there are 199 labels for 100 cells"):
        train(x, TOKENS, labels={**kinds, "a": kinds["a"][1:]}, config=CAEConfig(**HOW), device="cpu")
