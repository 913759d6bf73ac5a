"""The stages of the method one by one, on AnnData: ``align_features``, ``embed``, ``align_batches``.

And what is done with their result: ``align_slices`` brings sections into one coordinate frame, ``domains``
and ``metagenes`` find regions and gene programs that slices share.

Each takes the user's own AnnData, one section each, and writes slots into it; ``X`` is never changed, and
neither are the cells or their order. What is read is checked by :func:`lloki.io.read_slices` first, every
time; what it warns of is said once only if the slices passed are ones that it returned. The three in this
order give what :func:`lloki.integrate` gives for the same slices in memory.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
from anndata import AnnData
from scipy import sparse

from lloki import keys
from lloki._checked import CheckedSlice, check_own
from lloki._imputed import impute as impute
from lloki._labelled import annotate_by_markers as annotate_by_markers
from lloki._labelled import transfer_labels as transfer_labels
from lloki._neighbourhoods import neighbourhood_program as neighbourhood_program
from lloki._version import __version__
from lloki.errors import ConfigError, InputError, LlokiWarning

if TYPE_CHECKING:
    from pathlib import Path

    from lloki._aligned import Alignment
    from lloki._progress import Advance
    from lloki.analysis import Domains, Programs
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
    allow_normalised: bool = False,
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
    allow_normalised
        Accept values that are not counts.
    seed
        Of everything random.
    settings
        Fields of :class:`lloki.fp.FPConfig` that differ from the preset, such as ``k=20``.

    Returns
    -------
    FPResult
        Everything known about it, over the genes that were used. Written into ``adata``:

        ``layers["lloki_fp"]``
            (n, g) CSR float32, log(1 + normalised counts), imputed and denoised; features that measure no
            gene are empty.
        ``obs["lloki_sparsity"]``, ``obs["lloki_sparsity_target"]``
            Fraction of zero genes of each cell, as it is now and as it should be.
        ``uns["lloki"]["align_features"]``
            Parameters, version, and Wasserstein distances to the targets before and after.

    Raises
    ------
    InputError, GeneError
        If slice or reference cannot be used; the message names slot and mend.
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
    (slice_,) = check_own(adata, layer=layer, allow_normalised=allow_normalised, k=config.k)
    known = read_reference(reference, layer=reference_layer, allow_normalised=allow_normalised)
    match_reference(slice_.genes, known.var_names, where=slice_.name)
    sparsity = fp.reference_sparsity(
        sparse.csr_matrix(known.X), known.var_names, slice_.genes, mode=config.reference_genes
    )
    result = fp.align_features(slice_.counts, slice_.checked.obsm[keys.SPATIAL], sparsity, config=config)
    adata.layers[keys.DENOISED] = slice_.spread(result.expression)
    adata.obs[keys.SPARSITY] = result.sparsity_after
    adata.obs[keys.SPARSITY_TARGET] = result.targets
    distances = {name: float(getattr(result, name)) for name in ("w1_reference", "w1_before", "w1_after")}
    _record(adata, "align_features", asdict(config) | {"preset": preset}, **distances)
    return result


def embed(
    adatas: AnnData | Sequence[AnnData],
    *,
    embedder: str = "factor",
    reference: str | Path | AnnData | None = None,
    model: str | Path | None = None,
    layer: str | None = None,
    reference_layer: str | None = None,
    allow_normalised: bool = False,
    device: str = "auto",
    seed: int = 0,
) -> Embedder:
    """Embed cells of any panels into one feature space.

    Parameters
    ----------
    adatas
        Sections, all that shall share a space. Of each, ``layers["lloki_fp"]`` is embedded where
        :func:`align_features` has written it, else its counts: log-normalised
        for an embedder that learns from the slices, as they are for a pretrained one.
    embedder
        ``"factor"``, ``"scgpt"``, ``"geneformer"``, ``"precomputed:KEY"`` or the name of an installed
        embedder.
    reference
        scRNA-seq with counts: for embedders that learn from it and all slices, as ``"factor"`` does.
    model
        Folder of the embedder's weights, for those that have any.
    layer, reference_layer, allow_normalised
        As for :func:`align_features`.
    device
        Where a pretrained embedder computes.
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

    made = get_embedder(embedder, model=model, seed=seed)
    if hasattr(made, "device"):
        made.device = device
    if made.joint and reference is None:
        raise ConfigError(f"the embedder {embedder!r} learns from a single-cell reference: give reference=.")
    slices = check_own(adatas, layer=layer, allow_normalised=allow_normalised)
    if isinstance(made, Precomputed):
        rows = {s.name: made.take(s.own.obsm, where=s.name) for s in slices}
    else:
        expression = _expression(slices, made)
        summaries = {s.name: SliceSummary(s.genes) for s in slices}
        if made.joint:
            known = _reference_summary(made, slices, reference, reference_layer, allow_normalised)
            summaries = {s.name: made.summarise(expression[s.name], s.genes) for s in slices}
            made = made.fit(summaries, known)
        rows = {}
        for s in slices:
            ids, state = list(s.checked.obs_names), summaries[s.name]
            rows[s.name] = made.embed(expression[s.name], s.genes, state=state, cell_ids=ids, seed=seed)
    for s in slices:
        s.own.obsm[keys.FP] = rows[s.name]
        _record(s.own, "embed", {"embedder": embedder, "model": str(model or ""), "seed": seed})
    return made


