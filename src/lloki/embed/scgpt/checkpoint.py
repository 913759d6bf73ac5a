"""Checkpoint folders: ``args.json``, ``vocab.json`` and ``best_model.pt`` or ``model.safetensors``."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from lloki.embed.scgpt.network import Sizes
from lloki.embed.scgpt.weights import PICKLED, SAFE, read_weights
from lloki.errors import ModelError

ARGS, VOCAB = "args.json", "vocab.json"
CLS = "<cls>"
N_BINS = 51

_SIZES = {"embsize": "dim", "d_hid": "hidden", "nlayers": "layers", "nheads": "heads"}
_KNOWN = {"input_emb_style": "continuous", "input_style": "binned", "pre_norm": False}


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was read and found whole.

    Attributes
    ----------
    sizes
        Shapes of the network.
    args
        All of ``args.json``.
    vocab
        Gene symbol or special token → id; the ids are 0 to the number of tokens - 1.
    weights
        What the network needs, float32, under the published names (attention as ``Wqkv``).
    """

    sizes: Sizes
    args: Mapping[str, Any]
    vocab: Mapping[str, int]
    weights: Mapping[str, Tensor]

    @property
    def n_bins(self) -> int:
        """Number of value bins, the one for zero included."""
        return int(self.args.get("n_bins", N_BINS))

    @property
    def pad_value(self) -> float:
        """What stands for the value of tokens that have none: ``<cls>`` and padding."""
        return float(self.args["pad_value"])

    @property
    def cls_id(self) -> int:
        """Id of the token whose vector is the cell's."""
        return self.vocab[CLS]

    @property
    def parameters(self) -> int:
        """Number of weights."""
        return sum(weight.numel() for weight in self.weights.values())

    def digest(self) -> str:
        """SHA-256 of all that embeddings depend on: 64 hex digits.

        The same for every form and place of the same model. Takes a second for 500 MB of weights.
        """
        facts = [*vars(self.sizes).items(), self.n_bins, self.pad_value, self.cls_id]
        digest = hashlib.sha256(json.dumps([facts, sorted(self.vocab.items())]).encode())
        for name in sorted(self.weights):
            digest.update(name.encode())
            digest.update(self.weights[name].numpy().data)
        return digest.hexdigest()


def read_checkpoint(folder: str | Path) -> Checkpoint:
    """Read a checkpoint folder; where it holds both forms of weights, ``model.safetensors``.

    Raises
    ------
    ModelError
        If a file is missing or damaged, if the pickle holds more than weights (it is not executed), or if
        arguments, vocabulary and weights do not fit together; says what is wrong in which file.
    """
    folder = Path(folder).expanduser()
    for wanted in (ARGS, VOCAB):
        if not (folder / wanted).exists():
            raise _missing(folder, wanted)
    path = next((folder / name for name in (SAFE, PICKLED) if (folder / name).exists()), None)
    if path is None:
        raise _missing(folder, f"{PICKLED} or {SAFE}")
    args = _arguments(folder / ARGS)
    vocab = _vocabulary(folder / VOCAB, str(args["pad_token"]))
    sizes = Sizes(tokens=len(vocab), **{field: args[name] for name, field in _SIZES.items()})
    return Checkpoint(sizes, args, vocab, read_weights(path, sizes))


def write_checkpoint(checkpoint: Checkpoint, folder: str | Path) -> None:
    """Write a checkpoint folder, weights as safetensors.

    They are written last: a folder that was not finished is refused when it is read.
    """
    from lloki.io import atomic

    for name, table in ((ARGS, checkpoint.args), (VOCAB, checkpoint.vocab)):
        with atomic(Path(folder) / name) as path:
            path.write_text(json.dumps(table, indent=1), encoding="utf-8")
    with atomic(Path(folder) / SAFE) as path:
        save_file(dict(checkpoint.weights), path)


def _missing(folder: Path, wanted: str) -> ModelError:
    if not folder.is_dir():
        return ModelError(f"{folder}: there is no such folder. Give the folder of the checkpoint.")
    there = ", ".join(sorted(path.name for path in folder.iterdir())[:5]) or "nothing"
    return ModelError(
        f"{folder}: has no {wanted} (it holds {there}). A checkpoint is a folder with {ARGS}, {VOCAB} and "
        f"{PICKLED} or {SAFE}: copy the whole folder."
    )


def _json(path: Path) -> dict[str, Any]:
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read as JSON ({error}). Copy the file again.") from error
    if not isinstance(table, dict):
        raise ModelError(f"{path}: holds a {type(table).__name__}, not a table. Copy the checkpoint's own.")
    return table


def _arguments(path: Path) -> dict[str, Any]:
    args = _json(path)
    missing = [name for name in (*_SIZES, "pad_token", "pad_value") if name not in args]
    if missing:
        raise ModelError(
            f"{path}: lacks {', '.join(missing)}. Take the file that belongs to the weights; this one is of "
            "another kind of model, or was cut."
        )
    for name in (*_SIZES, "n_bins"):
        least, value = 3 if name == "n_bins" else 1, args.get(name, N_BINS)
        if type(value) is not int or value < least:
            raise ModelError(f"{path}: {name} is {value!r}; it must be a whole number of {least} or more.")
    if type(args["pad_value"]) not in (int, float):
        raise ModelError(f"{path}: pad_value is {args['pad_value']!r}; it must be a number.")
    if args["embsize"] % args["nheads"]:
        raise ModelError(f"{path}: embsize {args['embsize']} is not a multiple of nheads {args['nheads']}.")
    for name, known in _KNOWN.items():
        if args.get(name, known) != known:
            raise ModelError(
                f"{path}: {name} is {args[name]!r}. Only models with {known!r} are supported: the public "
                "package embeds cells with no others."
            )
    return args


def _vocabulary(path: Path, pad_token: str) -> dict[str, int]:
    vocab, hint = _json(path), "Take the checkpoint's own file."
    if not all(type(value) is int for value in vocab.values()):
        raise ModelError(f"{path}: is not a table from gene symbol to id. {hint}")
    if sorted(vocab.values()) != list(range(len(vocab))):
        raise ModelError(
            f"{path}: its {len(vocab)} ids are not 0 to {len(vocab) - 1}, each once (the largest is "
            f"{max(vocab.values(), default=-1)}): genes would get the weights of others. {hint}"
        )
    for token in (pad_token, CLS):
        if token not in vocab:
            raise ModelError(f"{path}: lacks the token {token!r}. {hint}")
    return vocab
