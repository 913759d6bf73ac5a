"""Cell types transferred from labeled cells, on AnnData."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray
from scipy import sparse

from lloki import keys
from lloki._keywords import keywords
from lloki._missing import stands_for_missing
from lloki._parts import Part, joint_embedding, named, owners, read_parts, record, write_column
from lloki.errors import InputError, LlokiWarning, VocabularyError

if TYPE_CHECKING:
    from lloki.analysis import LabelTransfer

_ENOUGH, _LOW_RECALL = 10, 0.2  # tested cells that a type needs for a warning, and the recall that causes it
_SHOWN = 4  # names in a message
_REFERENCE = "\0reference"  # of the labeled reference among the slices; no slice has this name


@keywords
def transfer_labels(
    adatas: AnnData | Sequence[AnnData],
    *,
    label_key: str,
    sources: Sequence[str] | str | None = None,
    reference: AnnData | None = None,
    label_map: str | Path | pd.DataFrame | Mapping[str, str] | None = None,
    parents: str | Path | pd.DataFrame | Mapping[str, str] | None = None,
    use_rep: str = keys.JOINT,
    slice_key: str = keys.SLICE,
    method: str = "auto",
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
    label_map
        Common names of types where sources name them differently: a CSV file or frame with the columns name,
        common_name and, if wanted, source; or name → common name. Without it, sources whose cells lie
        together under different names are rejected; the error suggests a map.
    parents
        Groups of types, for cells whose type is uncertain: a CSV file or frame with the columns type and
        group, type → group, or the name of an ``obs`` column of groups.
    use_rep
        ``obsm`` key of the joint embedding. If it is the default, ``obsm["X_lloki_fp"]``, the embedding
        before batch alignment, is read as well, if all have it.
    slice_key
        ``obs`` column that names the slices, as squidpy's ``library_key``.
    method
        Head that predicts: ``"neighbors"``, ``"joint"``, ``"before"``, ``"genes"`` or their ``"average"``;
        ``"auto"`` is the one that labels left-out sources best. ``"before"`` needs ``obsm["X_lloki_fp"]``,
        ``"genes"`` counts in ``layers["counts"]`` or ``X``.
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
            Cell type: that of the source where it had one, else the transferred one, the group of
            ``parents`` that holds it, or ``"unknown"``.
        ``obs["lloki_label_best"]``
            The same without *unknown*: the most likely type, whatever its confidence.
        ``obs["lloki_label_confidence"]``
            Probability that the label (the most likely type, where it is unknown) is correct if the cell's
            type is among those known; NaN where it was given.
        ``obs["lloki_label_novelty"]``
            Near 0 for cells unlike all labeled ones; NaN where the label was given.
        ``uns["lloki"]["transfer_labels"]``
            Parameters, version, table, reliability curve, calibration error, head and how all heads did.

    Raises
    ------
    InputError
        If an embedding or the labels are absent, no cell is left to label, there is no such source, or a map
        cannot be read or has no name that a source uses.
    VocabularyError
        If cells of two sources lie together under different names, and there is no ``label_map``.
    ConfigError
        If a parameter is out of its range, or there is no such head.

    Warns
    -----
    LlokiWarning
        If the sources do not show what a step to another slice or technology costs, so that confidences are
        lowered by what it cost on other data; for types of low recall, and types that could not be tested.

    Notes
    -----
    Method, time and memory are those of :func:`lloki.analysis.transfer_labels`.
    """
    from lloki import analysis

    parts = read_parts(adatas, slice_key=slice_key)
    allowed = {part.name for part in named(parts, sources)}
    names_of = None if label_map is None else analysis.read_label_map(label_map)
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
    groups = _groups(everyone, label_key, parents)
    given = [columns[name] for name in names]
    labels = np.concatenate([np.full(len(p.rows), "") if c is None else c for p, c in zip(everyone, given)])
    unknown = stands_for_missing(labels) & (labels != "")
    if unknown.any():
        called = ", ".join(map(repr, sorted(set(labels[unknown].tolist()))))
        text = f"{int(unknown.sum())} cells are {called} in {slot}: treated as cells without a label."
        warnings.warn(text, LlokiWarning, stacklevel=3)
        labels = np.where(unknown, "", labels)
    _check_types(labels, slot)
    slices = np.repeat(names, [len(p.rows) for p in everyone])
    usable = np.concatenate([p.usable for p in everyone])
    embedding, before = joint_embedding(everyone, use_rep), None
    if use_rep == keys.JOINT and all(keys.FP in p.own.obsm for p in everyone):
        before = joint_embedding(everyone, keys.FP)
    if names_of is None:
        _check_vocabularies(embedding, labels, slices, usable)
    else:
        labels = _renamed(labels, slices, names_of)
    options: dict[str, Any] = {
        "method": method,
        "n_neighbors": n_neighbors,
        "threshold": threshold,
        "novelty": novelty,
    }
    found = analysis.transfer_labels(
        embedding,
        labels,
        slices,
        before=before,
        counts=_counts(everyone, names),
        batches=_batches(everyone),
        method=method,
        parents=groups,
        n_neighbors=n_neighbors,
        threshold=threshold,
        novelty=novelty,
        usable=usable,
    )
    mine = slices != _REFERENCE
    above = sorted({g for g in groups.values() if g} - set(found.types))
    categories = [*found.types, *above, analysis.UNKNOWN]
    write_column(parts, key_added, found.labels[mine], categories=categories)
    write_column(parts, f"{key_added}_best", found.best[mine], categories=[*found.types, analysis.UNKNOWN])
    write_column(parts, f"{key_added}_confidence", found.confidence[mine])
    write_column(parts, f"{key_added}_novelty", found.novelty[mine])
    inputs: dict[str, Any] = {
        "label_key": label_key,
        "sources": sorted(allowed),
        "reference": reference is not None,
    }
    if names_of is not None:
        inputs["label_map"] = [[*key, value] for key, value in names_of.items()]
    if groups:
        inputs["parents"] = groups
    record(
        owners(parts),
        "transfer_labels",
        inputs | options | {"use_rep": use_rep, "key_added": key_added},
        table=found.table,
        curve=found.curve,
        error=found.error,
        left_out=found.left_out,
        method=found.method,
        tried=found.tried,
        widened=found.widened,
    )
    _warn(found)
    return found


