"""Training: what it does for the data, that it repeats itself, and what it says of odd inputs."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors

from lloki.cae import CAEConfig, CAEModel, train
from lloki.errors import InputError, LlokiWarning

SMALL = CAEConfig(steps=40, batch_size=200, check_every=10, refreshes=2, n_pairs=10, n_neighbors=5)
Slices = dict[str, np.ndarray]


def slices(
    sizes: tuple[int, ...] = (150, 120, 90), *, shift: float = 3.0, types: int = 4, seed: int = 0
) -> Slices:
    """Gaussian types in 12 dimensions; each slice sees them moved its own way."""
    rng = np.random.default_rng(seed)
    centers = 6 * rng.normal(size=(types, 12))
    out = {}
    for s, n in enumerate(sizes):
        # cell i is of type i % types
        noise = rng.normal(size=(n, 12))
        bend = shift * rng.normal(size=(types, 12))
        out[f"slice{s}"] = (centers[np.arange(n) % types] + bend[np.arange(n) % types] + noise).astype(
            np.float32
        )
    return out


def tokens(data: Slices) -> dict[str, str]:
    return {name: f"tech|{name}" for name in data}


def encoded(model: CAEModel, data: Slices) -> Slices:
    return {name: model.encode(x, f"tech|{name}") for name, x in data.items()}


def test_batches_mix_and_types_stay_apart() -> None:
    data = slices((300, 300, 300))
    config = CAEConfig(steps=300, batch_size=600, n_pairs=20, refreshes=3, output="latent")
    model = train(data, tokens(data), config=config)

    def foreign_share(rows: Slices) -> tuple[float, float]:
        x = np.concatenate(list(rows.values()))
        batch, kind = np.repeat(np.arange(3), 300), np.tile(np.arange(300) % 4, 3)
        near = NearestNeighbors(n_neighbors=15).fit(x).kneighbors(return_distance=False)
        return float((batch[near] != batch[:, None]).mean()), float((kind[near] == kind[:, None]).mean())

    before, after = foreign_share(data), foreign_share(encoded(model, data))
    assert before[0] < 0.2
    assert after[0] > 0.4  # 2/3 is perfect mixing
    assert after[1] > 0.97


def test_a_small_slice_beside_a_large_one_is_mixed_as_well() -> None:
    data = slices((1200, 60))
    config = CAEConfig(steps=120, batch_size=400, n_pairs=10, refreshes=2)

    def near_the_small(rows: Slices) -> float:
        """Share of the large slice's cells among the 10 nearest of the small one's, over chance."""
        x = np.concatenate([rows["slice0"][:600], rows["slice1"]])
        near = NearestNeighbors(n_neighbors=10).fit(x).kneighbors(rows["slice1"], return_distance=False)
        return float((near < 600).mean() / (600 / 660))

    assert near_the_small(data) < 0.1
    assert near_the_small(encoded(train(data, tokens(data), config=config), data)) > 0.5


def test_losses_fall_and_are_recorded_with_and_without_weights() -> None:
    data = slices()
    config = CAEConfig(steps=120, batch_size=300, check_every=20, refreshes=1, n_pairs=10)
    history = train(data, tokens(data), config=config).history
    assert [row["step"] for row in history] == [20, 40, 60, 80, 100, 120]
    assert history[-1]["validation"] < history[0]["validation"]
    for row in history:
        parts = [row[name] * getattr(config, name) for name in ("reconstruction", "triplet", "conservation")]
        assert row["total"] == pytest.approx(sum(parts), rel=1e-5)
        assert row["weighted_triplet"] == pytest.approx(parts[1], rel=1e-5)


def test_a_loss_of_weight_zero_has_no_say() -> None:
    data = slices()
    model = train(data, tokens(data), config=CAEConfig(**{**SMALL.to_dict(), "triplet": 0, "margin": 1}))
    other = train(data, tokens(data), config=CAEConfig(**{**SMALL.to_dict(), "triplet": 0, "margin": 9}))
    x = data["slice0"]
    np.testing.assert_array_equal(model.encode(x, "tech|slice0"), other.encode(x, "tech|slice0"))


@pytest.mark.parametrize("threads", ["1", "2"])
def test_same_seed_same_result_for_any_order_and_threads(
    threads: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = slices()
    monkeypatch.setenv("LLOKI_THREADS", "1")
    want = encoded(train(data, tokens(data), config=SMALL), data)
    monkeypatch.setenv("LLOKI_THREADS", threads)
    backwards = dict(reversed(data.items()))
    np.random.default_rng(5).normal()
    torch.manual_seed(5)  # the caller's random state has no say
    got = encoded(train(backwards, tokens(backwards), config=SMALL), data)
    for name in data:
        np.testing.assert_array_equal(got[name], want[name])
    other = encoded(train(data, tokens(data), config=CAEConfig(**{**SMALL.to_dict(), "seed": 1})), data)
    assert not np.allclose(other["slice0"], want["slice0"])


def test_training_leaves_the_callers_random_state_and_threads_alone() -> None:
    data = slices((40, 40))
    torch.manual_seed(0)
    want = torch.rand(3)
    torch.manual_seed(0)
    before = torch.get_num_threads()
    train(data, tokens(data), config=SMALL)
    assert torch.equal(torch.rand(3), want)
    assert torch.get_num_threads() == before


def test_units_of_the_embedder_do_not_matter() -> None:
    data = slices()
    a = encoded(train(data, tokens(data), config=SMALL), data)
    scaled = {name: 64 * x for name, x in data.items()}
    b = encoded(train(scaled, tokens(data), config=SMALL), scaled)
    for name in data:
        np.testing.assert_allclose(a[name], b[name], atol=1e-4)


def test_training_ends_early_and_returns_the_best_state() -> None:
    data = slices()
    # a rate so large that the loss soon goes up and down
    config = CAEConfig(
        **{**SMALL.to_dict(), "steps": 3000, "learning_rate": 0.05, "patience": 3, "refreshes": 0}
    )
    done: list[int] = []
    model = train(data, tokens(data), config=config, advance=done.append)
    history = model.history
    assert history[-1]["step"] < 3000
    assert sum(done) == 3000
    best = min(row["validation"] for row in history)
    assert [row["validation"] for row in history].index(best) == len(history) - 1 - 3


def test_epochs_become_steps() -> None:
    assert CAEConfig(epochs=50, batch_size=4000).total_steps(250_000) == 3125
    assert CAEConfig(epochs=50, batch_size=4000).total_steps(10) == 1
    assert CAEConfig(steps=7).total_steps(250_000) == 7


def test_slices_that_share_a_token_share_the_batch() -> None:
    data = slices((60, 60))
    model = train(data, dict.fromkeys(data, "tech|panel"), config=SMALL)
    assert model.tokens == ("tech|panel",)


def test_one_slice_trains_and_says_that_there_is_nothing_to_mix() -> None:
    data = slices((80,))
    with pytest.warns(LlokiWarning, match="one slice only"):
        model = train(data, tokens(data), config=SMALL)
    assert np.isfinite(model.encode(data["slice0"], "tech|slice0")).all()


def test_a_slice_without_mutual_neighbors_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from lloki.cae import cells

    def unlike(a: torch.Tensor, b: torch.Tensor, k: int, types: None):
        if len(a) == 70 or len(b) == 70:
            return torch.empty(0, dtype=torch.int64), torch.empty(0, dtype=torch.int64)
        return real(a, b, k)

    real = cells.mutual_pairs
    monkeypatch.setattr(cells, "mutual_pairs", unlike)
    data = slices((60, 60, 70))
    with pytest.warns(LlokiWarning, match="not mixed: slice2"):
        model = train(data, tokens(data), config=SMALL)
    assert np.isfinite(model.encode(data["slice2"], "tech|slice2")).all()


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(slices((100, 3)), id="fewer cells than k"),
        pytest.param(slices((50, 1)), id="one cell"),
        pytest.param(slices((1, 1)), id="one cell each"),
        pytest.param({"slice0": np.ones((30, 4)), "slice1": np.ones((20, 4))}, id="all alike"),
        pytest.param(
            {"slice0": np.zeros((30, 4)), "slice1": np.full((20, 4), 7.1)}, id="alike within slices"
        ),
        pytest.param(
            {f"slice{i}": np.random.default_rng(i).normal(size=(4, 3)) for i in range(200)}, id="200 slices"
        ),
    ],
)
def test_odd_slices_train(data: Slices) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LlokiWarning)
        model = train(data, tokens(data), config=CAEConfig(**{**SMALL.to_dict(), "steps": 6}))
    for rows in encoded(model, data).values():
        assert np.isfinite(rows).all()
        assert (rows >= 0).all()


@pytest.mark.parametrize(
    ("data", "labels", "match"),
    [
        ({}, {}, "no slices"),
        ({"a": np.zeros((0, 4))}, {"a": "t"}, r"a: .*shape \(0, 4\)"),
        ({"a": np.zeros(4)}, {"a": "t"}, "shape"),
        ({"a": np.full((5, 2), np.nan)}, {"a": "t"}, "NaN"),
        ({"a": np.zeros((5, 2))}, {}, "no batch token"),
        ({"a": np.zeros((5, 2)), "b": np.zeros((5, 3))}, {"a": "t", "b": "t"}, "different widths"),
    ],
)
def test_wrong_inputs_are_named(data: Slices, labels: dict[str, str], match: str) -> None:
    with pytest.raises(InputError, match=match):
        train(data, labels, config=SMALL)
