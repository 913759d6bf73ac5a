"""Counts of an AnnData: from X or a layer, in one canonical form, refused where they are not counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from lloki.errors import InputError
from lloki.genes import is_measurement
from lloki.io._findings import Findings, number, some
from lloki.io.scale import ScaleName, doubt_of_counts, infer_scale, recover_counts, round_counts, undo_log

RAW = "raw"  # the name under which adata.raw can be asked for as a layer
_PEEK = 200  # cells that a hint looks at


@dataclass(frozen=True)
class Counts:
    """Values of one input.

    Attributes
    ----------
    x
        (n, g) csr float32, finite, >= 0, canonical: sorted, no duplicates, no stored zeros.
    var
        (g rows) the var that belongs to ``x``: ``adata.raw.var`` where ``adata.raw`` was asked for.
    scale
        What the file holds, before anything was undone: ``"counts"``, ``"log-normalized"`` or
        ``"normalized"``.
    slot
        Where in the file: ``X``, ``layers['counts']``, ``raw.X``.
    """

    x: sparse.csr_matrix
    var: pd.DataFrame
    scale: str
    slot: str


def read_counts(
    adata: AnnData,
    findings: Findings,
    *,
    layer: str | None,
    allow_normalized: bool,
    option: str = "layer",
) -> Counts:
    """Take the counts out of an AnnData, and infer their scale.

    Parameters
    ----------
    adata
        The input; not changed.
    findings
        Gets a message for everything corrected.
    layer
        Layer to take them from; ``"raw"`` is ``adata.raw`` unless a layer has that name; ``None`` is ``X``.
    allow_normalized
        Accept log-normalized and normalized values. Logarithms are undone, exactly where the values show how
        they were made, so that what is returned is always on a linear, count-like scale.

    option
        Name of the parameter that the caller gives the layer by, for the hints.

    Raises
    ------
    InputError
        If there are no values, if they are not numbers, NaN, infinite or negative (z-scores have no zeros,
        hence no sparsity to align, and cannot be undone: ``allow_normalized`` does not admit them), or
        normalized when that is not allowed. The message says which layer holds counts, if one does.
    """
    slot, values, var = _choose(adata, findings.where, layer, option)
    if 0 in adata.shape:
        what = "no cells" if adata.n_obs == 0 else "no genes"
        raise InputError(f"holds {what}", where=findings.where, slot=slot, hint="Leave this input out.")
    x = _canonical(values, findings.where, slot)
    if (other := is_measurement(var.index)).any():  # emptied, not to be judged as counts; left out later
        x = sparse.csr_matrix(x @ sparse.diags((~other).astype(np.float32)))
        x.eliminate_zeros()
    if x.nnz == 0:
        raise InputError(
            "holds zeros only",
            where=findings.where,
            slot=slot,
            hint=hint_of_counts(adata, slot, option) or "Give a slice with counts.",
        )
    scale = infer_scale(x)
    if scale == "scaled":
        raise _negative(x, adata, findings.where, slot, option)
    if scale == "counts":
        x, fractions = round_counts(x)
        if fractions:
            findings.corrected(f"{slot} is no whole number in {number(fractions, 'value')}; kept as counts")
        if doubt := doubt_of_counts(x):
            findings.corrected(f"{slot} holds whole numbers, but {doubt}; kept as counts")
    elif scale == "proportional to counts":
        findings.corrected(
            f"{slot} holds counts divided by volume, area or library size; whole counts were recovered, each "
            "cell divided by the value of its single count"
        )
        x, scale = recover_counts(x), "counts"
    elif not allow_normalized:
        raise InputError(
            f"{'looks log-normalized' if scale == 'log-normalized' else 'holds fractions'}, not counts "
            f"(for example {', '.join(f'{value:.4g}' for value in x.data[:3])}; largest {x.data.max():.4g})",
            where=findings.where,
            slot=slot,
            hint=hint_of_counts(adata, slot, option)
            or "Give raw counts, or accept these values, such as expected counts, with "
            "allow_normalized=True (--allow-normalized).",
        )
    else:
        x, done = (
            undo_log(x) if scale == "log-normalized" else (x, "the values are used as if they were counts")
        )
        x.eliminate_zeros()
        findings.corrected(f"{slot} is {scale}, accepted as asked; {done}")
    return Counts(x, var, scale, slot)


def require_counts(x: sparse.csr_matrix, adata: AnnData, *, where: str, slot: str) -> bool:
    """Refuse values that are evidently not counts, by the rules by which slices are read.

    Parameters
    ----------
    x
        (n, g) finite values of one slice, >= 0.
    adata
        The AnnData they are of, in which counts may be elsewhere.
    where, slot
        Slice and slot, for the message.

    Returns
    -------
    bool
        Whether they are counts; else they are fractions without evidence of any normalization, which an
        integration of values accepted as such leaves.

    Raises
    ------
    InputError
        If they are normalized or logarithms. The message says where there are counts, if anywhere.
    """
    if x.nnz and not x.data.all():
        x = x.copy()
        x.eliminate_zeros()
    scale = infer_scale(x)
    if scale in ("proportional to counts", "log-normalized"):
        raise InputError(
            f"holds {'logarithms' if scale == 'log-normalized' else 'normalized values'}, not counts",
            where=where,
            slot=slot,
            hint=hint_of_counts(adata, slot) or "Give raw counts, in X or a layer.",
        )
    return scale == "counts"


def _choose(adata: AnnData, where: str, layer: str | None, option: str) -> tuple[str, Any, pd.DataFrame]:
    if layer is None:
        slot, values, var = "X", adata.X, adata.var
    elif layer in adata.layers:
        slot, values, var = f"layers['{layer}']", adata.layers[layer], adata.var
    elif layer == RAW and adata.raw is not None:
        slot, values, var = "raw.X", adata.raw.X, adata.raw.var
    else:
        layers = _layers(adata)
        known = f"Its layers: {some(layers)}." if layers else "It has no layers; leave layer out."
        raise InputError(f"has no layer {layer!r}", where=where, slot="layers", hint=known)
    if values is None:
        raise InputError(
            "is empty",
            where=where,
            slot=slot,
            hint=hint_of_counts(adata, slot, option) or "Put raw counts there.",
        )
    return slot, values, var


def _layers(adata: AnnData) -> dict[str, Any]:
    """Layers by name; since anndata 0.13, X is a layer too, whose name is None."""
    return {name: values for name, values in adata.layers.items() if name is not None}


def _canonical(values: Any, where: str, slot: str) -> sparse.csr_matrix:
    values = values.compute() if hasattr(values, "compute") else values  # dask, from lazily read stores
    if np.ma.is_masked(values):
        raise InputError(
            f"is masked in {number(int(np.ma.count_masked(values)), 'value')}",
            where=where,
            slot=slot,
            hint="A missing measurement is not a zero: remove those genes or cells, or fill in the counts.",
        )
    if getattr(values, "dtype", np.dtype(object)).kind not in "buif":
        raise InputError(
            f"holds values that are not numbers ({getattr(values, 'dtype', type(values).__name__)})",
            where=where,
            slot=slot,
            hint="Turn them into numbers: adata.X = adata.X.astype('float32').",
        )
    try:
        # Always a copy: what the caller holds in memory must stay as it is.
        x = sparse.csr_matrix(values, dtype=np.float32, copy=True)
        x.check_format(full_check=True)
    except (ValueError, TypeError) as error:
        raise InputError(
            f"is not a valid matrix ({error})", where=where, slot=slot, hint="Save it again."
        ) from error
    x.sum_duplicates()
    x.eliminate_zeros()
    bad = int((~np.isfinite(x.data)).sum())
    if bad:
        raise InputError(
            f"is NaN or infinite in {number(bad, 'value')}",
            where=where,
            slot=slot,
            hint="A missing measurement is not a zero: remove those genes or cells, or fill in the counts. "
            "If ad.concat joined several panels: give each slice on its own, or join with fill_value=0 and "
            "cut by slice_key.",
        )
    return x


def _negative(x: sparse.csr_matrix, adata: AnnData, where: str, slot: str, option: str) -> InputError:
    count, whole = int((x.data < 0).sum()), bool((x.data == np.rint(x.data)).all())
    looks = "holds" if whole else "looks scaled (z-scores): it holds"
    hint = hint_of_counts(adata, slot, option) or "Give raw counts; scaling cannot be undone."
    lowest = f"lowest {x.data.min():.4g}"
    return InputError(
        f"{looks} {number(count, 'negative value')} ({lowest})", where=where, slot=slot, hint=hint
    )


def hint_of_counts(adata: AnnData, slot: str, option: str = "layer") -> str:
    """Where in the same file there are counts, as advice; ``""`` if nowhere."""
    places = {f"layers['{name}']": (name, values) for name, values in _layers(adata).items()}
    if adata.raw is not None:
        places["raw.X"] = (RAW, adata.raw.X)
    if adata.X is not None and slot != "X":
        places["X"] = ("", adata.X)
    for place, (name, values) in places.items():
        if place != slot and _looks_like_counts(values):
            how = f"Pass {option}={name!r} (--{option.replace('_', '-')} {name})."
            return f"{place} holds counts. {how if name else f'Leave {option} out.'}"
    for name, values in adata.obsm.items():
        named = "count" in name.lower() and np.ndim(values) == 2
        if (named or np.shape(values)[1:] == (adata.n_vars,)) and _looks_like_counts(np.asarray(values)):
            place = f"obsm['{name}']"
            if np.shape(values)[1] == adata.n_vars:
                return f"{place} holds counts. Make it a layer: adata.layers['counts'] = adata.{place}."
            return f"{place} holds counts, of {np.shape(values)[1]:,} genes. Make an AnnData of them."
    return ""


def _looks_like_counts(values: Any) -> bool:
    if getattr(values, "dtype", np.dtype(object)).kind not in "buif":
        return False
    x = values[:_PEEK]
    x = sparse.csr_matrix(x.compute() if hasattr(x, "compute") else x, dtype=np.float32)
    x.eliminate_zeros()
    scale: ScaleName = infer_scale(x) if np.isfinite(x.data).all() else "scaled"
    return bool(x.nnz) and scale == "counts"