def _check_types(labels: NDArray, slot: str) -> None:
    """Refuse names and measures of cells in place of types; warn where there is one type only."""
    from lloki.io.cells import are_names

    known = labels[labels != ""]
    kinds = np.unique(known)
    if are_names(len(kinds), len(known)):
        raise InputError(
            f"{len(kinds):,} labels for {len(known):,} cells: names or measures of cells rather than types",
            slot=slot,
            hint="Name a column of cell types with label_key (--label-key).",
        )
    if len(kinds) == 1:
        text = (
            f"{slot} names one type only, {str(kinds[0])!r}: whatever resembles its cells gets the name, and "
            "how often that is right cannot be tested."
        )
        warnings.warn(text, LlokiWarning, stacklevel=4)


def _check_vocabularies(
    embedding: NDArray, labels: NDArray[np.str_], slices: NDArray[np.str_], usable: NDArray[np.bool_]
) -> None:
    """Reject sources that have two names for one type.

    Raises
    ------
    VocabularyError
        If they do.
    """
    from lloki import analysis

    some = (labels != "") & usable
    each = {str(s): set(labels[some & (slices == s)]) for s in np.unique(slices[some])}
    if len(each) < 2 or len(set(map(frozenset, each.values()))) == 1:
        return
    where = np.where(slices == _REFERENCE, "reference", slices)
    table = analysis.suggest_label_map(embedding[some], labels[some], where[some])
    same = analysis.conflicts(table)
    if not len(same):
        apart = [(a, b) for a, b in combinations(each, 2) if analysis.share_few(each[a], each[b])]
        for a, b in (("reference" if n == _REFERENCE else n for n in pair) for pair in apart[:_SHOWN]):
            text = (
                f"{a} and {b} have few names of types in common. Their cells do not lie together, so all are "
            )
            text += "taken for different types; if some are not, give label_map (--label-map)."
            warnings.warn(text, LlokiWarning, stacklevel=4)
        return
    shown = [f"{r.name!r} of {r.source} is {r.common_name!r}" for r in _rows_of(same.head(_SHOWN))]
    more = f" and {len(same) - _SHOWN} more" if len(same) > _SHOWN else ""
    error = VocabularyError(
        f"sources name types differently; by where their cells lie, {', '.join(shown)}{more}",
        slot="labels",
        hint="Give a map from names to common ones: label_map (--label-map). A suggested one is in this "
        "error's attribute 'suggested'. To keep two types apart, map each name to itself.",
    )
    error.suggested = table
    raise error


