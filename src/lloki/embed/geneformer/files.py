"""A Geneformer checkpoint folder: its files, and whether they fit each other."""

from __future__ import annotations

import hashlib
import json
import math
import pickle
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lloki.embed.geneformer.plain_pickle import read_plain_pickle
from lloki.errors import ModelError

if TYPE_CHECKING:
    import torch

_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
_SIZES = ("hidden_size", "max_position_embeddings", "num_hidden_layers", "vocab_size")
_HEADS = ("cls.", "classifier.", "bert.pooler.", "pooler.")  # of pretraining and of fine-tuned classifiers
PAD, CLS, EOS = "<pad>", "<cls>", "<eos>"


@dataclass(frozen=True)
class Vocabulary:
    """What Geneformer knows of genes.

    Attributes
    ----------
    tokens
        Ensembl id or special token → row of the embedding; together exactly the rows 0, 1, …
    medians
        (tokens,) median of each gene's non-zero expression over the pretraining cells, which the ranking
        divides by; 1 at special tokens.
    ids
        Other names of genes → Ensembl id, as far as the checkpoint has them.
    """

    tokens: Mapping[str, int]
    medians: NDArray[np.float64]
    ids: Mapping[str, str]

    @property
    def special(self) -> bool:
        """Whether cells are framed by ``<cls>`` and ``<eos>``, as in the second version."""
        return CLS in self.tokens

    @property
    def sha256(self) -> str:
        """Fingerprint of the content, whatever files it came from."""
        content = [dict(self.tokens), self.medians.tolist(), dict(self.ids)]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    @property
    def names(self) -> set[str]:
        """All names under which a gene can be found."""
        return {name for name in self.tokens if not _is_special(name)} | self.ids.keys()

    def token(self, name: str) -> int:
        """Row of the embedding of a gene, by any of its `names`."""
        return self.tokens[name if name in self.tokens else self.ids[name]]


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint, read and checked.

    Attributes
    ----------
    folder
        Where it was read.
    sizes
        What ``config.json`` says of the network.
    weights
        float32 tensors by their name in ``BertModel``, heads left out.
    vocabulary
        Tokens, medians and names of the genes.
    sha256
        Of the weights' file.
    """

    folder: Path
    sizes: Mapping[str, Any]
    weights: Mapping[str, torch.Tensor]
    vocabulary: Vocabulary
    sha256: str


def read_checkpoint(folder: Path) -> Checkpoint:
    """Read a checkpoint folder.

    Parameters
    ----------
    folder
        With ``config.json`` and the weights of a Bert model (``model.safetensors`` or ``pytorch_model.bin``),
        beside ``token_dictionary*`` and ``gene_median_dictionary*``, and where published
        ``gene_name_id_dict*`` and ``ensembl_mapping_dict*``, each ``.json`` or ``.pkl``.

    Raises
    ------
    ModelError
        If a file is absent, refused or damaged, or does not fit the others. No file can run code.
    """
    if not folder.is_dir():
        raise ModelError(f"{folder}: there is no such folder")
    sizes = _read_json(folder / "config.json")
    if not isinstance(sizes, dict) or sizes.get("model_type") != "bert":
        kind = sizes.get("model_type") if isinstance(sizes, dict) else None
        raise ModelError(f"{folder}/config.json: the model type is {kind!r}; Geneformer's is 'bert'")
    lacking = [name for name in _SIZES if type(sizes.get(name)) is not int]
    if lacking:
        raise ModelError(f"{folder}/config.json: has no whole number for {few(lacking)}")
    path = next((folder / name for name in _WEIGHTS if (folder / name).exists()), None)
    if path is None:
        raise ModelError(f"{folder}: holds no weights: neither {' nor '.join(_WEIGHTS)}")
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    weights = _read_weights(path)
    return Checkpoint(folder, sizes, weights, _read_vocabulary(folder, sizes["vocab_size"]), sha256)


def write_checkpoint(checkpoint: Checkpoint, folder: Path) -> None:
    """Write what :func:`read_checkpoint` reads, without pickles, into an existing folder."""
    from safetensors.torch import save

    vocabulary = checkpoint.vocabulary
    medians = {
        name: vocabulary.medians[at] for name, at in vocabulary.tokens.items() if not _is_special(name)
    }
    # bytes first: a full disk is then the OSError it is, not one of safetensors' own
    (folder / "model.safetensors").write_bytes(
        save({f"bert.{name}": tensor for name, tensor in checkpoint.weights.items()})
    )
    (folder / "config.json").write_text(json.dumps(dict(checkpoint.sizes)))
    (folder / "token_dictionary.json").write_text(json.dumps(dict(vocabulary.tokens)))
    (folder / "gene_median_dictionary.json").write_text(json.dumps(medians))
    (folder / "gene_name_id_dict.json").write_text(json.dumps(dict(vocabulary.ids)))


def _read_weights(path: Path) -> dict[str, torch.Tensor]:
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from lloki.io.trust import check_archive  # brings anndata, which nothing else here needs

    try:
        check_archive(path)
        if path.suffix == ".safetensors":
            found = load_file(path)
        else:
            found = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelError(
            f"{path}: refused, since it holds more than weights, which could run code"
        ) from error
    except (OSError, RuntimeError, ValueError, EOFError, SafetensorError) as error:
        raise ModelError(f"{path}: the weights cannot be read: {error}") from error
    if not isinstance(found, dict) or not all(isinstance(v, torch.Tensor) for v in found.values()):
        raise ModelError(f"{path}: holds no dictionary of weights")
    weights = {
        name.removeprefix("bert."): tensor.float()
        for name, tensor in found.items()
        if not name.startswith(_HEADS)
        and tensor.is_floating_point()  # others are counters such as position_ids
    }
    broken = [name for name, tensor in weights.items() if not torch.isfinite(tensor).all()]
    if broken:
        raise ModelError(f"{path}: these weights hold NaN or infinity: {few(broken)}")
    return weights


def _read_vocabulary(folder: Path, rows: int) -> Vocabulary:
    tokens = _read_dictionary(folder, "token_dictionary", int)
    if sorted(tokens.values()) != list(range(len(tokens))) or len(tokens) != rows:
        raise ModelError(
            f"{folder}: the token dictionary numbers {len(tokens)} tokens ({min(tokens.values(), default=0)} "
            f"to {max(tokens.values(), default=0)}), config.json says vocab_size {rows}: they belong to "
            "different models"
        )
    if PAD not in tokens or (CLS in tokens) != (EOS in tokens):
        raise ModelError(
            f"{folder}: the token dictionary needs {PAD}, and either both or none of {CLS}, {EOS}"
        )
    found = _read_dictionary(folder, "gene_median_dictionary", float)
    genes = [name for name in tokens if not _is_special(name)]
    lacking = [name for name in genes if not (found.get(name, 0) > 0 and math.isfinite(found[name]))]
    if lacking:
        raise ModelError(f"{folder}: the median dictionary has no value above 0 for {few(lacking)}")
    medians = np.ones(len(tokens))
    medians[[tokens[name] for name in genes]] = [found[name] for name in genes]
    ids: dict[str, str] = {}
    for stem in ("ensembl_mapping_dict", "gene_name_id_dict"):
        ids |= _read_dictionary(folder, stem, str, optional=True)
    ids = {name: at for name, at in ids.items() if at in tokens and name not in tokens}
    return Vocabulary(tokens, medians, ids)


def _read_dictionary(folder: Path, stem: str, kind: type, *, optional: bool = False) -> dict[str, Any]:
    """Read ``stem*.json`` or else ``stem*.pkl``: text → ``kind``, or error."""
    paths = sorted(folder.glob(f"{stem}*.json")) or sorted(folder.glob(f"{stem}*.pkl"))
    if not paths and optional:
        return {}
    if len(paths) != 1:
        names = few([path.name for path in paths]) or "none"
        raise ModelError(
            f"{folder}: needs one {stem}*.json or {stem}*.pkl, found {names}. Put the one published with the "
            "model beside its weights."
        )
    read = _read_json(paths[0]) if paths[0].suffix == ".json" else read_plain_pickle(paths[0])
    if not isinstance(read, dict):
        raise ModelError(f"{paths[0]}: holds no dictionary")
    if optional:  # published ones have blanks
        return {
            name: value for name, value in read.items() if isinstance(name, str) and isinstance(value, kind)
        }
    accepted = (int, float) if kind is float else kind
    bad = [n for n, v in read.items() if not isinstance(n, str) or not isinstance(v, accepted) or v is True]
    if bad:
        raise ModelError(f"{paths[0]}: these entries are not text → {kind.__name__}: {few(map(repr, bad))}")
    return read


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read: {error}") from error


def _is_special(name: str) -> bool:
    return name.startswith("<") and name.endswith(">")


def few(names: Iterable[str]) -> str:
    """List the first names of many, for a message."""
    names = list(names)
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
