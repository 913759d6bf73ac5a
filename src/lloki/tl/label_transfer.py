"""Cell types transferred from labeled cells, on AnnData."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from anndata import AnnData

from lloki import keys
from lloki._keywords import keywords
from lloki._missing import stands_for_missing
from lloki._parts import Part, joint_embedding, named, owners, read_parts, record, write_column
from lloki.errors import InputError, LlokiWarning

if TYPE_CHECKING:
    from lloki.analysis import LabelTransfer

_ENOUGH, _LOW_RECALL = 10, 0.2  # tested cells that a type needs for a warning, and the recall that causes it
_REFERENCE = "\0reference"  # of the labeled reference among the slices; no slice has this name


@keywords
def transfer_labels(
    adatas: AnnData | Sequence[AnnData],
    *,
    label_key: str,
    sources: Sequence[str] | str | None = None,
    reference: AnnData | None = None,
    use_rep: str = keys.JOINT,
    slice_key: str = keys.SLICE,
    n_neighbors: int = 15,
    threshold: float = 0.5,
    novelty: float = 0.01,
    key_added: str = keys.LABEL,
) -> LabelTransfer:
    """Transfer cell types from labeled cells to the others, with a calibrated confidence.

    Parameters
    ----------
    adatas
        All slices in one AnnData, as :func:`lloki.integrate` returns, or one AnnData each.
    label_key
        ``obs`` column of cell types. Cells without a value are labeled.
    sources
        Slices to take labels from; default all that have any. All cells of the others are labeled, even those
        with a value.
    reference
        Additional labeled cells, such as scRNA-seq, with the same ``obsm[use_rep]`` and ``obs[label_key]``.
    use_rep
        ``obsm`` key of the joint embedding.
    slice_key
        ``obs`` column that names the slices, as squidpy's ``library_key``.
    n_neighbors
        Number of labeled neighbors that vote.
    threshold
        Minimum confidence of a label.
    novelty
        A cell is unknown if it is farther from labeled cells than all but this share of left-out cells.
    key_added
        Name of the ``obs`` column of labels, and prefix of the others.

    Returns
    -------
    LabelTransfer
        The whole result; ``.table`` shows how well each type can be transferred. Cells are in the order of
        the slices, those of the reference last. Written into ``adatas``:

        ``obs["lloki_label"]``
            Cell type: that of the source where it had one, else the transferred one or ``"unknown"``.
        ``obs["lloki_label_best"]``
            The same without *unknown*: the most likely type, whatever its confidence.
        ``obs["lloki_label_confidence"]``
            Probability that it is correct if the cell's type is among those known; NaN where it was given.
        ``obs["lloki_label_novelty"]``
            Near 0 for cells unlike all labeled ones; NaN where the label was given.
        ``uns["lloki"]["transfer_labels"]``
            Parameters, version, table, reliability curve and calibration error.

    Raises
    ------
    InputError
        If an embedding or the labels are absent, no cell is left to label, or there is no such source.
    ConfigError
        If a parameter is out of its range.

    Warns
    -----
    LlokiWarning
        If all labels come from one source, so that differences between sources are not calibrated; for types
        of low recall, and types that could not be tested.

    Notes
    -----
    Method, time and memory are those of :func:`lloki.analysis.transfer_labels`.
    """
    from lloki import analysis

    parts = read_parts(adatas, slice_key=slice_key)
    allowed = {part.name for part in named(parts, sources)}
    columns = {part.name: part.labels(label_key) if part.name in allowed else None for part in parts}
    slot = f"obs[{label_key!r}]"
    if reference is None and all(column is None for column in columns.values()):
        raise InputError("no slice has the column", slot=slot, hint="Set label_key, or give a reference.")
    everyone, names = [*parts], [part.name for part in parts]
    if reference is not None:
        (known,) = read_parts([reference], slice_key=_REFERENCE)
        if (column := known.labels(label_key)) is None:
            raise InputError("the column is absent", where="reference", slot=slot, hint="Set label_key.")
        everyone.append(Part("reference", known.own, known.rows))
        names.append(_REFERENCE)
        columns[_REFERENCE] = column
    embedding = joint_embedding(everyone, use_rep)
    given = [columns[name] for name in names]
    labels = np.concatenate([np.full(len(p.rows), "") if c is None else c for p, c in zip(everyone, given)])
    unknown = stands_for_missing(labels) & (labels != "")
    if unknown.any():
        called = ", ".join(map(repr, sorted(set(labels[unknown].tolist()))))
        text = f"{int(unknown.sum())} cells are {called} in {slot}: treated as cells without a label."
        warnings.warn(text, LlokiWarning, stacklevel=3)
        labels = np.where(unknown, "", labels)
    slices = np.repeat(names, [len(p.rows) for p in everyone])
    usable = np.concatenate([p.usable for p in everyone])
    options = {"n_neighbors": n_neighbors, "threshold": threshold, "novelty": novelty}
    found = analysis.transfer_labels(
        embedding,
        labels,
        slices,
        n_neighbors=n_neighbors,
        threshold=threshold,
        novelty=novelty,
        usable=usable,
    )
    mine = slices != _REFERENCE
    categories = [*found.types, analysis.UNKNOWN]
    write_column(parts, key_added, found.labels[mine], categories=categories)
    write_column(parts, f"{key_added}_best", found.best[mine], categories=categories)
    write_column(parts, f"{key_added}_confidence", found.confidence[mine])
    write_column(parts, f"{key_added}_novelty", found.novelty[mine])
    inputs = {"label_key": label_key, "sources": sorted(allowed), "reference": reference is not None}
    record(
        owners(parts),
        "transfer_labels",
        inputs | options | {"use_rep": use_rep, "key_added": key_added},
        table=found.table,
        curve=found.curve,
        error=found.error,
        left_out=found.left_out,
    )
    _warn(found)
    return found


def _warn(found: LabelTransfer) -> None:
    """Warn of labels that are not reliable."""
    assigned = found.table[found.table["n_assigned"] > 0]
    texts = []
    if found.left_out == "cells":
        texts.append(
            "labels come from one slice, so differences between slices are not calibrated: confidences are "
            "too high where slices differ. Add a second labeled slice or a reference."
        )
    low = assigned.loc[(assigned["n_tested"] >= _ENOUGH) & (assigned["recall"] < _LOW_RECALL), "type"]
    if len(low):
        texts.append(f"recall of {', '.join(low)} is below {_LOW_RECALL:g}: verify these labels by markers.")
    untested = assigned.loc[assigned["n_tested"] == 0, "type"]
    if len(untested):
        texts.append(f"{', '.join(untested)}: only one source has these types, so they could not be tested.")
    for text in texts:
        warnings.warn(text, LlokiWarning, stacklevel=4)
