"""The stages in their order: inputs opened once, then embedded under one set of parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lloki.cae import CAEModel
from lloki.embed import Embedder
from lloki.errors import ConfigError
from lloki.io import read_reference
from lloki.keys import UNS
from lloki.run.call import Call
from lloki.run.door import check_inputs
from lloki.run.inputs import Demands, Message, SliceRecord, gather
from lloki.run.labels import Labels, train_labels, trained_on
from lloki.run.reference import Reference
from lloki.run.store import load_arrays
from lloki.run.units import EmbeddingUnit, FeatureUnit
from lloki.run.work import Work


@dataclass(frozen=True)
class Opened:
    """Checked inputs in the store.

    Attributes
    ----------
    slices, trained
        All of them, and those that are trained on.
    reference
        Cut to the slices' genes; ``None`` for an embedder that does not read expression.
    labels
        Slice → label of each cell, of those that training may see; ``None`` if it sees none.
    messages
        What was corrected or set aside.
    """

    slices: list[SliceRecord]
    trained: list[SliceRecord]
    reference: Reference | None
    labels: Labels | None
    messages: list[Message]


@dataclass(frozen=True)
class Embedded:
    """Opened inputs after LLOKI-FP and the embedder.

    Attributes
    ----------
    features
        Slice → its unit of LLOKI-FP; empty without a reference.
    embedder
        Folder of the fitted embedder.
    units, rows
        Slice → its unit of embedding, and the (n, d) that it holds.
    """

    features: dict[str, FeatureUnit]
    embedder: Path
    units: dict[str, EmbeddingUnit]
    rows: dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Aligned:
    """What LLOKI-CAE made of them: the model, its key, and slice → (n, 128)."""

    model: CAEModel
    key: str
    joint: dict[str, NDArray[np.float32]]


def open_inputs(work: Work, call: Call, embedder: Embedder) -> Opened:
    """Check every input and copy it into the store; nothing is computed yet.

    Raises
    ------
    InputError, GeneError, ConfigError
        See :func:`lloki.integrate`.
    """
    with work.recorder.measure("check", "all slices"):
        given = check_inputs(call.slices, read=call.read, skip_bad=call.skip_bad)
        _trained(given.tokens, call.project_only, known=(*given.tokens, *given.aside))
        single_cells, demands, messages = None, Demands(embedder=embedder), list[Message]()
        if work.config.aligns(embedder):
            single_cells = read_reference(
                call.reference, layer=call.reference_layer, allow_normalized=call.read.allow_normalized
            )
            said = single_cells.uns[UNS]
            demands = replace(demands, genes=list(single_cells.var_names), reference_name=said["source"])
            messages = [{"slice": "reference", "text": str(text)} for text in said["messages"]]
        elif call.reference is not None:
            text = f"{work.config.embedder} without LLOKI-FP: the reference is not used"
            messages = [{"slice": "reference", "text": text}]
        records, more = gather(given, work.store, demands=demands, skip_bad=call.skip_bad)
        tokens = {r.name: r.token for r in records}
        names = _trained(tokens, call.project_only, known=(*given.tokens, *given.aside))
        trained = [r for r in records if r.name in names]
        reference = Reference.cut(single_cells, trained, records) if single_cells is not None else None
        labels = train_labels(work.config, trained)  # said before any work if they are not there
    return Opened(records, trained, reference, labels, [*messages, *more, *trained_on(work.config, labels)])


def embed_slices(work: Work, opened: Opened, embedder: Embedder) -> Embedded:
    """Take opened inputs through LLOKI-FP and the embedder, or find that done."""
    ref = opened.reference
    features = work.features(opened.slices, ref) if ref is not None else {}
    fitted, fit_key = work.fit(embedder, opened.trained, features, ref)
    units = work.embed(opened.slices, features, fitted, fit_key)
    rows = {name: load_arrays(unit.path)["rows"] for name, unit in units.items()}
    return Embedded(features, fitted, units, rows)


def align_slices(work: Work, opened: Opened, embedded: Embedded) -> Aligned:
    """Train LLOKI-CAE on the trained slices, or find that done, and encode all."""
    model, key = work.align(opened.trained, embedded.rows, embedded.units, opened.labels)
    with work.recorder.measure("encode", "all slices"):
        joint = {
            r.name: model.encode(embedded.rows[r.name], r.token, slice_name=r.name) for r in opened.slices
        }
    return Aligned(model, key, joint)


def _trained(tokens: Mapping[str, str], project_only: Sequence[str], *, known: Sequence[str]) -> list[str]:
    """Names of the slices to train on; every other one must have the technology and panel of one of them.

    Parameters
    ----------
    tokens
        Slice → batch token.
    project_only
        Not to be trained on.
    known
        Names that there are, with those of slices that were set aside.
    """
    only = {project_only} if isinstance(project_only, str) else set(project_only)
    unknown = sorted(only - set(known))
    if unknown:
        raise ConfigError(
            f"project_only names {unknown[0]!r}, which is no slice. They are: {', '.join(known)}."
        )
    trained = [name for name in tokens if name not in only]
    able = {tokens[name] for name in trained}
    for name, token in tokens.items():
        if token not in able:
            raise ConfigError(
                f"slice {name!r} is not trained on, and no trained slice has its technology and panel "
                f"({token}). Train on it, or on another slice like it."
            )
    return trained
