"""The stages of the method one by one: features, embedding, batches."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Unpack

import numpy as np
from anndata import AnnData
from scipy import sparse

import lloki
from lloki import keys
from lloki._keywords import keywords
from lloki._parts import record
from lloki.errors import ConfigError, InputError, LlokiWarning
from lloki.tl._checked import check_own
from lloki.tl._embedder_input import expression_of, reference_summary

if TYPE_CHECKING:
    from pathlib import Path

    import lloki.cae.config
    import lloki.fp.config
    from lloki.cae import CAEModel
    from lloki.embed import Embedder
    from lloki.fp import FPResult


@keywords
def align_features(
    adata: AnnData,
    reference: str | Path | AnnData,
    *,
    preset: str = "default",
    layer: str | None = None,
    reference_layer: str | None = None,
    orthologs: bool = False,
    allow_normalized: bool = False,
    key_added: str = keys.DENOISED,
    **options: Unpack[lloki.fp.config.FPOptions],
) -> FPResult:
    """Match the sparsity of a slice to scRNA-seq and denoise it (LLOKI-FP).

    Parameters
    ----------
    adata
        One slice of n cells and g genes, with raw counts and ``obsm["spatial"]``.
    reference
        scRNA-seq of matched tissue, with raw counts.
    preset
        Set of parameters: ``"default"``, ``"paper"`` or ``"published-code"``.
    layer, reference_layer
        Layers of raw counts, where ``X`` does not hold them.
    orthologs
        Whether to match a reference of the other of mouse and human by one-to-one orthologs
        (:func:`lloki.genes.orthologs`).
    allow_normalized
        Whether to accept values that are not counts.
    key_added
        Name of the layer, and prefix of the ``obs`` columns.
    options
        Fields of :class:`lloki.fp.FPConfig` that differ from the preset, such as ``n_neighbors=20`` or
        ``seed=1``.

    Returns
    -------
    FPResult
        The whole result, over the genes that were used. Written into ``adata``:

        ``layers["lloki_fp"]``
            (n, g) CSR float32, log(1 + normalized counts), imputed and denoised; columns of features that
            are not genes are empty.
        ``obs["lloki_fp_sparsity"]``, ``obs["lloki_fp_sparsity_target"]``
            Fraction of zero genes of each cell, and its target.
        ``uns["lloki"]["align_features"]``
            Parameters, version, and Wasserstein distances to the targets before and after.

    Raises
    ------
    InputError, GeneError
        If the slice or the reference is invalid.
    ConfigError
        If an option is unknown or out of its range.

    Notes
    -----
    Time and memory are those of :func:`lloki.fp.align_features`.
    """
    from lloki import fp
    from lloki.genes import match_reference
    from lloki.io import read_reference
    from lloki.io.reference import matched

    config = fp.FPConfig.preset(preset, **options).for_embedder(joint=False)
    (slice_,) = check_own(
        adata, layer=layer, allow_normalized=allow_normalized, n_neighbors=config.n_neighbors
    )
    known = read_reference(
        reference, layer=reference_layer, allow_normalized=allow_normalized, option="reference_layer"
    )
    known = matched(known, [slice_.genes], orthologs=orthologs)
    match_reference(slice_.genes, known.var_names, where=slice_.name)
    sparsity = fp.reference_sparsity(
        sparse.csr_matrix(known.X), known.var_names, slice_.genes, mode=config.reference_genes
    )
    result = fp.align_features(slice_.counts, slice_.checked.obsm[keys.SPATIAL], sparsity, config=config)
    adata.layers[key_added] = slice_.spread(result.expression)
    adata.obs[f"{key_added}_sparsity"] = result.sparsity_after
    adata.obs[f"{key_added}_sparsity_target"] = result.targets
    parameters = asdict(config) | {"preset": preset, "key_added": key_added}
    distances = {name: float(getattr(result, name)) for name in ("w1_reference", "w1_before", "w1_after")}
    record([adata], "align_features", parameters, **distances)
    return result


@keywords
def embed(
    adatas: AnnData | Sequence[AnnData],
    *,
    embedder: str = "factor",
    reference: str | Path | AnnData | None = None,
    model: str | Path | None = None,
    layer: str | None = None,
    reference_layer: str | None = None,
    orthologs: bool = False,
    allow_normalized: bool = False,
    denoised_layer: str = keys.DENOISED,
    alpha: float | None = None,
    latent_alpha: float | None = None,
    device: str | None = None,
    seed: int = 0,
    key_added: str = keys.FP,
) -> Embedder:
    """Embed cells of any panels into one feature space.

    Parameters
    ----------
    adatas
        All slices that are to share the space, one AnnData each.
    embedder
        ``"factor"``, ``"scgpt"``, ``"geneformer"``, ``"precomputed:KEY"`` or the name of an installed
        embedder.
    reference
        scRNA-seq of matched tissue, with raw counts, for embedders that learn from it and all slices, as
        ``"factor"`` does.
    model
        Folder of the weights of a pretrained embedder.
    layer, reference_layer, orthologs, allow_normalized
        As for :func:`align_features`.
    denoised_layer
        Layer that :func:`align_features` wrote. Slices without it are embedded from their counts:
        log-normalized and averaged with neighbors (:func:`lloki.fp.average_neighbors`) for an embedder that
        learns from the slices, as they are for a pretrained one.
    alpha
        Share of the neighbors in that average, from 0, which leaves it out, to 1. Default 0.3.
    latent_alpha
        Share of near cells of its kind that each cell's embedding is blended with, from 0 to 1. ``None``:
        chosen for each slice by held-out genes, with ``"factor"``; 0 with other embedders.
    device
        Torch device of a pretrained embedder; default ``lloki.settings.device``.
    seed
        Random seed.
    key_added
        ``obsm`` key of the embedding.

    Returns
    -------
    Embedder
        The fitted embedder. Written into each AnnData: ``obsm["X_lloki_fp"]`` (n, d) float32, and
        ``uns["lloki"]["embed"]``.

    Raises
    ------
    ConfigError
        If there is no such embedder, or it needs a reference.
    InputError, GeneError
        If a slice or the reference is invalid.

    Warns
    -----
    LlokiWarning
        If only some slices have ``denoised_layer``.
    """
    from lloki.embed import Precomputed, SliceSummary, get_embedder, propagate_slice
    from lloki.fp import FPConfig, log_normalize

    propagation = FPConfig(latent_alpha=latent_alpha).propagation
    made = get_embedder(embedder, model=model, seed=seed, device=device)
    if made.joint and reference is None:
        raise ConfigError(f"the embedder {embedder!r} needs a single-cell reference. Set reference.")
    slices = check_own(adatas, layer=layer, allow_normalized=allow_normalized)
    shares: dict[str, float] = {}
    if isinstance(made, Precomputed):
        rows = {s.name: made.take(s.own.obsm, where=s.name) for s in slices}
    else:
        expression = expression_of(slices, made, denoised_layer, alpha, seed)
        summaries = {s.name: SliceSummary(s.genes) for s in slices}
        if made.joint:
            known = reference_summary(
                made, slices, reference, reference_layer, allow_normalized, orthologs=orthologs
            )
            summaries = {s.name: made.summarize(expression[s.name], s.genes) for s in slices}
            made = made.fit(summaries, known)
        rows = {}
        for s in slices:
            ids, state = list(s.checked.obs_names), summaries[s.name]
            rows[s.name] = made.embed(expression[s.name], s.genes, state=state, cell_ids=ids, seed=seed)
            rows[s.name], shares[s.name] = propagate_slice(
                rows[s.name],
                np.asarray(s.checked.obsm[keys.SPATIAL]),
                propagation,
                embedder=made,
                expression=expression[s.name],
                genes=s.genes,
                state=state,
                observed=log_normalize(s.counts),
                known=np.diff(s.counts.indptr) > 0,
                seed=seed,
            )
    for s in slices:
        s.own.obsm[key_added] = rows[s.name]
        parameters = {"embedder": embedder, "model": str(model or ""), "seed": seed, "key_added": key_added}
        record([s.own], "embed", parameters | {"latent_alpha": shares.get(s.name, 0.0)})
    return made


@keywords
def align_batches(
    adatas: AnnData | Sequence[AnnData],
    *,
    layer: str | None = None,
    allow_normalized: bool = False,
    train_labels: str | None = None,
    device: str | None = None,
    use_rep: str = keys.FP,
    key_added: str = keys.JOINT,
    **options: Unpack[lloki.cae.config.CAEOptions],
) -> CAEModel:
    """Train the conditional autoencoder (LLOKI-CAE) and remove batch effects from the embedding.

    Parameters
    ----------
    adatas
        All slices, one AnnData each, with the embedding of :func:`embed`. A batch is a technology and panel:
        that of ``uns["technology"]`` or ``obs["technology"]``, and ``obs["panel"]`` or the set of genes.
    layer, allow_normalized
        As for :func:`align_features`.
    train_labels
        ``obs`` column of cell types to train with; slices and cells may lack them. Default: train without
        labels.
    device
        Torch device; default ``lloki.settings.device``.
    use_rep
        ``obsm`` key of the embedding that :func:`embed` wrote.
    key_added
        ``obsm`` key of the batch-free embedding.
    options
        Fields of :class:`lloki.cae.CAEConfig`, such as ``steps=1000`` or ``seed=1``. ``output="better"``, the
        default, is the latent space here unless many cells of a batch have no counterpart in others: a run
        alone has the held-out genes by which it may take the inputs as well.

    Returns
    -------
    CAEModel
        For further slices of these technologies and panels: ``model.encode(x, token)``. Written into each
        AnnData: ``obsm["X_lloki"]`` float32, (n, 128) of the latent space; where the model gives its inputs,
        these, and the latent space as ``obsm["X_lloki_latent"]``; and ``uns["lloki"]["align_batches"]``.

    Raises
    ------
    InputError
        If a slice is invalid or was not embedded, or no slice has the labels.
    ConfigError
        If an option is unknown or out of its range.
    """
    from lloki.cae import CAEConfig, train

    config = CAEConfig.from_dict(options)
    slices = check_own(adatas, layer=layer, allow_normalized=allow_normalized)
    for s in slices:
        if use_rep not in s.own.obsm:
            slot, hint = f"obsm[{use_rep!r}]", "Run lloki.tl.embed on all slices first."
            raise InputError("the embedding is absent", where=s.name, slot=slot, hint=hint)
    rows = {s.name: np.asarray(s.own.obsm[use_rep]) for s in slices}
    labels = None
    if train_labels is not None:
        columns = {s.name: s.own.obs[train_labels] for s in slices if train_labels in s.own.obs}
        labels = {name: column.astype(object).where(column.notna(), None) for name, column in columns.items()}
    model = train(rows, {s.name: s.token for s in slices}, labels=labels, config=config, device=device)
    if model.caution:
        warnings.warn(model.caution, LlokiWarning, stacklevel=2)
    for s in slices:
        made = model.encode_both(rows[s.name], s.token, slice_name=s.name)
        s.own.obsm[key_added] = made[model.output]
        if model.output == "inputs":
            s.own.obsm[f"{key_added}_latent"] = made["latent"]
        slots = {"use_rep": use_rep, "key_added": key_added}
        record([s.own], "align_batches", config.to_dict() | slots, token=s.token)
    return model
