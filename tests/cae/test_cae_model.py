"""A trained model: encoding, saving, loading, and its settings."""

from __future__ import annotations

import copy
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import lloki
from lloki.cae import CAEConfig, CAEModel, fit_token, train
from lloki.errors import (
    ConfigError,
    InputError,
    LlokiError,
    LlokiWarning,
    ModelError,
    UnknownTokenError,
)

CONFIG = CAEConfig(steps=10, batch_size=100, check_every=5, n_pairs=5, hidden=(32, 24), latent=16)


@pytest.fixture(scope="module")
def data() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {"b": rng.normal(size=(90, 8)), "a": rng.normal(1.0, size=(70, 8))}


@pytest.fixture(scope="module")
def model(data: dict[str, np.ndarray]) -> CAEModel:
    return train(data, {"a": "xenium|p2", "b": "merfish|p1"}, config=CONFIG)


def test_tokens_are_named_and_sorted_by_label(model: CAEModel) -> None:
    assert model.tokens == ("merfish|p1", "xenium|p2")


def test_encoding_is_non_negative_float32(model: CAEModel, data: dict[str, np.ndarray]) -> None:
    z = model.encode(data["a"], "xenium|p2")
    assert z.dtype == np.float32
    assert z.shape == (70, 16)
    assert (z >= 0).all()
    assert z.std(0).max() > 0


def test_rows_depend_neither_on_chunks_nor_on_company_nor_on_threads(model: CAEModel) -> None:
    x = np.random.default_rng(1).normal(size=(5000, 8)).astype(np.float32)
    whole = model.encode(x, "merfish|p1")
    np.testing.assert_array_equal(model.encode(x, "merfish|p1", threads=2), whole)
    np.testing.assert_allclose(model.encode(x, "merfish|p1", chunk=17), whole, atol=1e-5)
    np.testing.assert_allclose(model.encode(x[100:200], "merfish|p1"), whole[100:200], atol=1e-5)


def test_saved_and_loaded_is_the_same(model: CAEModel, data: dict[str, np.ndarray], tmp_path: Path) -> None:
    model.save(tmp_path / "model")
    again = CAEModel.load(tmp_path / "model")
    assert again.tokens == model.tokens
    assert again.config == model.config
    assert again.history == model.history
    assert all(math.isnan(share) for share in again.partnered.values())  # too few cells
    model = copy.copy(model)
    correction = replace(model.scaling.correction, partnered=(0.5, math.nan))
    model.scaling = replace(model.scaling, correction=correction)
    model.save(tmp_path / "with")
    known = CAEModel.load(tmp_path / "with").partnered
    assert [*known] == list(model.tokens)
    np.testing.assert_array_equal([*known.values()], [0.5, math.nan])
    np.testing.assert_array_equal(
        again.encode(data["b"], "merfish|p1"), model.encode(data["b"], "merfish|p1")
    )


@pytest.mark.parametrize(
    ("output", "given"), [("better", "inputs"), ("latent", "latent"), ("inputs", "inputs")]
)
def test_a_model_of_unlike_tokens_gives_its_inputs(output: str, given: str) -> None:
    """One token holds a kind that the other lacks: three quarters of its cells have no partner."""
    rng = np.random.default_rng(0)
    kinds = 6 * np.eye(4, 8)
    many, few = np.repeat(kinds, 250, axis=0), np.repeat(kinds[:1], 400, axis=0)
    rows = {"a": many + 0.4 * rng.normal(size=many.shape), "b": few + 0.4 * rng.normal(size=few.shape)}
    config = CAEConfig(**{**CONFIG.to_dict(), "output": output, "latent": 16})
    model = train(rows, {"a": "x|p", "b": "y|q"}, config=config)
    assert model.output == given
    assert model.unlike == ["x|p"]
    assert model.partnered["x|p"] < 0.5
    assert "many cells of x|p have no counterpart" in model.caution
    assert ("output = 'latent'" in model.caution) == (given == "inputs")
    alike = train({"a": rows["a"], "b": rows["a"] + 0.1}, {"a": "x|p", "b": "y|q"}, config=config)
    assert alike.output == ("inputs" if output == "inputs" else "latent")
    assert alike.caution == ""
    more = {"c": np.concatenate([rows["b"], -rows["a"]])}
    with pytest.warns(LlokiWarning, match=r"many cells of z\|r have no counterpart in the batches"):
        fit_token(alike, more, token="z|r", steps=2)


