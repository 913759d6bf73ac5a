"""Cell types on AnnData: carried over from labelled cells, or told by marker genes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from anndata import AnnData

from lloki import keys
from lloki._parts import joint_embedding, named, read_parts, record, write_column
from lloki.errors import InputError

if TYPE_CHECKING:
    from lloki.analysis import LabelTransfer

_REFERENCE = "\0reference"  # of the labelled reference among the slices; no slice has this name


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
    """Carry cell types from labelled slices to the others, with a confidence, and *unknown* where in doubt.

    Parameters
    ----------
    adatas
        All slices in one AnnData, as :func:`lloki.integrate` returns, or one AnnData each.
    label_key
        ``obs`` column of cell types. Cells without a value are labelled.
    sources
        Slices whose labels are used; default all that have any. All cells of the others are labelled, even
        those with a value.
    reference
        Labelled cells, such as scRNA-seq, with the same ``obsm[key]`` and ``obs[label_key]``.
    key
        ``obsm`` key of an embedding that all share.
    slice_key
        ``obs`` column that names the slices.
    k
        Labelled neighbours that vote.
    threshold
        Least confidence of a label.
    novelty
        A cell is unknown if it lies farther from labelled cells than all but this share of left-out ones.

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
            Near 0 for cells unlike all labelled ones; NaN where the label was given.
        ``uns["lloki"]["transfer_labels"]``
            Parameters, version, table, reliability curve and calibration error.

    Raises
    ------
    InputError
        If an embedding or the labels are absent, nothing is left to label, or there is no such source.
    ConfigError
        If a parameter is out of its range.

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
        raise InputError("no slice has the column", slot=slot, mend="Set label_key, or give a reference.")
    everyone = [*parts]
    if reference is not None:
        (known,) = read_parts([reference], slice_key=_REFERENCE)
        if (column := known.column(label_key)) is None:
            raise InputError("the column is absent", where="reference", slot=slot, mend="Set label_key.")
        everyone.append(type(known)(_REFERENCE, known.own, known.rows))
        columns[_REFERENCE] = column
    embedding = joint_embedding(everyone, key)
    said = [columns[p.name] for p in everyone]
    labels = np.concatenate([np.full(len(p.rows), "") if c is None else c for p, c in zip(everyone, said)])
    slices = np.repeat([p.name for p in everyone], [len(p.rows) for p in everyone])
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
        parts,
        "transfer_labels",
        parameters | {"threshold": threshold, "novelty": novelty, "reference": reference is not None},
        table=found.table,
        curve=found.curve,
        error=found.error,
        left_out=found.left_out,
    )
    return found
