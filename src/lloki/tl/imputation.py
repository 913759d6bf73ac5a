"""Imputation of genes that a slice did not measure, on AnnData."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
from anndata import AnnData

from lloki import keys
from lloki._keywords import keywords
from lloki._names import free_name
from lloki._parts import Part, joint_embedding, named, read_parts, record
from lloki.analysis.imputation import ENDS, METHODS
from lloki.errors import ConfigError, GeneError, InputError, LlokiWarning
from lloki.io._findings import number

if TYPE_CHECKING:
    from lloki import analysis

_FEW = 8  # genes named in a message


@keywords
def impute(
    adatas: AnnData | Sequence[AnnData],
    target: str,
    *,
    genes: Sequence[str] | None = None,
    sources: Sequence[str] | str | None = None,
    reference: AnnData | None = None,
    use_rep: str = keys.JOINT,
    slice_key: str = keys.SLICE,
    layer: str | None = None,
    method: Literal["combined", "neighbors", "ridge", "reference"] = "combined",
    run: str | Path | None = None,
    n_neighbors: int = 30,
    min_score: float | None = 0.1,
    n_cells: int = 2000,
    seed: int = 0,
) -> AnnData:
    """Impute genes that a slice did not measure, from its cells' neighbors in slices that did.

    Every gene is first imputed where it was measured, in the sources themselves, and is left out if its score
    is low: genes that were not validated are imputed only on request, and with a warning.

    Parameters
    ----------
    adatas
        All slices in one AnnData, as :func:`lloki.integrate` returns, or one AnnData each; with counts.
    target
        Name of the slice to impute.
    genes
        Genes to impute; default all that a source measured and the target did not.
    sources
        Names of the slices to impute from; default all others.
    reference
        Additional source, such as scRNA-seq, with counts and the same ``obsm[use_rep]``, as
        :func:`lloki.project_reference` returns. In tables it is called ``"reference"``.
    use_rep
        ``obsm`` key of the joint embedding.
    slice_key
        ``obs`` column that names the slices, as squidpy's ``library_key``.
    layer
        Layer of counts, where ``X`` does not hold them. Of a reference without this layer, ``X`` is used.
    method
        ``"combined"``: the mean of the next two, and better than either on all 16 slices with hidden genes
        (docs, *Imputing unmeasured genes*). ``"neighbors"``: weighted means over the nearest cells in the
        joint embedding. ``"ridge"``: ridge regression on the genes that a source and the target share.
        ``"reference"``: means over the nearest cells of ``reference`` by shared genes; slices serve to
        validate.
    run
        Folder of the run that made the embedding, by whose models genes are validated: the cells that a gene
        is tried in are embedded without it. Without ``run``, that embedding is estimated by a factor model
        fitted here; ``var["score"]`` is then further off (docs).
    n_neighbors
        Number of neighbors in each source.
    min_score
        Minimum hold-out score (Spearman) of a gene; ``None`` imputes all genes.
    n_cells
        Number of cells of each source on which genes are validated.
    seed
        Random seed, of the draw of these cells.

    Returns
    -------
    AnnData
        A new one, which keeps estimates apart from measurements: the target's cells and the imputed genes.
        ``X`` (n, G) float32, log(1 + normalized counts) in the sources' unit; ``layers["sd"]`` the expected
        error of a value: the spread among its neighbors, scaled to the gene's error in the sources;
        ``layers["lower"]`` and ``layers["upper"]`` the ends of intervals that hold 90 % of measured values:
        the shortest that did so among tried cells with estimates of the same level (NaN for genes without
        validation); ``var`` the hold-out table of :class:`lloki.analysis.HoldOut`, and for each source the
        share of its cells that have a count of the gene, ``"detected in NAME"`` (NaN: not measured);
        ``var["lower"]`` and ``var["upper"]`` the medians of the intervals' ends. A
        source that rarely detects a
        gene counts like any other and lowers its level: check these columns before you compare values, and
        choose ``sources``. ``uns["lloki"]["impute"]`` has the parameters and the table of genes that were
        left out.

    Raises
    ------
    InputError
        If a slice, an embedding or counts are absent.
    GeneError
        If no source measured any of the genes, or none reaches ``min_score``.
    ConfigError
        If a parameter is out of its range.

    Warns
    -----
    LlokiWarning
        For genes left out, genes that were validated within one slice only, and genes imputed without
        validation.

    Notes
    -----
    Methods are those of :func:`lloki.analysis.estimate`, validation that of :func:`lloki.analysis.held_out`.
    The result takes 16·n·G bytes. Intervals are in the sources' unit: they hold their share of values where
    the target was measured as the sources were, and not where its platform detects a gene more or less often.
    """
    from lloki import analysis

    if n_cells < 2 or n_neighbors < 1:
        text = f"n_cells must be at least 2 and n_neighbors at least 1, got {n_cells} and {n_neighbors}."
        raise ConfigError(text)
    if method not in METHODS:
        raise ConfigError(f"method must be one of {', '.join(METHODS)}, got {method!r}.")
    if method == "reference" and reference is None:
        raise ConfigError('method="reference" needs reference= (--reference).')
    parts = read_parts(adatas, slice_key=slice_key)
    (aim,) = named(parts, target)
    others = [part for part in named(parts, sources) if part is not aim]
    if reference is not None:
        (known,) = read_parts([reference], slice_key="\0")
        others.append(Part(free_name("reference", [part.name for part in parts]), known.own, known.rows))
    if not others:
        raise InputError(
            "no other slice to impute from", where=target, hint="Name sources, or give a reference."
        )
    joint_embedding([aim, *others], use_rep)
    given = [_source(part, use_rep, layer, is_reference=part.own is reference) for part in others]
    wanted = _wanted(genes, given, aim, layer)
    own = _source(aim, use_rep, layer, is_reference=False)
    without = None
    if method != "ridge" and method != "reference":
        from lloki.tl._unseen import Cells, Unseen

        pairs = zip([*others, aim], [*given, own])
        cells = [Cells(part, s.expression, s.genes, s.embedding) for part, s in pairs]
        without = Unseen(cells, None if run is None else Path(run).expanduser(), seed)
    trial = analysis.held_out(
        given,
        wanted,
        target=own,
        method=method,
        n_neighbors=n_neighbors,
        n_cells=n_cells,
        without=without,
        seed=seed,
    )
    table = trial.table
    table = table.join(analysis.detection(given, wanted))
    passed = (table["score"] >= (-np.inf if min_score is None else min_score)) | (min_score is None)
    _warn(table, passed, min_score)
    if not passed.any():
        raise GeneError(
            f"none of {len(table)} genes can be imputed: no hold-out score reaches {min_score}",
            where=target,
            hint="Set min_score=None (--keep-all) to impute them without validation.",
        )
    kept = table[passed]
    names = list(kept.index)
    mean, sd = analysis.estimate(own, given, names, method=method, n_neighbors=n_neighbors)
    lost = np.flatnonzero(~np.isfinite(mean).all(axis=0))
    if len(lost):
        hint = 'Leave them out, name other sources, or choose method="combined".'
        called = _few(kept.index[lost])
        raise GeneError(f"method {method!r} cannot give {called}", where=target, hint=hint)
    out = AnnData(X=mean, obs=aim.own.obs.iloc[aim.rows].copy(), var=kept)
    out.layers["sd"] = sd * kept["spread"].fillna(1.0).to_numpy(np.float32)
    for end, values in zip(ENDS, trial.bounds(names, mean)):
        out.layers[end] = values
        out.var[end] = np.median(values, axis=0)  # NaN for a gene without intervals
    about = aim.own.uns.get(keys.UNS, {})
    unit = dict(zip(about.get("slices", ()), about.get("units", ()))).get(aim.name) or aim.own.uns.get(
        keys.UNIT
    )
    if unit:
        out.uns[keys.UNIT] = str(unit)
    for slot in (use_rep, keys.SPATIAL):
        if slot in aim.own.obsm:
            out.obsm[slot] = np.asarray(aim.own.obsm[slot])[aim.rows]
    inputs = {"target": target, "sources": [s.name for s in given], "use_rep": use_rep, "method": method}
    options = {"n_neighbors": n_neighbors, "min_score": min_score, "n_cells": n_cells, "seed": seed}
    step = {
        "transfer": trial.transfer,
        "of_target": trial.of_target,
        "unseen_by_run": sorted(name for name, by_run in without.exact.items() if by_run) if without else [],
    }
    record([out], "impute", inputs | options | step, left_out=table[~passed])
    return out


def _source(part: Part, use_rep: str, layer: str | None, *, is_reference: bool) -> analysis.Source:
    from lloki import analysis
    from lloki.fp import log_normalize

    counts, genes = part.counts(None if is_reference and layer not in part.own.layers else layer)
    rows = part.embedding(use_rep)
    return analysis.Source(part.name, log_normalize(counts), tuple(genes), rows, reference=is_reference)


def _wanted(
    genes: Sequence[str] | None, given: Sequence[analysis.Source], aim: Part, layer: str | None
) -> list[str]:
    there = {gene for source in given for gene in source.genes}
    if genes is None:
        wanted = sorted(there - set(aim.counts(layer)[1]))
        if not wanted:
            raise GeneError("the sources measured no further gene", where=aim.name, hint="Name the genes.")
        return wanted
    asked = [genes] if isinstance(genes, str) else list(dict.fromkeys(genes))
    if not asked:
        raise GeneError("genes is empty", where=aim.name, hint="Name some, or leave genes out.")
    lost = [gene for gene in asked if gene not in there]
    if lost:
        hint = "Leave them out, or add sources that measured them."
        raise GeneError(f"no source measured {_few(lost)}", where=aim.name, hint=hint)
    return asked


def _warn(table: pd.DataFrame, passed: pd.Series, min_score: float | None) -> None:
    from lloki import analysis

    texts, left_out = [], table.index[~passed]
    if len(left_out):
        reason = f"hold-out score below {min_score} or unknown"
        texts.append(f"{number(len(left_out), 'gene')} left out, {reason}: {_few(left_out)}.")
    kept = table[passed]
    within = kept.index[kept["validated"] == analysis.WITHIN]
    if len(within):
        reason = "validated within the only slice that measured them, not across slices"
        texts.append(f"{number(len(within), 'gene')} {reason}: {_few(within)}.")
    blind = kept.index[kept["validated"] == analysis.NOT]
    if len(blind):
        texts.append(f"{number(len(blind), 'gene')} imputed without validation: {_few(blind)}.")
    for text in texts:
        warnings.warn(text, LlokiWarning, stacklevel=4)


def _few(names: Sequence[str] | pd.Index) -> str:
    more = len(names) - _FEW
    return ", ".join(map(str, names[:_FEW])) + (f" and {more} more" if more > 0 else "")
