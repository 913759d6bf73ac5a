"""Gene programs and spatial domains that slices share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from anndata import AnnData

from lloki import keys

if TYPE_CHECKING:
    from pathlib import Path

    from lloki._progress import Advance
    from lloki.analysis import Domains, Programs


def domains(
    adatas: AnnData | Sequence[AnnData],
    *,
    key: str = keys.JOINT,
    slice_key: str = keys.SLICE,
    number: int | None = None,
    neighbors: int | None = None,
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
    neighbors
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
        If an embedding or positions are absent or not finite, or a slice has no neighbors.
    ConfigError
        If a setting is unknown or out of its range.

    Notes
    -----
    Time and memory are those of :func:`lloki.analysis.find_domains`.
    """
    from lloki.analysis import DomainConfig, find_domains
    from lloki.tl import _programs

    config = DomainConfig.from_dict({"seed": seed, "number": number} | settings)
    sections, features, _ = _programs.read_features(
        adatas, key=key, layer=None, genes=None, slice_key=slice_key
    )
    found = find_domains(
        features, _programs.graphs(sections, neighbors), config=config, names=[s.name for s in sections]
    )
    _programs.write_domains(sections, found, config.to_dict() | {"key": key, "neighbors": neighbors})
    return found


def metagenes(
    adatas: AnnData | Sequence[AnnData],
    *,
    key: str | None = keys.JOINT,
    layer: str | None = None,
    genes: Sequence[str] | None = None,
    slice_key: str = keys.SLICE,
    k: int = 15,
    neighbors: int | None = None,
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
        Expression of 0 or more to take as it is; default the counts in ``X``, log-normalized.
    genes
        Genes to take; default all that every slice measured.
    slice_key
        ``obs`` column that names the slices. AnnData of a list that lack it are slice1, slice2, …
    k
        Number of metagenes.
    neighbors
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
        If a slot or gene is absent, features are negative or not finite, or a slice has no neighbors.
    ConfigError
        If a setting is unknown or out of its range, or there are more metagenes than features.

    Notes
    -----
    Time and memory are those of :func:`lloki.analysis.fit_programs`.
    """
    from lloki.analysis import ProgramConfig, fit_programs
    from lloki.tl import _programs

    config = ProgramConfig.from_dict({"seed": seed, "k": k} | settings)
    sections, features, names = _programs.read_features(
        adatas, key=key, layer=layer, genes=genes, slice_key=slice_key
    )
    found = fit_programs(
        features,
        _programs.graphs(sections, neighbors),
        config=config,
        device=device,
        checkpoint=checkpoint,
        names=[s.name for s in sections],
        advance=advance,
    )
    parameters = config.to_dict() | {"key": key, "layer": layer, "neighbors": neighbors}
    _programs.write_metagenes(sections, found, features=names, parameters=parameters)
    return found