def test_a_model_gives_its_inputs_where_these_are_asked_for(
    model: CAEModel, data: dict[str, np.ndarray], tmp_path: Path
) -> None:
    inputs = model.giving("inputs")
    x = data["a"].astype(np.float32)
    expected = model.scaling.apply(x, 1)
    np.testing.assert_array_equal(inputs.encode(x, "xenium|p2"), expected)
    assert model.encode(x, "xenium|p2").shape == (70, 16)  # the model itself is as it was
    inputs.save(tmp_path / "model")
    np.testing.assert_array_equal(CAEModel.load(tmp_path / "model").encode(x, "xenium|p2"), expected)
    grown = fit_token(inputs, {"c": data["a"]}, token="new|p3", steps=2)
    np.testing.assert_array_equal(grown.encode(x, "xenium|p2"), expected)
    assert grown.encode(x, "new|p3").shape == (70, 8)
    with pytest.raises(UnknownTokenError):
        inputs.encode(x, "nobody's")


def test_both_outputs_are_what_each_gives(model: CAEModel, data: dict[str, np.ndarray]) -> None:
    for of in (model, model.giving("inputs")):
        both = of.encode_both(data["a"], "xenium|p2")
        for output, rows in both.items():
            np.testing.assert_array_equal(rows, model.giving(output).encode(data["a"], "xenium|p2"))
        assert sorted(both) == ["inputs", "latent"]


@pytest.mark.parametrize(("wanted", "width"), [("latent", 16), ("inputs", 8), ("better", 16)])
def test_training_gives_what_the_settings_ask_for(data: dict[str, np.ndarray], wanted, width) -> None:
    trained = train(data, {"a": "p2", "b": "p1"}, config=replace(CONFIG, output=wanted))
    assert trained.encode(data["a"], "p2").shape == (70, width)


def test_an_unknown_output_is_refused(model: CAEModel, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="output must be"):
        CAEConfig(output="both")
    model.save(tmp_path / "model")
    file = tmp_path / "model" / "cae.json"
    file.write_text(file.read_text().replace('"output": "latent"', '"output": "both"'))
    with pytest.raises(ModelError, match="output is 'both'"):
        CAEModel.load(tmp_path / "model")


def test_an_unknown_token_names_the_known_ones_and_the_way_out(model: CAEModel) -> None:
    with pytest.raises(UnknownTokenError, match=r"cosmx\|p3.*merfish\|p1, xenium\|p2.*[Tt]rain"):
        model.encode(np.zeros((3, 8)), "cosmx|p3")


@pytest.mark.parametrize("x", [np.zeros((3, 7)), np.zeros(8), np.full((2, 8), np.inf)])
def test_inputs_that_do_not_fit_are_refused(model: CAEModel, x: np.ndarray) -> None:
    with pytest.raises(InputError):
        model.encode(x, "merfish|p1")


def test_no_rows_give_no_rows(model: CAEModel) -> None:
    assert model.encode(np.empty((0, 8)), "merfish|p1").shape == (0, 16)


def test_a_damaged_model_is_a_model_error(model: CAEModel, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="nowhere"):
        CAEModel.load(tmp_path / "nowhere")
    model.save(tmp_path)
    weights = tmp_path / "cae.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(ModelError):
        CAEModel.load(tmp_path)
    model.save(tmp_path)
    settings = json.loads((tmp_path / "cae.json").read_text())
    (tmp_path / "cae.json").write_text(json.dumps({**settings, "tokens": ["one"]}))
    with pytest.raises(ModelError):
        CAEModel.load(tmp_path)
    (tmp_path / "cae.json").write_text("{}")
    with pytest.raises(ModelError):
        CAEModel.load(tmp_path)


def test_settings_survive_json() -> None:
    config = CAEConfig(hidden=(10, 20), epochs=3)
    assert CAEConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    with pytest.raises(ConfigError, match="nonsense"):
        CAEConfig.from_dict({"nonsense": 1})


@pytest.mark.parametrize(
    "wrong",
    [
        {"steps": 0},
        {"triplet": -1},
        {"holdout": 0.9},
        {"epochs": 0},
        {"distance": "cosine"},
        {"unit": float("nan")},
    ],
)
def test_settings_out_of_range_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        CAEConfig(**wrong)


def test_a_device_that_is_not_there_is_an_error(data: dict[str, np.ndarray]) -> None:
    with pytest.raises(LlokiError, match="tpu"):
        train(data, {"a": "t", "b": "t"}, device="tpu")


def test_the_device_is_that_of_the_call_or_of_the_session(
    model: CAEModel, data: dict[str, np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model.save(tmp_path)
    assert "device" not in (tmp_path / "cae.json").read_text()
    monkeypatch.setattr(lloki.settings, "device", "cuda:99")
    with pytest.raises(ConfigError, match="cuda:99"):
        train(data, {"a": "t", "b": "t"})
    with pytest.raises(ConfigError, match="cuda:99"):
        CAEModel.load(tmp_path).encode(data["a"], model.tokens[0])
    there = CAEModel.load(tmp_path, device="cpu")
    assert len(there.encode(data["a"], model.tokens[0])) == len(data["a"])
    with pytest.raises(ConfigError, match="tpu"):
        fit_token(there, {"new": data["a"]}, token="new|panel", device="tpu")
