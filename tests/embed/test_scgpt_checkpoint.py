"""Checkpoint folders: both forms, both namings, and what is refused."""

from __future__ import annotations

import json
import os
import pickle
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from checkpoints import make_scgpt, scgpt_args, scgpt_weights, write_scgpt
from lloki.embed import ScGPT, get_embedder, load_embedder, save_embedder, settings_of
from lloki.embed.scgpt import read_checkpoint
from lloki.errors import ConfigError, ModelError

LAYER = "transformer_encoder.layers.1."


@pytest.fixture
def folder(tmp_path) -> Path:
    return make_scgpt(tmp_path / "model")


def change(folder: Path, alter: Callable[[dict[str, Any]], Any]) -> None:
    """Let ``alter`` change the state dict of a folder in place."""
    weights = torch.load(folder / "best_model.pt")
    alter(weights)
    torch.save(weights, folder / "best_model.pt")


def change_json(path: Path, **entries: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))


def test_sizes_come_from_the_arguments(tmp_path):
    known = read_checkpoint(make_scgpt(tmp_path, layers=3, dim=24, heads=2))
    assert vars(known.sizes) == {"tokens": 303, "dim": 24, "hidden": 36, "layers": 3, "heads": 2}
    assert known.n_bins == 51
    assert known.pad_value == -2
    assert known.cls_id == 301
    assert "decoder.fc.0.weight" not in known.weights
    assert known.parameters == sum(w.numel() for w in known.weights.values()) > 10_000


def test_every_form_of_a_model_is_the_same_model(tmp_path):
    plain, fused = (make_scgpt(tmp_path / name, naming=name) for name in ("in_proj", "Wqkv"))
    safe = tmp_path / "safe"
    shutil.copytree(fused, safe)
    save_file(torch.load(safe / "best_model.pt"), safe / "model.safetensors")
    (safe / "best_model.pt").unlink()
    ScGPT.from_checkpoint(plain).save(tmp_path / "saved")
    models = [ScGPT.from_checkpoint(path) for path in (plain, fused, safe, tmp_path / "saved")]
    assert len({json.dumps(model.config) for model in models}) == 1
    assert not (tmp_path / "saved" / "best_model.pt").exists()
    other = ScGPT.from_checkpoint(make_scgpt(tmp_path / "other", seed=1))
    assert other.config != models[0].config


def test_a_run_finds_its_embedder_again(folder, tmp_path):
    model = ScGPT.from_checkpoint(folder, precision="bf16", max_tokens=50)
    (tmp_path / "kept").mkdir()
    save_embedder(model, tmp_path / "kept")
    shutil.rmtree(folder)
    again = load_embedder(tmp_path / "kept", device="cpu")
    assert isinstance(again, ScGPT)
    assert again.device == "cpu"
    assert again.config == model.config
    assert again.config["precision"] == "bf16"
    assert again.max_tokens == 50


def test_the_device_is_no_setting_but_the_precision_there_is(folder, monkeypatch):
    model = ScGPT.from_checkpoint(folder)
    plain = settings_of(model)
    assert plain["precision"] == "float32"
    assert "device" not in plain
    monkeypatch.setattr("lloki.embed.scgpt.engine.choose_device", lambda name: torch.device("cuda:1"))
    assert settings_of(model) == plain | {"precision": "fp16"}
    assert settings_of(ScGPT.from_checkpoint(folder, precision="float32")) == plain


def test_the_registry_wants_a_folder(folder):
    assert get_embedder("scgpt", model=folder).dim == 32
    with pytest.raises(ConfigError, match="--model DIR"):
        get_embedder("scgpt")
    with pytest.raises(ModelError, match="there is no such folder"):
        get_embedder("scgpt", model=folder / "nowhere")


@pytest.mark.parametrize(
    ("options", "message"), [({"precision": "int8"}, "int8"), ({"max_tokens": 1}, "2 or more")]
)
def test_options_out_of_range(folder, options, message):
    with pytest.raises(ConfigError, match=message):
        ScGPT.from_checkpoint(folder, **options)


@pytest.mark.parametrize("name", ["args.json", "vocab.json", "best_model.pt"])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(ModelError, match=rf"has no {name}.*it holds .*copy the whole folder"):
        read_checkpoint(folder)


