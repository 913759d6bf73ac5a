"""A gene in space, in all slices."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

import numpy as np

from lloki import keys
from lloki.errors import InputError
from lloki.pl._slots import slices_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    import anndata as ad
    from matplotlib.figure import Figure


def gene(adata: ad.AnnData, gene: str, *, slice_key: str = keys.SLICE, layer: str | None = None) -> Figure:
    """Draw one gene where the cells lie, in all slices side by side on one color scale.

    Drawn is log(1 + counts scaled to the median total of the slice), the unit of LLOKI-FP. Platforms find
    different shares of the molecules that are there, and a total is over the genes of a panel: compare places
    within a slice, and patterns between slices, rather than heights between slices. A slice that did not
    measure the gene is gray and says so. The scale ends at the 99th percentile.

    Parameters
    ----------
    adata
        All slices in one, as :func:`lloki.integrate` returns (``varm["lloki_measured"]`` tells which slice
        measured the gene; without it, those with a count of it), or a single one; with counts and
        ``obsm["spatial"]``.
    gene
        One of ``var_names``.
    slice_key
        Column of ``obs`` that names the slices.
    layer
        Layer of counts, where ``X`` does not hold them.

    Raises
    ------
    InputError
        There is no such gene (near names are given), no slice measured it, or counts or positions are absent.
    """
    from lloki._parts import read_parts
    from lloki.fp import log_normalize
    from lloki.report import metagenes as figures

    if gene not in adata.var_names:
        raise InputError(
            f"there is no gene {gene!r}", slot="var_names", hint=_did_you_mean(gene, adata.var_names)
        )
    positions, values = {}, {}
    for part in read_parts(slices_of(adata, slice_key), slice_key=slice_key):
        positions[part.name] = part.positions()
        counts, measured = part.counts(layer)
        if gene in measured:
            column = log_normalize(counts)[:, [measured.index(gene)]]
            values[part.name] = np.asarray(column.toarray(), float).ravel()
    if not values:
        hint = "Choose a gene with counts, or estimate it with lloki.tl.impute."
        raise InputError(f"no slice here measured {gene!r}", slot="var_names", hint=hint)
    return figures.in_space(positions, values, label=f"{gene}, log(1 + normalized counts)")


def _did_you_mean(name: str, known: Iterable[str]) -> str:
    """Say which names are near, whatever their case: symbols of mouse and human differ by it."""
    names = {str(g).lower(): str(g) for g in known}
    near = [names[g] for g in difflib.get_close_matches(name.lower(), names, n=3)]
    if near:
        return f"Did you mean {' or '.join(map(repr, near))}?"
    return f"There are {len(names):,}, such as {', '.join(list(names.values())[:5])}."
