"""The pieces of a run and what goes into the key of each; nothing is computed here.

Every key holds the stage's recipe, the version of lloki, the configuration fields that the stage reads, and
the keys of the pieces it is made from. No key holds the device.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lloki.cae.model import Output
from lloki.embed import Embedder, settings_of
from lloki.run.config import RunConfig
from lloki.run.opening import Opened
from lloki.run.reference import Reference
from lloki.run.slices import SliceRecord
from lloki.run.store import Piece, Store, hash_of_files
from lloki.run.units import EmbeddingUnit, EncodeUnit, FeatureUnit, SummaryUnit


@dataclass(frozen=True)
class Pieces:
    """All pieces of a run: of each slice by its name, and of all together.

    ``features`` and ``summaries`` are empty without LLOKI-FP and with a pretrained embedder.
    """

    features: dict[str, FeatureUnit]
    summaries: dict[str, SummaryUnit]
    fit: Piece
    embedding: dict[str, EmbeddingUnit]
    training: Piece
    view: Piece
    held_out: Piece
    view_of_inputs: Piece
    held_out_of_inputs: Piece


def plan_pieces(
    store: Store, config: RunConfig, opened: Opened, embedder: Embedder, *, device: str
) -> Pieces:
    """Name all pieces of a run of these inputs."""
    features = feature_units(store, config, opened.slices, opened.reference, embedder)
    summaries = summary_units(store, config, opened.slices, features, embedder)
    fit = fit_piece(store, config, opened, summaries, embedder)
    embedding = embedding_units(
        *(store, config, opened.slices, features, summaries, embedder), fit.path, fit.key, device=device
    )
    training = training_piece(store, config, opened, embedding)
    seen = []
    for output in ("latent", "inputs"):
        view = view_piece(store, config, opened.slices, training, output)
        seen += [view, held_out_piece(store, config, opened, fit, embedding, view)]
    return Pieces(features, summaries, fit, embedding, training, *seen)


def feature_units(
    store: Store,
    config: RunConfig,
    records: Sequence[SliceRecord],
    reference: Reference | None,
    embedder: Embedder,
) -> dict[str, FeatureUnit]:
    """LLOKI-FP of every slice: by the slice, the sparsity of the reference and the parameters."""
    if reference is None:
        return {}
    units, fp = {}, config.features(embedder)
    known: dict[tuple[str, ...], NDArray[np.float64]] = {}  # of each panel once, however many slices have it
    for r in records:
        if r.genes not in known:
            known[r.genes] = reference.sparsity(r.genes, mode=fp.reference_genes)
        sparsity = known[r.genes]
        units[r.name] = FeatureUnit(
            piece=store.piece("features", r.name, r.piece.key, sparsity, fp),
            cells=r.cells,
            source=r.piece.path,
            reference_sparsity=sparsity,
            config=fp,
        )
    return units


def summary_units(
    store: Store,
    config: RunConfig,
    records: Sequence[SliceRecord],
    features: Mapping[str, FeatureUnit],
    embedder: Embedder,
) -> dict[str, SummaryUnit]:
    """Summaries of every slice for an embedder that learns from them: by the slice's features and genes."""
    if not embedder.joint:
        return {}
    identity = _identity(embedder, config)
    return {
        r.name: SummaryUnit(
            piece=store.piece("summary", r.name, *identity, features[r.name].piece.key, r.genes),
            cells=r.cells,
            features=features[r.name].path,
            genes=r.genes,
            embedder=embedder,
        )
        for r in records
    }


def fit_piece(
    store: Store,
    config: RunConfig,
    opened: Opened,
    summaries: Mapping[str, SummaryUnit],
    embedder: Embedder,
) -> Piece:
    """Name the fitted embedder: by the summaries of the trained slices and the reference, where it learns."""
    learned: list[Any] = []
    if embedder.joint:
        learned = [summaries[name].piece.key for name in sorted(r.name for r in opened.trained)]
        learned.append(opened.reference.hash if opened.reference else "")
    return store.piece("fit", embedder.name, *_identity(embedder, config), config.seed, learned, ending="")