@pytest.mark.parametrize("name", ["args.json", "vocab.json", "best_model.pt", "model.safetensors"])
def test_a_cut_file_is_named(folder, name):
    if name == "model.safetensors":
        save_file(torch.load(folder / "best_model.pt"), folder / name)
    content = (folder / name).read_bytes()
    for length in (0, len(content) // 2):
        (folder / name).write_bytes(content[:length])
        with pytest.raises(ModelError, match=rf"{name}: cannot be read.*opy (it|the file) again"):
            read_checkpoint(folder)


class Trap:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("form", ["torch", "old torch", "pickle"])
@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_code_in_a_pickle_is_not_run(folder, tmp_path, form):
    sprung, path = tmp_path / "sprung", folder / "best_model.pt"
    content = {**torch.load(path), "extra": Trap(sprung)}
    if form == "pickle":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=form == "torch")
    with pytest.raises(ModelError, match=r"best_model.pt: holds something else than weights"):
        read_checkpoint(folder)
    assert not sprung.exists()
    if form == "torch":  # the trap works: what is read without care is run
        torch.load(path, weights_only=False)
        assert sprung.exists()


def test_the_refused_name_is_told(folder, tmp_path):
    change(folder, lambda weights: weights.update(extra=Trap(tmp_path / "sprung")))
    with pytest.raises(ModelError, match=r"asks for (posix|nt|os)\.mkdir"):
        read_checkpoint(folder)


def test_renamed_keys_are_named(folder):
    def rename(weights: dict[str, Any]) -> None:
        weights[f"{LAYER}ffn.weight"] = weights.pop(f"{LAYER}linear1.weight")

    change(folder, rename)
    message = rf"missing: {LAYER}linear1.weight; unexpected: {LAYER}ffn.weight"
    with pytest.raises(ModelError, match=message):
        read_checkpoint(folder)


def test_many_renamed_keys_are_counted(folder):
    def rename(weights: dict[str, Any]) -> None:
        for name in list(weights):
            weights[f"module.{name}"] = weights.pop(name)

    change(folder, rename)
    with pytest.raises(
        ModelError, match=r"missing: encoder.embedding.weight, .* and 28 more; unexpected: module"
    ):
        read_checkpoint(folder)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (f"{LAYER}linear1.weight", r"linear1.weight is 32 x 48 instead of 48 x 32"),
        (f"{LAYER}self_attn.in_proj_weight", r"in_proj_weight is 32 x 96 instead of 96 x 32"),
        (f"{LAYER}self_attn.out_proj.weight", r"out_proj.weight is 32 x 32 but stored transposed"),
    ],
)
def test_transposed_weights_are_named(folder, name, message):
    change(folder, lambda weights: weights.update({name: weights[name].T}))
    with pytest.raises(ModelError, match=f"misshapen: {LAYER}.*{message}"):
        read_checkpoint(folder)


def test_weights_under_both_namings_are_refused(folder):
    fused = f"{LAYER}self_attn.Wqkv.bias"
    change(folder, lambda weights: weights.update({fused: weights[fused.replace("Wqkv.", "in_proj_")]}))
    with pytest.raises(ModelError, match=r"unexpected: .*layers.1.self_attn.in_proj_bias"):
        read_checkpoint(folder)


@pytest.mark.parametrize("extra", ["dsbn.bns.0.weight", "bn.weight", "pert_encoder.weight"])
def test_parts_that_would_change_the_embedding_are_refused(folder, extra):
    change(folder, lambda weights: weights.update({extra: torch.ones(32)}))
    with pytest.raises(ModelError, match=f"unexpected: {extra}"):
        read_checkpoint(folder)


@pytest.mark.parametrize(
    "head",
    [
        "cls_decoder.out_layer.bias",
        "mvc_decoder.W.weight",
        "flag_encoder.weight",
        "grad_reverse_discriminator.a",
    ],
)
def test_heads_are_left_out(folder, head):
    before = ScGPT.from_checkpoint(folder).config
    change(folder, lambda weights: weights.update({head: torch.full((2, 3), torch.nan)}))
    assert ScGPT.from_checkpoint(folder).config == before


def test_weights_that_are_not_finite_are_named(folder):
    def spoil(weights: dict[str, Any]) -> None:
        weights[f"{LAYER}norm1.bias"][3:5] = torch.tensor([torch.nan, torch.inf])

    change(folder, spoil)
    with pytest.raises(ModelError, match=f"{LAYER}norm1.bias holds 2 NaN or infinite values of 32"):
        read_checkpoint(folder)


