"""The stages of the method one by one: features, embedding, batches."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
from anndata import AnnData
from scipy import sparse

from lloki import keys
from lloki.errors import ConfigError, InputError, LlokiWarning
from lloki.tl._checked import CheckedSlice, check_own
from lloki.tl._parts import record

if TYPE_CHECKING:
    from pathlib import Path

    from lloki.cae import CAEModel
    from lloki.embed import Embedder, SliceSummary
    from lloki.fp import FPResult


def align_features(
    adata: AnnData,
    reference: str | Path | AnnData,
    *,
    preset: str = "default",
    layer: str | None = None,
    reference_layer: str | None = None,
    allow_normalized: bool = False,
    seed: int = 0,
    **settings: Any,
) -> FPResult:
    """Give a slice the sparsity of single-cell data and denoise it (LLOKI-FP).

    Parameters
    ----------
    adata
        One section of n cells and g genes, with counts and ``obsm["spatial"]``.
    reference
        scRNA-seq of like tissue, with counts.
    preset
        Parameters: ``"default"``, ``"paper"`` or ``"published-code"``.
    layer, reference_layer
        Layers that hold counts, where ``X`` does not.
    allow_normalized
        Accept values that are not counts.
    seed
        Of everything random.
    settings
        Fields of :class:`lloki.fp.FPConfig` that differ from the preset, such as ``n_neighbors=20``.

    Returns
    -------
    FPResult
        Everything known about it, over the genes that were used. Written into ``adata``:

        ``layers["lloki_fp"]``
            (n, g) CSR float32, log(1 + normalized counts), imputed and denoised; features that measure no
            gene are empty.
        ``obs["lloki_sparsity"]``, ``obs["lloki_sparsity_target"]``
            Fraction of zero genes of each cell, as it is now and as it should be.
        ``uns["lloki"]["align_features"]``
            Parameters, version, and Wasserstein distances to the targets before and after.

    Raises
    ------
    InputError, GeneError
        If slice or reference cannot be used; the message names slot and gives a hint.
    ConfigError
        If a parameter is unknown or out of its range.

    Notes
    -----
    Time and memory are those of :func:`lloki.fp.align_features`.
    """
    from lloki import fp
    from lloki.genes import match_reference
    from lloki.io import read_reference

    config = fp.FPConfig.preset(preset, **({"seed": seed} | settings))
    (slice_,) = check_own(adata, layer=layer, allow_normalized=allow_normalized, k=config.n_neighbors)
    known = read_reference(reference, layer=reference_layer, allow_normalized=allow_normalized)
    match_reference(slice_.genes, known.var_names, where=slice_.name)
    sparsity = fp.reference_sparsity(
        sparse.csr_matrix(known.X), known.var_names, slice_.genes, mode=config.reference_genes
    )
    result = fp.align_features(slice_.counts, slice_.checked.obsm[keys.SPATIAL], sparsity, config=config)
    adata.layers[keys.DENOISED] = slice_.spread(result.expression)
    adata.obs[keys.SPARSITY] = result.sparsity_after
    adata.obs[keys.SPARSITY_TARGET] = result.targets
    distances = {name: float(getattr(result, name)) for name in ("w1_reference", "w1_before", "w1_after")}
    record([adata], "align_features", asdict(config) | {"preset": preset}, **distances)
    return result


def embed(
    adatas: AnnData | Sequence[AnnData],
    *,
    embedder: str = "factor",
    reference: str | Path | AnnData | None = None,
    model: str | Path | None = None,
    layer: str | None = None,
    reference_layer: str | None = None,
    allow_normalized: bool = False,
    device: str | None = None,
    seed: int = 0,
) -> Embedder:
    """Embed cells of any panels into one feature space.

    Parameters
    ----------
    adatas
        Sections, all that shall share a space. Of each, ``layers["lloki_fp"]`` is embedded where
        :func:`align_features` has written it, else its counts: log-normalized
        for an embedder that learns from the slices, as they are for a pretrained one.
    embedder
        ``"factor"``, ``"scgpt"``, ``"geneformer"``, ``"precomputed:KEY"`` or the name of an installed
        embedder.
    reference
        scRNA-seq with counts: for embedders that learn from it and all slices, as ``"factor"`` does.
    model
        Folder of the embedder's weights, for those that have any.
    layer, reference_layer, allow_normalized
        As for :func:`align_features`.
    device
        Where a pretrained embedder computes; ``None`` is ``lloki.settings.device``.
    seed
        Of everything random.

    Returns
    -------
    Embedder
        As fitted. Written into each AnnData: ``obsm["X_lloki_fp"]`` (n, d) float32, and
        ``uns["lloki"]["embed"]``.

    Raises
    ------
    ConfigError
        If there is no such embedder, or it needs the reference.
    InputError, GeneError
        If a slice or the reference cannot be used.

    Warns
    -----
    LlokiWarning
        If some slices have ``layers["lloki_fp"]`` and others do not.
    """
    from lloki.embed import Precomputed, SliceSummary, get_embedder

    made = get_embedder(embedder, model=model, seed=seed, device=device)
    if made.joint and reference is None:
        raise ConfigError(f"the embedder {embedder!r} learns from a single-cell reference: give reference=.")
    slices = check_own(adatas, layer=layer, allow_normalized=allow_normalized)
    if isinstance(made, Precomputed):
        rows = {s.name: made.take(s.own.obsm, where=s.name) for s in slices}
    else:
        expression = _expression(slices, made)
        summaries = {s.name: SliceSummary(s.genes) for s in slices}
        if made.joint:
            known = _reference_summary(made, slices, reference, reference_layer, allow_normalized)
            summaries = {s.name: made.summarize(expression[s.name], s.genes) for s in slices}
            made = made.fit(summaries, known)
        rows = {}
        for s in slices:
            ids, state = list(s.checked.obs_names), summaries[s.name]
            rows[s.name] = made.embed(expression[s.name], s.genes, state=state, cell_ids=ids, seed=seed)
    for s in slices:
        s.own.obsm[keys.FP] = rows[s.name]
        record([s.own], "embed", {"embedder": embedder, "model": str(model or ""), "seed": seed})
    return made


def align_batches(
    adatas: AnnData | Sequence[AnnData],
    *,
    layer: str | None = None,
    allow_normalized: bool = False,
    train_labels: str | None = None,
    device: str | None = None,
    seed: int = 0,
    **settings: Any,
) -> CAEModel:
    """Train the conditional autoencoder (LLOKI-CAE), and take the batches out of the embedding.

    Parameters
    ----------
    adatas
        Sections with ``obsm["X_lloki_fp"]``, from :func:`embed`. A batch is a technology and panel: that of
        ``uns["technology"]`` or ``obs["technology"]``, and ``obs["panel"]`` or the set of genes.
    layer, allow_normalized
        As for :func:`align_features`.
    train_labels
        ``obs`` column of cell types that training may see; slices and cells without are fine. Default: it
        sees no labels.
    device
        Where to compute; ``None`` is ``lloki.settings.device``.
    seed
        Of everything random.
    settings
        Fields of :class:`lloki.cae.CAEConfig`, such as ``steps=1000``.

    Returns
    -------
    CAEModel
        For further slices of these technologies and panels: ``model.encode(x, token)``. Written into each
        AnnData: ``obsm["X_lloki"]`` (n, 128) float32, and ``uns["lloki"]["align_batches"]``.

    Raises
    ------
    InputError
        If a slice cannot be used, or was not embedded; if no slice has the labels.
    ConfigError
        If a setting is unknown or out of its range.
    """
    from lloki.cae import CAEConfig, train

    config = CAEConfig.from_dict({"seed": seed} | settings)
    slices = check_own(adatas, layer=layer, allow_normalized=allow_normalized)
    for s in slices:
        if keys.FP not in s.own.obsm:
            slot, hint = f"obsm['{keys.FP}']", "Run lloki.tl.embed on all slices first."
            raise InputError("the embedding is absent", where=s.name, slot=slot, hint=hint)
    rows = {s.name: np.asarray(s.own.obsm[keys.FP]) for s in slices}
    labels = None
    if train_labels is not None:
        columns = {s.name: s.own.obs[train_labels] for s in slices if train_labels in s.own.obs}
        labels = {name: column.astype(object).where(column.notna(), None) for name, column in columns.items()}
    model = train(rows, {s.name: s.token for s in slices}, labels=labels, config=config, device=device)
    for s in slices:
        s.own.obsm[keys.JOINT] = model.encode(rows[s.name], s.token, slice_name=s.name)
        record([s.own], "align_batches", config.to_dict(), token=s.token)
    return model


def _expression(slices: Sequence[CheckedSlice], embedder: Embedder) -> dict[str, sparse.csr_matrix]:
    """Slice → (n, g) that is embedded: what LLOKI-FP made, where it is there.

    Without it an embedder that learns from the slices reads log-normalized counts, a pretrained one counts.
    """
    from lloki.fp import log_normalize

    if not embedder.uses_expression:
        return {s.name: s.counts for s in slices}
    aligned = {s.name for s in slices if keys.DENOISED in s.own.layers}
    if 0 < len(aligned) < len(slices):
        text = (
            f"{len(aligned)} of {len(slices)} slices have layers['{keys.DENOISED}']; the others are embedded "
            "from their own counts. Run lloki.tl.align_features on all of them, or on none."
        )
        warnings.warn(text, LlokiWarning, stacklevel=3)
    plain = log_normalize if embedder.joint else sparse.csr_matrix
    return {s.name: s.layer(keys.DENOISED) if s.name in aligned else plain(s.counts) for s in slices}


def _reference_summary(
    embedder: Embedder, slices: Sequence[CheckedSlice], source: Any, layer: str | None, allow_normalized: bool
) -> SliceSummary:
    """Summarize the reference over the genes that some slice measures."""
    from lloki.fp import log_normalize
    from lloki.genes import match_reference
    from lloki.io import read_reference

    known = read_reference(source, layer=layer, allow_normalized=allow_normalized)
    for slice_ in slices:
        match_reference(slice_.genes, known.var_names, where=slice_.name)
    measured = {gene for slice_ in slices for gene in slice_.genes}
    columns = np.flatnonzero([gene in measured for gene in known.var_names])
    counts = sparse.csr_matrix(sparse.csr_matrix(known.X)[:, columns])
    return embedder.summarize(log_normalize(counts), [str(known.var_names[i]) for i in columns])
