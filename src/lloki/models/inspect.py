"""What a folder of weights holds, and which genes of a panel the model uses."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lloki.embed import Embedder
from lloki.errors import ModelError
from lloki.genes import VocabularyMatch
from lloki.models._download import file_sha256
from lloki.models.registry import published_models

# settings of each architecture that are shown: description → key in its file
_SIZES: dict[str, tuple[str, dict[str, str]]] = {
    "scgpt": (
        "args.json",
        {
            "layers": "nlayers",
            "dimension": "embsize",
            "heads": "nheads",
            "feed-forward dimension": "d_hid",
            "bins of values": "n_bins",
            "tokens of a cell at most, in training": "max_seq_len",
        },
    ),
    "geneformer": (
        "config.json",
        {
            "layers": "num_hidden_layers",
            "dimension": "hidden_size",
            "heads": "num_attention_heads",
            "feed-forward dimension": "intermediate_size",
            "tokens of a cell at most": "max_position_embeddings",
        },
    ),
}


@dataclass(frozen=True)
class FileFacts:
    """One file of a model's folder.

    Attributes
    ----------
    name
        Its name.
    size
        Bytes.
    sha256
        SHA-256 of the content.
    published_as
        The published model with the same file; ``""`` if none is known.
    """

    name: str
    size: int
    sha256: str
    published_as: str


@dataclass(frozen=True)
class ModelFacts:
    """A model's folder, without its weights being loaded.

    Attributes
    ----------
    embedder
        The embedder that takes it.
    sizes
        Description of each size of the architecture → number.
    vocabulary
        Number of tokens, special ones included; 0 where that is unknown without loading the model.
    files
        What it holds.
    """

    embedder: str
    sizes: Mapping[str, Any]
    vocabulary: int
    files: tuple[FileFacts, ...]


def embedder_of(folder: Path) -> str:
    """Identify the embedder that takes this folder by its files.

    Raises
    ------
    ModelError
        If there is no such folder, or its files are those of no embedder.
    """
    if not folder.is_dir():
        raise ModelError(f"{folder}: there is no such folder")
    names = {path.name for path in folder.iterdir()}
    if {"args.json", "vocab.json"} <= names:
        return "scgpt"
    if "config.json" in names and any(name.startswith("token_dictionary") for name in names):
        return "geneformer"
    held = ", ".join(sorted(names)[:10]) or "nothing"
    raise ModelError(
        f"{folder}: the embedder cannot be identified: there are neither args.json and vocab.json (scgpt) "
        f"nor config.json and token_dictionary* (geneformer). The folder holds: {held}. If another embedder "
        "takes it, name it with --embedder."
    )


def inspect_model(folder: Path, *, embedder: str | None = None) -> ModelFacts:
    """Read the sizes of a model from its settings, and hash its files.

    Parameters
    ----------
    folder
        As given to ``--model``.
    embedder
        The embedder that takes it; by default identified by the files.

    Returns
    -------
    ModelFacts
        Weights are not loaded; whether they agree with the sizes is checked by the embedder.

    Raises
    ------
    ModelError
        If there is no such folder, or its settings cannot be read.
    """
    name = embedder or embedder_of(folder)
    sizes: dict[str, Any] = {}
    vocabulary = 0
    if name in _SIZES:
        file, keys = _SIZES[name]
        settings = _read_json(folder / file)
        sizes = {word: settings[key] for word, key in keys.items() if key in settings}
        vocabulary = (
            len(_read_json(folder / "vocab.json")) if name == "scgpt" else settings.get("vocab_size", 0)
        )
    owners = {f.sha256: m.name for m in published_models().values() for f in m.files if f.sha256}
    files = []
    for path in sorted(p for p in folder.iterdir() if p.is_file()):
        sha256 = file_sha256(path)
        files.append(FileFacts(path.name, path.stat().st_size, sha256, owners.get(sha256, "")))
    return ModelFacts(name, sizes, vocabulary, tuple(files))


def match_panel(embedder: Embedder, genes: Sequence[str]) -> VocabularyMatch:
    """Match the genes of a panel with an embedder's; never raises for too few genes.

    Embedders with a method ``match`` give the name that each gene has in the model; others only which genes
    they use.
    """
    match = getattr(embedder, "match", None)
    if match is not None:
        found: VocabularyMatch = match(genes, min_genes=0)
        return found
    found_genes = embedder.coverage(genes)
    used = set(found_genes.used)
    return VocabularyMatch(
        names=tuple(gene if gene in used else "" for gene in genes),
        used=found_genes.used,
        mapped={},
        how={},
        dropped=dict.fromkeys(found_genes.dropped, "not used by the model"),
        diagnosis=found_genes.diagnosis,
        hint=found_genes.hint,
    )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise ModelError(f"{path}: holds no settings")
    return found
