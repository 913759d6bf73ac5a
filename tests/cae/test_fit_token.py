"""A new token for a trained model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors

from lloki.cae import CAEConfig, CAEModel, fit_token, train
from lloki.cae.correction import Correction
from lloki.errors import ConfigError, InputError

NEW = "cosmx|z"
Slices = dict[str, np.ndarray]


def made(seed: int = 0, per_slice: int = 240) -> tuple[Slices, dict[str, str], np.ndarray]:
    """Four slices of four types; each platform bends every type its own way. Cell i is of type i % 4."""
    rng = np.random.default_rng(seed)
    centers, kind = 5 * rng.normal(size=(4, 12)), np.arange(per_slice) % 4
    slices = {}
    for name in ("a", "b", "c", "new"):
        bend = rng.normal(size=(4, 12)) + 4 * rng.normal(size=12)
        slices[name] = (centers[kind] + bend[kind] + rng.normal(size=(per_slice, 12))).astype(np.float32)
    return slices, {"a": "merfish|x", "b": "xenium|y", "c": "starmap|w", "new": NEW}, kind


@pytest.fixture(scope="module")
def data() -> tuple[Slices, dict[str, str], np.ndarray]:
    return made()


@pytest.fixture(scope="module")
def model(data) -> CAEModel:
    slices, tokens, _ = data
    old = {name: slices[name] for name in "abc"}
    return train(old, tokens, config=CAEConfig(steps=120, batch_size=400, n_pairs=20, refreshes=2))


@pytest.fixture(scope="module")
def fitted(model, data) -> CAEModel:
    return fit_token(model, {"new": data[0]["new"]}, token=NEW, steps=60)


def test_what_was_encoded_before_is_the_same_to_the_bit(model, fitted, data) -> None:
    slices, tokens, _ = data
    for name in "abc":
        np.testing.assert_array_equal(
            fitted.encode(slices[name], tokens[name]), model.encode(slices[name], tokens[name])
        )
    assert NEW not in model.tokens


def test_all_shared_weights_are_frozen_to_the_bit(model, fitted) -> None:
    before, after = model.network.state_dict(), fitted.network.state_dict()
    assert before.keys() == after.keys()
    for name, weight in before.items():
        assert torch.equal(after[name][: len(weight)], weight), name
    assert len(after["token.weight"]) == len(before["token.weight"]) + 1
    np.testing.assert_array_equal(fitted.scaling.center, model.scaling.center)
    assert fitted.scaling.scale == model.scaling.scale


def test_the_new_slice_comes_to_lie_among_the_old(model, fitted, data) -> None:
    slices, tokens, kind = data
    old = np.concatenate([fitted.encode(slices[name], tokens[name]) for name in "abc"])
    new = fitted.encode(slices["new"], NEW)
    near = NearestNeighbors(n_neighbors=15).fit(old).kneighbors(new, return_distance=False)
    right = (np.tile(kind, 3)[near] == kind[:, None]).mean()
    assert right > 0.9
    # as near to the old cells as these are to one another
    distance = NearestNeighbors(n_neighbors=15).fit(old).kneighbors(new)[0].mean()
    usual = NearestNeighbors(n_neighbors=16).fit(old).kneighbors(old)[0][:, 1:].mean()
    assert distance < 2 * usual


def test_the_inputs_are_shifted_toward_each_known_token_once(data, monkeypatch) -> None:
    """A token of two slices is one partner: with two it would have twice the say."""
    slices, tokens, _ = data
    tokens = tokens | {"b": tokens["a"]}
    model = train({name: slices[name] for name in "abc"}, tokens, config=CAEConfig(steps=2, n_pairs=20))
    seen = []
    add = Correction.add

    def watched(self, given, others, *, rounds):
        seen.append((given, others, rounds))
        return add(self, given, others, rounds=rounds)

    monkeypatch.setattr(Correction, "add", watched)
    fitted = fit_token(model, {"new": slices["new"]}, token=NEW, steps=2)
    ((given, others, rounds),) = seen
    assert rounds == model.config.mnn_rounds
    np.testing.assert_allclose(given[0], slices["new"] - model.scaling.center, atol=1e-5)
    a, b, c = (x.numpy() * model.scaling.scale for x in model.landmarks.x.split(model.landmarks.sizes))
    np.testing.assert_allclose(others[0], np.concatenate([a, b]), rtol=1e-5)
    np.testing.assert_allclose(others[1], c, rtol=1e-5)
    assert np.abs(fitted.scaling.correction.shifts[-1]).max() > 0.1


def test_fitting_lowers_the_loss(fitted) -> None:
    history = fitted.fitted[NEW]
    assert history[-1]["step"] == 60
    assert all(row["validation"] is not None for row in history)


def test_it_learns_more_than_the_center(model, fitted, data) -> None:
    start = fit_token(model, {"new": data[0]["new"]}, token=NEW, steps=1, learning_rate=1e-12)
    end = {m: m.fitted[NEW][-1]["validation"] for m in (start, fitted)}
    assert end[fitted] < end[start]


def test_a_fitted_model_is_saved_and_fitted_once_more(fitted, data, tmp_path: Path) -> None:
    fitted.save(tmp_path)
    again = CAEModel.load(tmp_path)
    assert again.tokens == fitted.tokens
    assert again.fitted == fitted.fitted
    x = data[0]["new"]
    np.testing.assert_array_equal(again.encode(x, NEW), fitted.encode(x, NEW))
    other = fit_token(again, {"other": made(1)[0]["new"]}, token="slide|s", steps=5)
    assert other.tokens[-2:] == (NEW, "slide|s")
    np.testing.assert_array_equal(other.encode(x, NEW), fitted.encode(x, NEW))


@pytest.mark.parametrize("condition", ["slice", "both"])
def test_every_part_of_the_token_is_fitted(condition, data) -> None:
    slices, tokens, _ = data
    config = CAEConfig(steps=20, batch_size=200, condition=condition)
    model = train({name: slices[name] for name in "abc"}, tokens, config=config)
    two = {"new1": slices["new"][:100], "new2": slices["new"][100:]}
    fitted = fit_token(model, two, token=NEW, steps=20)
    for name in "abc":
        np.testing.assert_array_equal(
            fitted.encode(slices[name], tokens[name], slice_name=name),
            model.encode(slices[name], tokens[name], slice_name=name),
        )
    rows = [fitted.encode(slices["new"], NEW, slice_name=name) for name in two]
    assert not np.allclose(*rows)


def test_the_same_call_gives_the_same_result_on_one_and_two_threads(model, data, monkeypatch) -> None:
    rows = []
    for threads in ("1", "2"):
        monkeypatch.setenv("LLOKI_THREADS", threads)
        fitted = fit_token(model, {"new": data[0]["new"]}, token=NEW, steps=10)
        rows.append(fitted.encode(data[0]["new"], NEW))
    np.testing.assert_array_equal(*rows)


def test_what_cannot_be_fitted_is_said(model, data) -> None:
    x = data[0]["new"]
    with pytest.raises(ConfigError, match=r"knows the token 'xenium\|y'"):
        fit_token(model, {"new": x}, token="xenium|y")
    with pytest.raises(InputError, match=r"new: .* 5 columns, the autoencoder takes 12"):
        fit_token(model, {"new": x[:, :5]}, token=NEW)
    with pytest.raises(InputError, match="a: a trained slice has this name"):
        fit_token(model, {"a": x}, token=NEW)
    with pytest.raises(InputError, match="no slices"):
        fit_token(model, {}, token=NEW)