def align_batches(
    adatas: AnnData | Sequence[AnnData],
    *,
    layer: str | None = None,
    allow_normalised: bool = False,
    train_labels: str | None = None,
    seed: int = 0,
    **settings: Any,
) -> CAEModel:
    """Train the conditional autoencoder (LLOKI-CAE), and take the batches out of the embedding.

    Parameters
    ----------
    adatas
        Sections with ``obsm["X_lloki_fp"]``, from :func:`embed`. A batch is a technology and panel: that of
        ``uns["technology"]`` or ``obs["technology"]``, and ``obs["panel"]`` or the set of genes.
    layer, allow_normalised
        As for :func:`align_features`.
    train_labels
        ``obs`` column of cell types that training may see; slices and cells without are fine. Default: it
        sees no labels.
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
    slices = check_own(adatas, layer=layer, allow_normalised=allow_normalised)
    for s in slices:
        if keys.FP not in s.own.obsm:
            slot, mend = f"obsm['{keys.FP}']", "Run lloki.tl.embed on all slices first."
            raise InputError("the embedding is absent", where=s.name, slot=slot, mend=mend)
    rows = {s.name: np.asarray(s.own.obsm[keys.FP]) for s in slices}
    labels = None
    if train_labels is not None:
        columns = {s.name: s.own.obs[train_labels] for s in slices if train_labels in s.own.obs}
        labels = {name: column.astype(object).where(column.notna(), None) for name, column in columns.items()}
    model = train(rows, {s.name: s.token for s in slices}, labels=labels, config=config)
    for s in slices:
        s.own.obsm[keys.JOINT] = model.encode(rows[s.name], s.token, slice_name=s.name)
        _record(s.own, "align_batches", config.to_dict(), token=s.token)
    return model


def align_slices(
    adatas: AnnData | Sequence[AnnData],
    *,
    reference: str | None = None,
    key: str = keys.JOINT,
    slice_key: str = keys.SLICE,
    slices: Sequence[str] | None = None,
    stack: bool = False,
    reach: int = 2,
    use_ambiguous: bool = False,
    z: float | str | None = None,
    nonrigid: float | None = None,
    seed: int = 0,
    **settings: Any,
) -> Alignment:
    """Bring slices into one coordinate frame: rotation and translation, found from their joint embedding.

    Parameters
    ----------
    adatas
        All slices in one AnnData, as :func:`lloki.integrate` returns, or one AnnData each.
    reference
        Name of the slice that stays where it is; default the first.
    key
        ``obsm`` key of an embedding that all slices share.
    slice_key
        ``obs`` column that names the slices. AnnData of a list that lack it are slice1, slice2, …
    slices
        Names of the slices to take, in order; default all.
    stack
        Whether they are a series of sections, in order: neighbours are aligned with each other, and all poses
        fitted to these pairs together. Otherwise each is aligned with the reference.
    reach
        In a stack, with how many of the following sections each is aligned.
    use_ambiguous
        Whether sections of a stack that nothing else connects may hang on ambiguous pairs. One wrong pair
        puts all sections beyond it wrong; without them, such sections get no place.
    z
        Third coordinate to write: a distance between sections, in order, or an ``obs`` column. Without it,
        a third column of ``obsm["spatial"]`` is carried along.
    nonrigid
        Longest displacement, in the unit of ``obsm["spatial"]``, by which slices may be deformed after the
        rigid step; default none. Not for a stack.
    seed
        Of everything random.
    settings
        Fields of :class:`lloki.align.AlignConfig`, such as ``allow_reflection=True`` or ``scale=0.325``.

    Returns
    -------
    Alignment
        ``.table()`` has one row a pair; ``.results`` everything known about it. Written into ``adatas``:

        ``obsm["spatial_aligned"]``
            (n, 2 or 3) in the frame and unit of the reference. NaN for slices without a place there: those
            whose alignment failed, and those that were not taken.
        ``obs["lloki_in_overlap"]``
            Whether a cell lies where the reference has tissue. In a stack, sections that were not aligned
            with the reference itself count as inside.
        ``obs["lloki_match"]``, ``obs["lloki_match_confidence"]``
            Name of the cell of the reference that it is matched with, if any. Not for a stack.
        ``uns["lloki"]["align_slices"]``
            Parameters, version, and as JSON the transforms with their inverses, verdicts and rivals.

    Raises
    ------
    InputError
        If an embedding, positions or a slice is absent, or positions are not finite.
    ConfigError
        If a setting is unknown or out of its range, or there are fewer than two slices.

    Warns
    -----
    LlokiWarning
        For every alignment whose verdict is not *aligned*, with the reason; and if units seem to differ.

    Notes
    -----
    Time and memory are those of :func:`lloki.align.align`, times the number of pairs.
    """
    from lloki import _aligned
    from lloki._sections import read_sections
    from lloki.align import AlignConfig

    config = AlignConfig.from_dict({"seed": seed} | settings)
    sections = read_sections(adatas, key=key, slice_key=slice_key, slices=slices)
    alignment = _aligned.align_sections(
        sections,
        reference=reference,
        stack=stack,
        reach=reach,
        use_ambiguous=use_ambiguous,
        nonrigid=nonrigid,
        config=config,
    )
    asked = {"key": key, "stack": stack, "reach": reach, "use_ambiguous": use_ambiguous, "nonrigid": nonrigid}
    _aligned.write_sections(sections, alignment, z=z, parameters=config.to_dict() | asked)
    _aligned.warn_of_verdicts(alignment)
    return alignment


def domains(
    adatas: AnnData | Sequence[AnnData],
    *,
    key: str = keys.JOINT,
    slice_key: str = keys.SLICE,
    number: int | None = None,
    neighbours: int | None = None,
    seed: int = 0,
    **settings: Any,
) -> Domains:
    """Find spatial domains: regions of like surroundings, with one name over all slices.

    Parameters
    ----------
    adatas
        All slices in one AnnData, as :func:`lloki.integrate` returns, or one AnnData each.
    key
        ``obsm`` key of an embedding that all slices share.
    slice_key
        ``obs`` column that names the slices. AnnData of a list that lack it are slice1, slice2, …
    number
        How many domains; default the most stable number.
    neighbours
        Make the spatial graph of as many nearest cells; default the Delaunay triangulation.
    seed
        Of everything random.
    settings
        Fields of :class:`lloki.analysis.DomainConfig`, such as ``method="leiden"``.

    Returns
    -------
    Domains
        With the stability of each number that was tried. Written into ``adatas``:

        ``obs["lloki_domain"]``, ``obs["lloki_domain_confidence"]``
            D1, the largest, D2, …, and how sure that is, 0 to 1.
        ``uns["lloki"]["domains"]``
            Parameters, version, stability.

    Raises
    ------
    InputError
        If an embedding or positions are absent or not finite, or a slice has no neighbours.
    ConfigError
        If a setting is unknown or out of its range.

    Notes
    -----
    Time and memory are those of :func:`lloki.analysis.find_domains`.
    """
    from lloki import _programs
    from lloki.analysis import DomainConfig, find_domains

    config = DomainConfig.from_dict({"seed": seed, "number": number} | settings)
    sections, features, _ = _programs.read_features(
        adatas, key=key, layer=None, genes=None, slice_key=slice_key
    )
    found = find_domains(
        features, _programs.graphs(sections, neighbours), config=config, names=[s.name for s in sections]
    )
    _programs.write_domains(sections, found, config.to_dict() | {"key": key, "neighbours": neighbours})
    return found


def metagenes(
    adatas: AnnData | Sequence[AnnData],
    *,
    key: str | None = keys.JOINT,
    layer: str | None = None,
    genes: Sequence[str] | None = None,
    slice_key: str = keys.SLICE,
    k: int = 15,
    neighbours: int | None = None,
    device: str = "auto",
    checkpoint: str | Path | None = None,
    seed: int = 0,
    advance: Advance | None = None,
    **settings: Any,
) -> Programs:
    """Find gene programs that slices share, and which of them go together in space (SpiceMix).

    Parameters
    ----------
    adatas
        All slices in one AnnData, as :func:`lloki.integrate` returns, or one AnnData each.
    key
        ``obsm`` key of features of 0 or more that all slices share. None: expression.
    layer
        Expression of 0 or more to take as it is; default the counts in ``X``, log-normalised.
    genes
        Genes to take; default all that every slice measured.
    slice_key
        ``obs`` column that names the slices. AnnData of a list that lack it are slice1, slice2, …
    k
        Number of metagenes.
    neighbours
        Make the spatial graph of as many nearest cells; default the Delaunay triangulation without its
        longest edges.
    device
        Where to compute.
    checkpoint
        A file that a stopped fit goes on from.
    seed
        Of everything random.
    advance
        Called with numbers of iterations done.
    settings
        Fields of :class:`lloki.analysis.ProgramConfig`, such as ``iterations=50``.

    Returns
    -------
    Programs
        Metagenes, affinities, states and the course of the objective. Written into ``adatas``:

        ``obsm["X_lloki_metagenes"]``
            (n, K) float32 states, 0 or more.
        ``uns["lloki"]["metagenes"]``
            Parameters, version, ``metagenes`` (D, K), ``affinity`` (K, K), names of features and slices.

    Raises
    ------
    InputError
        If a slot or gene is absent, features are negative or not finite, or a slice has no neighbours.
    ConfigError
        If a setting is unknown or out of its range, or there are more metagenes than features.

    Notes
    -----
    Time and memory are those of :func:`lloki.analysis.fit_programs`.
    """
    from lloki import _programs
    from lloki.analysis import ProgramConfig, fit_programs

    config = ProgramConfig.from_dict({"seed": seed, "k": k} | settings)
    sections, features, names = _programs.read_features(
        adatas, key=key, layer=layer, genes=genes, slice_key=slice_key
    )
    found = fit_programs(
        features,
        _programs.graphs(sections, neighbours),
        config=config,
        device=device,
        checkpoint=checkpoint,
        names=[s.name for s in sections],
        advance=advance,
    )
    parameters = config.to_dict() | {"key": key, "layer": layer, "neighbours": neighbours}
    _programs.write_metagenes(sections, found, features=names, parameters=parameters)
    return found


def _expression(slices: Sequence[CheckedSlice], embedder: Embedder) -> dict[str, sparse.csr_matrix]:
    """Slice → (n, g) that is embedded: what LLOKI-FP made, where it is there.

    Without it an embedder that learns from the slices reads log-normalised counts, a pretrained one counts.
    """
    from lloki.fp import log_normalise

    if not embedder.uses_expression:
        return {s.name: s.counts for s in slices}
    aligned = {s.name for s in slices if keys.DENOISED in s.own.layers}
    if 0 < len(aligned) < len(slices):
        text = (
            f"{len(aligned)} of {len(slices)} slices have layers['{keys.DENOISED}']; the others are embedded "
            "from their own counts. Run lloki.tl.align_features on all of them, or on none."
        )
        warnings.warn(text, LlokiWarning, stacklevel=3)
    plain = log_normalise if embedder.joint else sparse.csr_matrix
    return {s.name: s.layer(keys.DENOISED) if s.name in aligned else plain(s.counts) for s in slices}


def _reference_summary(
    embedder: Embedder, slices: Sequence[CheckedSlice], source: Any, layer: str | None, allow_normalised: bool
) -> SliceSummary:
    """Summarise the reference over the genes that some slice measures."""
    from lloki.fp import log_normalise
    from lloki.genes import match_reference
    from lloki.io import read_reference

    known = read_reference(source, layer=layer, allow_normalised=allow_normalised)
    for slice_ in slices:
        match_reference(slice_.genes, known.var_names, where=slice_.name)
    measured = {gene for slice_ in slices for gene in slice_.genes}
    columns = np.flatnonzero([gene in measured for gene in known.var_names])
    counts = sparse.csr_matrix(sparse.csr_matrix(known.X)[:, columns])
    return embedder.summarise(log_normalise(counts), [str(known.var_names[i]) for i in columns])


def _record(adata: AnnData, stage: str, parameters: Mapping[str, Any], **facts: Any) -> None:
    said = {"version": __version__, "parameters": json.dumps(dict(parameters), default=str), **facts}
    adata.uns[keys.UNS] = {**adata.uns.get(keys.UNS, {}), stage: said}
