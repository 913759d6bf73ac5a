"""Gene programs and spatial domains that slices share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Unpack

from anndata import AnnData

import lloki
from lloki import keys
from lloki._keywords import keywords

if TYPE_CHECKING:
    from pathlib import Path

    import lloki.analysis
    from lloki.analysis import Domains, Programs


@keywords
def domains(
    adatas: AnnData | Sequence[AnnData],
    *,
    use_rep: str = keys.JOINT,
    slice_key: str = keys.SLICE,
    n_neighbors: int | None = None,
    key_added: str = keys.DOMAIN,
    **options: Unpack[lloki.analysis.DomainOptions],
) -> Domains:
    """Find spatial domains: regions of similar neighborhoods, shared by all slices.

    Parameters
    ----------
    adatas
        All slices in one AnnData, as :func:`lloki.integrate` returns, or one AnnData each.
    use_rep
        ``obsm`` key of the joint embedding.
    slice_key
        ``obs`` column that names the slices, as squidpy's ``library_key``. AnnData of a list that lack it are
        named slice1, slice2, …
    n_neighbors
        Number of nearest cells in the spatial graph; default the Delaunay triangulation without its longest
        edges.
    key_added
        Name of the ``obs`` column of domains, and prefix of the other.
    options
        Fields of :class:`lloki.analysis.DomainConfig`, such as ``n_domains=8`` (default the most stable
        number), ``method="leiden"`` or ``seed=1``.

    Returns
    -------
    Domains
        Labels, confidence, and the stability of each number of domains tried. Written into ``adatas``:

        ``obs["lloki_domain"]``, ``obs["lloki_domain_confidence"]``
            D1, the largest, D2, …, and the confidence of the assignment, 0 to 1.
        ``uns["lloki"]["domains"]``
            Parameters, version, stability.

    Raises
    ------
    InputError
        If an embedding or positions are absent or not finite, or a slice has no neighbors.
    ConfigError
        If an option is unknown or out of its range.

    Notes
    -----
    Time and memory are those of :func:`lloki.analysis.find_domains`.
    """
    from lloki.analysis import DomainConfig, find_domains
    from lloki.tl import _programs

    config = DomainConfig.from_dict(options)
    sections, features, _ = _programs.read_features(
        adatas, use_rep=use_rep, layer=None, genes=None, slice_key=slice_key
    )
    graphs = _programs.graphs(sections, n_neighbors)
    found = find_domains(features, graphs, config=config, names=[s.name for s in sections])
    parameters = config.to_dict() | {"use_rep": use_rep, "n_neighbors": n_neighbors}
    _programs.write_domains(sections, found, parameters=parameters, key_added=key_added)
    return found


@keywords
def metagenes(
    adatas: AnnData | Sequence[AnnData],
    *,
    use_rep: str | None = keys.JOINT,
    layer: str | None = None,
    genes: Sequence[str] | None = None,
    slice_key: str = keys.SLICE,
    n_neighbors: int | None = None,
    device: str | None = None,
    checkpoint: str | Path | None = None,
    progress: bool | None = None,
    key_added: str = keys.METAGENES,
    **options: Unpack[lloki.analysis.ProgramOptions],
) -> Programs:
    """Find gene programs that slices share, and which of them go together in space (SpiceMix).

    Parameters
    ----------
    adatas
        All slices in one AnnData, as :func:`lloki.integrate` returns, or one AnnData each.
    use_rep
        ``obsm`` key of the joint embedding, or of other non-negative features. None: expression. Where a run
        gave the autoencoder's inputs as the joint embedding, ``"X_lloki"`` stands for the latent space.
    layer
        Layer of non-negative expression to use as it is; default the counts in ``X``, log-normalized.
    genes
        Genes to use; default all that every slice measured.
    slice_key
        ``obs`` column that names the slices, as squidpy's ``library_key``. AnnData of a list that lack it are
        named slice1, slice2, …
    n_neighbors
        Number of nearest cells in the spatial graph; default the Delaunay triangulation without its longest
        edges.
    device
        Torch device; default ``lloki.settings.device``.
    checkpoint
        A file from which an interrupted fit resumes.
    progress
        Whether to show progress; default ``lloki.settings.progress``.
    key_added
        ``obsm`` key of the states.
    options
        Fields of :class:`lloki.analysis.ProgramConfig`, such as ``n_metagenes=20``, ``iterations=50`` or
        ``seed=1``.

    Returns
    -------
    Programs
        Metagenes, affinities, states and the history of the objective. Written into ``adatas``:

        ``obsm["X_lloki_metagenes"]``
            (n, K) float32 states, non-negative.
        ``uns["lloki"]["metagenes"]``
            Parameters, version, ``metagenes`` (D, K), ``affinity`` (K, K), names of features and slices.

    Raises
    ------
    InputError
        If a slot or gene is absent, features are negative or not finite, or a slice has no neighbors.
    ConfigError
        If an option is unknown or out of its range, or there are more metagenes than features.

    Notes
    -----
    Time and memory are those of :func:`lloki.analysis.fit_programs`.
    """
    from lloki._progress import chosen
    from lloki.analysis import ProgramConfig, fit_programs
    from lloki.tl import _programs

    config = ProgramConfig.from_dict(options)
    total = config.pretraining + config.iterations
    use_rep = _programs.non_negative(adatas, use_rep)
    sections, features, names = _programs.read_features(
        adatas, use_rep=use_rep, layer=layer, genes=genes, slice_key=slice_key
    )
    found = fit_programs(
        features,
        _programs.graphs(sections, n_neighbors),
        config=config,
        device=device,
        checkpoint=checkpoint,
        names=[s.name for s in sections],
        advance=chosen(progress).task("gene programs", total, "iterations"),
    )
    parameters = config.to_dict() | {"use_rep": use_rep, "layer": layer, "n_neighbors": n_neighbors}
    _programs.write_metagenes(sections, found, features=names, parameters=parameters, key_added=key_added)
    return found
