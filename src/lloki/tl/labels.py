"""Cell types on AnnData: carried over from labeled cells, or told by marker genes."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from anndata import AnnData

from lloki import keys
from lloki.errors import ConfigError, InputError, LlokiWarning
from lloki.tl._parts import Part, joint_embedding, named, owners, read_parts, record, write_column

if TYPE_CHECKING:
    from lloki.analysis import LabelTransfer

_ENOUGH, _LOST = 10, 0.2  # known cells of a type to judge it by; share found again below which it is lost
_REFERENCE = "\0reference"  # of the labeled reference among the slices; no slice has this name


def transfer_labels(
    adatas: AnnData | Sequence[AnnData],
    *,
    label_key: str,
    sources: Sequence[str] | str | None = None,
    reference: AnnData | None = None,
    key: str = keys.JOINT,
    slice_key: str = keys.SLICE,
    k: int = 15,
    threshold: float = 0.5,
    novelty: float = 0.01,
) -> LabelTransfer:
    """Carry cell types from labeled slices to the others, with a confidence, and *unknown* where in doubt.

    Parameters
    ----------
    adatas
        All slices in one AnnData, as :func:`lloki.integrate` returns, or one AnnData each.
    label_key
        ``obs`` column of cell types. Cells without a value are labeled.
    sources
        Slices whose labels are used; default all that have any. All cells of the others are labeled, even
        those with a value.
    reference
        Labeled cells, such as scRNA-seq, with the same ``obsm[key]`` and ``obs[label_key]``.
    key
        ``obsm`` key of an embedding that all share.
    slice_key
        ``obs`` column that names the slices.
    k
        Labeled neighbors that vote.
    threshold
        Least confidence of a label.
    novelty
        A cell is unknown if it lies farther from labeled cells than all but this share of left-out ones.

    Returns
    -------
    LabelTransfer
        Everything known about it, ``.table`` with one row a type: can this type be carried over at all? Cells
        in the order of the slices, the reference's last. Written into ``adatas``:

        ``obs["lloki_label"]``
            Type, that of the source where it had one, else carried over, or ``"unknown"``.
        ``obs["lloki_label_best"]``
            The same without *unknown*: the likeliest type, believed or not.
        ``obs["lloki_label_confidence"]``
            Probability that it is right if its type is among those known; NaN where it was given.
        ``obs["lloki_label_novelty"]``
            Near 0 for cells unlike all labeled ones; NaN where the label was given.
        ``uns["lloki"]["transfer_labels"]``
            Parameters, version, table, reliability curve and calibration error.

    Raises
    ------
    InputError
        If an embedding or the labels are absent, nothing is left to label, or there is no such source.
    ConfigError
        If a parameter is out of its range.

    Warns
    -----
    LlokiWarning
        If the labels come from one source, whose confidence cannot know how sources differ; of types that
        were not found again where they are known, or could not be tried.

    Notes
    -----
    Method, time and memory are those of :func:`lloki.analysis.transfer_labels`.
    """
    from lloki import analysis

    parts = read_parts(adatas, slice_key=slice_key)
    allowed = {part.name for part in named(parts, sources)}
    columns = {part.name: part.column(label_key) if part.name in allowed else None for part in parts}
    slot = f"obs[{label_key!r}]"
    if reference is None and all(column is None for column in columns.values()):
        raise InputError("no slice has the column", slot=slot, hint="Set label_key, or give a reference.")
    everyone, names = [*parts], [part.name for part in parts]
    if reference is not None:
        (known,) = read_parts([reference], slice_key=_REFERENCE)
        if (column := known.column(label_key)) is None:
            raise InputError("the column is absent", where="reference", slot=slot, hint="Set label_key.")
        everyone.append(Part("reference", known.own, known.rows))
        names.append(_REFERENCE)
        columns[_REFERENCE] = column
    embedding = joint_embedding(everyone, key)
    said = [columns[name] for name in names]
    labels = np.concatenate([np.full(len(p.rows), "") if c is None else c for p, c in zip(everyone, said)])
    if doubted := int((labels == analysis.UNKNOWN).sum()):
        text = f"{doubted} cells are called {analysis.UNKNOWN!r} in {slot}: taken as cells without a label."
        warnings.warn(text, LlokiWarning, stacklevel=2)
    slices = np.repeat(names, [len(p.rows) for p in everyone])
    usable = np.concatenate([p.usable for p in everyone])
    found = analysis.transfer_labels(
        embedding, labels, slices, k=k, threshold=threshold, novelty=novelty, usable=usable
    )
    mine = slices != _REFERENCE
    kinds = [*found.types, analysis.UNKNOWN]
    write_column(parts, keys.LABEL, found.labels[mine], categories=kinds)
    write_column(parts, keys.LABEL_BEST, found.best[mine], categories=kinds)
    write_column(parts, keys.LABEL_CONFIDENCE, found.confidence[mine])
    write_column(parts, keys.LABEL_NOVELTY, found.novelty[mine])
    parameters = {"label_key": label_key, "sources": sorted(allowed), "key": key, "k": k}
    record(
        owners(parts),
        "transfer_labels",
        parameters | {"threshold": threshold, "novelty": novelty, "reference": reference is not None},
        table=found.table,
        curve=found.curve,
        error=found.error,
        left_out=found.left_out,
    )
    _warn(found)
    return found


def _warn(found: LabelTransfer) -> None:
    """Say which labels are not to be believed."""
    told = found.table[found.table["told"] > 0]
    said = []
    if found.left_out == "cells":
        text = "labels come from one slice, whose confidence does not know how slices differ: it is too high"
        said.append(f"{text} where they do. A second labeled slice or a reference fixes that.")
    lost = told.loc[(told["tested"] >= _ENOUGH) & (told["recall"] < _LOST), "type"]
    if len(lost):
        text = f"of known cells of {', '.join(lost)} fewer than 1 in {round(1 / _LOST)} were found again"
        said.append(f"{text}: look for markers before believing these labels.")
    untried = told.loc[told["tested"] == 0, "type"]
    if len(untried):
        said.append(f"{', '.join(untried)}: one source alone has them, so they could not be tried.")
    for text in said:
        warnings.warn(text, LlokiWarning, stacklevel=3)


def annotate_by_markers(
    adatas: AnnData | Sequence[AnnData],
    markers: str | Path | Mapping[str, Any] | pd.DataFrame,
    *,
    key: str = keys.JOINT,
    slice_key: str = keys.SLICE,
    layer: str | None = None,
    k: int = 15,
    threshold: float = 0.5,
    fold: float = 1.5,
    dispersion: float = 0.3,
) -> pd.DataFrame:
    """Tell cell types by marker genes, in slices without labels and whatever markers their panels have.

    Each slice is read by itself first, then the answers are averaged over neighbors in the joint embedding:
    a type whose markers one panel lacks is told by neighbors from slices that have them.

    Parameters
    ----------
    adatas
        All slices in one AnnData, as :func:`lloki.integrate` returns, or one AnnData each; with counts.
    markers
        A ``.csv`` file or frame with columns type, positive and, if wanted, negative (genes separated by
        ``;``); or type → genes, those with ``-`` before them being negative. See
        :meth:`lloki.analysis.MarkerTable.read`.
    key
        ``obsm`` key of the joint embedding.
    slice_key
        ``obs`` column that names the slices.
    layer
        Layer of counts, where ``X`` does not hold them.
    k
        Neighbors to average over; 0 tells each cell by its own counts alone, and needs no embedding.
    threshold
        A cell whose likeliest type has a lower probability is *unknown*.
    fold, dispersion
        Of :func:`lloki.analysis.marker_posterior`.

    Returns
    -------
    pandas.DataFrame
        One row a slice and type: markers in the panel, of how many; whether the panel can tell the type, and
        if not why; how far the markers stand out; cells told. Written into ``adatas``:

        ``obs["lloki_marker_type"]``, ``obs["lloki_marker_confidence"]``
            Type or ``"unknown"``, and its probability by the model. It is not calibrated: nothing is known to
            calibrate it with.
        ``uns["lloki"]["annotate_by_markers"]``
            Parameters, version and the table.

    Raises
    ------
    InputError
        If no slice measured a marker, the table cannot be read, or a slot is absent or holds no counts.
    ConfigError
        If a parameter is out of its range.

    Warns
    -----
    LlokiWarning
        Of types that no slice can tell: no cell will be called that.
    """
    from lloki import analysis
    from lloki.analysis import markers as telling

    if not 0 <= threshold <= 1 or k < 0:
        raise ConfigError(f"threshold must lie between 0 and 1 and k be at least 0, got {threshold} and {k}")
    table, parts = analysis.MarkerTable.read(markers), read_parts(adatas, slice_key=slice_key)
    counts = [part.counts(layer) for part in parts]
    telling.check(table, [genes for _, genes in counts])
    embedding = joint_embedding(parts, key) if k else None
    heard = [
        analysis.marker_posterior(x, genes, table, name=part.name, fold=fold, dispersion=dispersion)
        for part, (x, genes) in zip(parts, counts)
    ]
    lost = [t for i, t in enumerate(table.types) if not any(h.tellable[i] for h in heard)]
    if lost:
        text = f"no panel can tell {', '.join(lost)}: no cell is called so. See the table's notes."
        warnings.warn(text, LlokiWarning, stacklevel=2)
    p = np.concatenate([h.posterior for h in heard])
    if embedding is not None:
        p = telling.smooth(heard, embedding, k=k)
    names, confidence = telling.told(p, table.types, threshold=threshold)
    usable = np.concatenate([part.usable for part in parts])
    names[~usable], confidence[~usable] = analysis.UNKNOWN, 0.0
    frame = pd.concat([h.table for h in heard], ignore_index=True)
    ends = np.cumsum([len(part.rows) for part in parts])[:-1]
    frame["told"] = np.concatenate(
        [
            pd.Series(piece).value_counts().reindex(table.types, fill_value=0)
            for piece in np.split(names, ends)
        ]
    )
    write_column(parts, keys.MARKER_TYPE, names, categories=[*table.types, analysis.UNKNOWN])
    write_column(parts, keys.MARKER_CONFIDENCE, confidence)
    parameters = {"key": key, "k": k, "threshold": threshold, "fold": fold, "dispersion": dispersion}
    record(owners(parts), "annotate_by_markers", parameters, table=frame)
    return frame