def embedding_units(
    store: Store,
    config: RunConfig,
    records: Sequence[SliceRecord],
    features: Mapping[str, FeatureUnit],
    summaries: Mapping[str, SummaryUnit],
    embedder: Embedder,
    fitted: Path,
    fit_key: str,
    *,
    device: str,
) -> dict[str, EmbeddingUnit]:
    """Embeddings of every slice: by the fitted embedder, its settings here, and features or counts."""
    settings, units = settings_of(embedder), {}
    latent = config.propagation(embedder)
    for r in records:
        feature, summary = features.get(r.name), summaries.get(r.name)
        source = feature.piece if feature else r.piece
        units[r.name] = EmbeddingUnit(
            piece=store.piece("embedding", r.name, fit_key, settings, source.key, latent, config.seed),
            cells=r.cells,
            source=r.piece.path,
            features=feature.path if feature else None,
            summary=summary,
            model=Path(os.path.abspath(fitted)),  # workers may have another working directory
            propagation=latent,
            seed=config.seed,
            device=device,
        )
    return units


def training_piece(
    store: Store, config: RunConfig, opened: Opened, embedding: Mapping[str, EmbeddingUnit]
) -> Piece:
    """Name the trained LLOKI-CAE: by embeddings, tokens and labels of the trained slices."""
    parts = sorted((r.name, r.token, embedding[r.name].piece.key) for r in opened.trained)
    return store.piece("training", "model", parts, config.cae, opened.labels, ending="")


def token_piece(
    store: Store,
    model_key: str,
    token: str,
    names: Sequence[str],
    embedding: Mapping[str, EmbeddingUnit],
) -> Piece:
    """Name a model with one more batch token: by the model and the embeddings of the slices that have it."""
    parts = sorted((name, embedding[name].piece.key) for name in names)
    return store.piece("token", token, model_key, token, parts, ending="")


def encode_units(
    store: Store,
    records: Sequence[SliceRecord],
    embedding: Mapping[str, EmbeddingUnit],
    model: Path,
    model_key: str,
    output: Output,
    *,
    own: Collection[str],
    device: str,
) -> dict[str, EncodeUnit]:
    """Joint embeddings of every slice: by the model, the rows before, and whether the slice has a part.

    ``own`` are the slices that the model was trained with, which may have a part of the condition.
    """
    units = {}
    for r in records:
        name = r.name if r.name in own else None
        units[r.name] = EncodeUnit(
            piece=store.piece(
                "encode", r.name, model_key, output, embedding[r.name].piece.key, r.token, name
            ),
            cells=r.cells,
            source=embedding[r.name].path,
            model=Path(os.path.abspath(model)),
            token=r.token,
            slice_name=name,
            output=output,
            device=device,
        )
    return units


def view_piece(
    store: Store, config: RunConfig, records: Sequence[SliceRecord], training: Piece, output: str
) -> Piece:
    """Name UMAP, if wanted, and clusters: by the trained model, its output, and every slice in any order."""
    parts = sorted((r.name, r.piece.key) for r in records)
    inputs = (training.key, output, parts, config.resolution, config.seed)
    return (
        store.piece("view", "umap", *inputs)
        if config.umap
        else store.piece("view", "clusters", *inputs, False)
    )


def held_out_piece(
    store: Store,
    config: RunConfig,
    opened: Opened,
    fit: Piece,
    embedding: Mapping[str, EmbeddingUnit],
    view: Piece,
) -> Piece:
    """Name the held-out-gene scores: by the fitted models, the clusters and the trained slices."""
    parts = sorted((r.name, embedding[r.name].piece.key) for r in opened.trained)
    return store.piece("held_out", "genes", fit.key, parts, view.key, config.seed)


def _identity(embedder: Embedder, config: RunConfig) -> tuple[Any, ...]:
    """Name what makes two embedders the same before they are fitted."""
    return embedder.name, settings_of(embedder), hash_of_files(config.model) or config.model