def test_weights_of_another_type(folder):
    change(folder, lambda w: w.update({"encoder.enc_norm.bias": torch.ones(32, dtype=torch.int64)}))
    with pytest.raises(ModelError, match=r"enc_norm.bias is torch.int64, not floating point"):
        read_checkpoint(folder)
    change(folder, lambda w: w.update({"encoder.enc_norm.bias": "none"}))
    with pytest.raises(ModelError, match=r"enc_norm.bias is no array instead of 32"):
        read_checkpoint(folder)
    torch.save([1, 2], folder / "best_model.pt")
    with pytest.raises(ModelError, match="holds a list, not named weights"):
        read_checkpoint(folder)


def test_half_precision_weights_are_taken(folder):
    change(folder, lambda w: w.update({name: weight.bfloat16() for name, weight in w.items()}))
    assert {weight.dtype for weight in read_checkpoint(folder).weights.values()} == {torch.float32}


@pytest.mark.parametrize("drop", [1, 40])
def test_a_vocabulary_shorter_than_the_embedding(folder, drop):
    vocab = json.loads((folder / "vocab.json").read_text())
    tokens = [*list(vocab)[: 300 - drop], "<pad>", "<cls>", "<eoc>"]
    (folder / "vocab.json").write_text(json.dumps({name: i for i, name in enumerate(tokens)}))
    message = (
        rf"vocab.json \({303 - drop} tokens\).*embedding.weight is 303 x 32 instead of {303 - drop} x 32"
    )
    with pytest.raises(ModelError, match=message):
        read_checkpoint(folder)


@pytest.mark.parametrize(
    ("vocab", "message"),
    [
        ({"A": 0, "B": 0, "<pad>": 1, "<cls>": 2}, "ids are not 0 to 3, each once"),
        ({"A": 0, "<pad>": 1, "<cls>": 7}, "the largest is 7"),
        ({"A": 0, "<pad>": 1}, "lacks the token '<cls>'"),
        ({"A": 0, "<cls>": 1}, "lacks the token '<pad>'"),
        ({"A": "0"}, "not a table from gene symbol to id"),
        (["A", "B"], "holds a list, not a table"),
    ],
)
def test_vocabularies_that_cannot_be_one(folder, vocab, message):
    (folder / "vocab.json").write_text(json.dumps(vocab))
    with pytest.raises(ModelError, match=rf"vocab.json: .*{message}"):
        read_checkpoint(folder)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"nlayers": 3}, r"nlayers 3\).* missing: transformer_encoder.layers.2.self_attn.* and 7 more"),
        ({"nlayers": 1}, r"nlayers 1\).* unexpected: transformer_encoder.layers.1.*"),
        ({"d_hid": 64}, r"d_hid 64.*layers.0.linear1.weight is 48 x 32 instead of 64 x 32"),
        ({"embsize": 64}, r"encoder.embedding.weight is 303 x 32 instead of 303 x 64"),
        ({"nheads": 5}, "embsize 32 is not a multiple of nheads 5"),
        ({"nlayers": "two"}, "nlayers is 'two'; it must be a whole number"),
        ({"n_bins": 2}, "n_bins is 2; it must be a whole number of 3 or more"),
        ({"pad_value": None}, "pad_value is None"),
        ({"input_emb_style": "category"}, "input_emb_style is 'category'. Only models with 'continuous'"),
    ],
)
def test_arguments_that_disagree(folder, args, message):
    change_json(folder / "args.json", **args)
    with pytest.raises(ModelError, match=message):
        read_checkpoint(folder)


def test_arguments_that_are_missing(folder):
    args = scgpt_args()
    del args["d_hid"], args["pad_value"]
    (folder / "args.json").write_text(json.dumps(args))
    with pytest.raises(ModelError, match=r"args.json: lacks d_hid, pad_value"):
        read_checkpoint(folder)


def test_the_full_models_names_are_known(shared_data, tmp_path):
    """Names and shapes of the published whole-human model, at a width that a test can hold."""
    listed = (shared_data / "scgpt_parity" / "state_dict_full_12x512.txt").read_text().splitlines()
    args = scgpt_args(layers=12, dim=16, heads=8, hidden=16)
    ours = scgpt_weights(args, 5, naming="Wqkv")
    heads = {}
    for line in listed:
        name, shape = line.split("\t")[:2]
        if name not in ours:
            assert re.match(r"(cls_|mvc_)?decoder\.", name), name
            heads[name] = torch.zeros(len(shape))
    vocab = {name: i for i, name in enumerate(("A", "B", "<pad>", "<cls>", "<eoc>"))}
    assert read_checkpoint(write_scgpt(tmp_path, args, vocab, ours | heads)).sizes.layers == 12
    published = {line.split("\t")[0] for line in listed}
    assert set(read_checkpoint(tmp_path).weights) <= published