def _rows_of(table: pd.DataFrame) -> list[Any]:
    return [SimpleNamespace(**{str(k): v for k, v in row.items()}) for row in table.to_dict("records")]


def _renamed(
    labels: NDArray[np.str_], slices: NDArray[np.str_], names: Mapping[tuple[str, str], str]
) -> NDArray[np.str_]:
    """Labels by their common names.

    Raises
    ------
    InputError
        If the map has no name that a source uses.
    """
    from lloki import analysis

    out, hit = labels.astype(object), False
    for name in np.unique(slices):
        own, source = slices == name, "reference" if name == _REFERENCE else str(name)
        hit |= any((key in names) for v in np.unique(labels[own]) for key in ((source, str(v)), ("", str(v))))
        out[own] = analysis.rename(labels[own], source, names)
    if not hit:
        listed = ", ".join(sorted({name for _, name in names})[:_SHOWN])
        there = ", ".join(sorted(set(labels[labels != ""]))[:_SHOWN])
        hint = f"It maps {listed}; the sources' types are {there}."
        raise InputError("has no name that a source uses", where="label_map", hint=hint)
    return out.astype(str)


def _groups(
    parts: Sequence[Part], label_key: str, parents: str | Path | pd.DataFrame | Mapping[str, str] | None
) -> dict[str, str]:
    """Type → group, from a table or from pairs of two columns.

    Raises
    ------
    InputError
        If a type is in two groups, or there is neither such a column nor such a file.
    """
    from lloki import analysis

    if parents is None:
        return {}
    if not isinstance(parents, str) or all(parents not in p.own.obs for p in parts):
        return analysis.read_parents(parents)
    pairs = [
        pd.DataFrame({"type": p.column(label_key), "group": p.column(parents)})
        for p in parts
        if label_key in p.own.obs and parents in p.own.obs
    ]
    found = pd.concat(pairs).drop_duplicates() if pairs else pd.DataFrame({"type": [], "group": []})
    return analysis.read_parents(found[(found["type"] != "") & (found["group"] != "")])


def _counts(parts: Sequence[Part], names: Sequence[str]) -> dict[str, tuple[sparse.csr_matrix, list[str]]]:
    """Read the counts of the slices that hold any: a layer of that name, or X."""
    found = {}
    for part, name in zip(parts, names):
        layer = keys.COUNTS if keys.COUNTS in part.own.layers else None
        with warnings.catch_warnings(), suppress(InputError):  # without counts, one head fewer is tried
            warnings.simplefilter("ignore", LlokiWarning)
            found[name] = part.counts(layer)
    return found


def _batches(parts: Sequence[Part]) -> NDArray[np.str_] | None:
    """(n,) technology and panel of each cell, if all slices record it; single cells are one more."""
    columns = []
    for part in parts:
        column = part.column(keys.TOKEN)
        if column is None and part.name != "reference":
            return None
        columns.append(np.full(len(part.rows), _REFERENCE) if column is None else column)
    return np.concatenate(columns)


def _warn(found: LabelTransfer) -> None:
    """Warn of labels that are not reliable."""
    assigned = found.table[found.table["n_assigned"] > 0]
    texts = []
    if found.widened:
        texts.append(
            "labels come from one slice or one technology, so what the step to other slices costs cannot be "
            "measured. Confidences are lowered by what it cost on other data; they are off by about "
            f"{found.error:.2f}. Add a second labeled slice or a reference."
        )
    elif found.left_out == "cells":
        texts.append("labels come from one slice: they are calibrated for that slice alone.")
    low = assigned.loc[(assigned["n_tested"] >= _ENOUGH) & (assigned["recall"] < _LOW_RECALL), "type"]
    if len(low):
        texts.append(f"recall of {', '.join(low)} is below {_LOW_RECALL:g}: verify these labels by markers.")
    untested = assigned.loc[assigned["n_tested"] == 0, "type"]
    if len(untested):
        texts.append(f"{', '.join(untested)}: only one source has these types, so they could not be tested.")
    for text in texts:
        warnings.warn(text, LlokiWarning, stacklevel=4)
