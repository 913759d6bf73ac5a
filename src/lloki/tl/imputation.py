"""Genes that a slice did not measure, on AnnData."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from anndata import AnnData

from lloki import keys
from lloki._names import free_name
from lloki.errors import ConfigError, GeneError, InputError, LlokiWarning
from lloki.tl._parts import Part, joint_embedding, named, read_parts, record

if TYPE_CHECKING:
    from lloki import analysis

_FEW = 8  # genes named in a message


def impute(
    adatas: AnnData | Sequence[AnnData],
    target: str,
    *,
    genes: Sequence[str] | None = None,
    donors: Sequence[str] | str | None = None,
    reference: AnnData | None = None,
    key: str = keys.JOINT,
    slice_key: str = keys.SLICE,
    layer: str | None = None,
    k: int = 30,
    least: float | None = 0.1,
    cells: int = 2000,
    seed: int = 0,
) -> AnnData:
    """Estimate genes that a slice did not measure, from its cells' neighbors in slices that did.

    Every gene is first tried where the truth is known, on the donors themselves, and is left out if that
    fails: what was not validated is not imputed, unless asked for, and never without a warning.

    Parameters
    ----------
    adatas
        All slices in one AnnData, as :func:`lloki.integrate` returns, or one AnnData each; with counts.
    target
        Name of the slice whose cells get values.
    genes
        Which; default all that a donor measured and the target did not.
    donors
        Names of the slices that lend; default all others.
    reference
        Further donor, such as scRNA-seq, with counts and the same ``obsm[key]``: what
        :func:`lloki.project_reference` returns. In tables it is called ``"reference"``.
    key
        ``obsm`` key of the joint embedding.
    slice_key
        ``obs`` column that names the slices.
    layer
        Layer of counts, where ``X`` does not hold them. Of a reference that lacks it, ``X`` is taken.
    k
        Neighbors in each donor.
    least
        Least hold-out score (Spearman) of a gene; ``None`` imputes all genes.
    cells
        Cells of each donor on which genes are tried.
    seed
        Of the draw of these.

    Returns
    -------
    AnnData
        A new one, so that estimates are never taken for measurements: the target's cells and the imputed
        genes. ``X`` (n, G) float32, log(1 + normalized counts) in the donors' unit; ``layers["sd"]`` the
        expected error of a cell's value, the spread among its neighbors scaled to the gene's error on the
        donors; ``var`` the hold-out table of :func:`lloki.analysis.held_out`, and for each donor the share of
        its cells that have a count of the gene, ``"detected in NAME"`` (NaN: not measured). A donor that
        hardly finds a gene counts like any other, and draws the level down: look there before you compare
        values, and choose ``donors``. ``uns["lloki"]["impute"]`` has the parameters and the table of genes
        that were left out.

    Raises
    ------
    InputError
        If a slice, an embedding or counts are absent.
    GeneError
        If no donor measured any of the genes, or none passes.
    ConfigError
        If a parameter is out of its range.

    Warns
    -----
    LlokiWarning
        Of genes left out, of genes that were tried within one slice only, and of genes imputed without having
        passed.

    Notes
    -----
    Method, time and memory are those of :func:`lloki.analysis.impute`; the result takes 8·n·G bytes.
    """
    from lloki import analysis

    if cells < 2 or k < 1:
        raise ConfigError(f"cells must be at least 2 and k at least 1, got {cells} and {k}")
    parts = read_parts(adatas, slice_key=slice_key)
    (aim,) = named(parts, target)
    lenders = [part for part in named(parts, donors) if part is not aim]
    if reference is not None:
        (known,) = read_parts([reference], slice_key="\0")
        lenders.append(Part(free_name("reference", [part.name for part in parts]), known.own, known.rows))
    if not lenders:
        raise InputError(
            "no other slice to impute from", where=target, hint="Name donors, or give a reference."
        )
    joint_embedding([aim, *lenders], key)
    given = [_donor(part, key, layer, lone=part.own is reference) for part in lenders]
    wanted = _wanted(genes, given, aim, layer)
    table = analysis.held_out(given, wanted, k=k, cells=cells, seed=seed)
    table = table.join(analysis.detection(given, wanted))
    passed = (table["score"] >= (-np.inf if least is None else least)) | (least is None)
    _warn(table, passed, least)
    if not passed.any():
        raise GeneError(
            f"none of {len(table)} genes can be imputed: no hold-out score reaches {least}",
            where=target,
            hint="Set --keep-all (least=None) to get them all the same, and do not believe them.",
        )
    kept = table[passed]
    mean, sd = analysis.impute(aim.embedding(key), given, list(kept.index), k=k)
    out = AnnData(X=mean, obs=aim.own.obs.iloc[aim.rows].copy(), var=kept)
    out.layers["sd"] = sd * kept["spread"].fillna(1.0).to_numpy(np.float32)
    for slot in (key, keys.SPATIAL):
        if slot in aim.own.obsm:
            out.obsm[slot] = np.asarray(aim.own.obsm[slot])[aim.rows]
    parameters = {"target": target, "donors": [d.name for d in given], "key": key, "k": k, "least": least}
    record([out], "impute", parameters | {"cells": cells, "seed": seed}, left_out=table[~passed])
    return out


def _donor(part: Part, key: str, layer: str | None, *, lone: bool) -> analysis.Donor:
    from lloki import analysis
    from lloki.fp import log_normalize

    counts, genes = part.counts(None if lone and layer not in part.own.layers else layer)
    return analysis.Donor(part.name, log_normalize(counts), tuple(genes), part.embedding(key))


def _wanted(
    genes: Sequence[str] | None, given: Sequence[analysis.Donor], aim: Part, layer: str | None
) -> list[str]:
    there = {gene for donor in given for gene in donor.genes}
    if genes is None:
        wanted = sorted(there - set(aim.counts(layer)[1]))
        if not wanted:
            raise GeneError("the donors measured no further gene", where=aim.name, hint="Name the genes.")
        return wanted
    asked = [genes] if isinstance(genes, str) else list(dict.fromkeys(genes))
    if not asked:
        raise GeneError("no gene was asked for", where=aim.name, hint="Name some, or leave genes out.")
    lost = [gene for gene in asked if gene not in there]
    if lost:
        hint = "Leave them out, or add donors that measured them."
        raise GeneError(f"no donor measured {_few(lost)}", where=aim.name, hint=hint)
    return asked


def _warn(table: pd.DataFrame, passed: pd.Series, least: float | None) -> None:
    from lloki import analysis

    said = []
    if (~passed).any():
        names = _few(table.index[~passed])
        said.append(
            f"{int((~passed).sum())} genes left out, hold-out score below {least} or unknown: {names}."
        )
    kept = table[passed]
    within = kept.index[kept["validated"] == analysis.WITHIN]
    if len(within):
        text = "tried within the one slice that measured them, not across slices"
        said.append(f"{len(within)} genes were {text}: {_few(within)}.")
    blind = kept.index[kept["validated"] == analysis.NOT]
    if len(blind):
        said.append(f"{len(blind)} genes are imputed without any validation: {_few(blind)}.")
    for text in said:
        warnings.warn(text, LlokiWarning, stacklevel=3)


def _few(names: Sequence[str] | pd.Index) -> str:
    more = len(names) - _FEW
    return ", ".join(map(str, names[:_FEW])) + (f" and {more} more" if more > 0 else "")
