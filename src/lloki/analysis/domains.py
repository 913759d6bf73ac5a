"""Spatial domains, shared by all slices."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from lloki._parallel import single_threaded
from lloki.analysis.domain_config import DomainConfig, Domains
from lloki.analysis.order import content_order, given_order
from lloki.errors import InputError


def find_domains(
    embeddings: Sequence[NDArray],
    graphs: Sequence[sparse.spmatrix],
    *,
    config: DomainConfig | None = None,
    names: Sequence[str] | None = None,
) -> Domains:
    """Cluster cells of all slices by their neighborhoods.

    Parameters
    ----------
    embeddings
        (n_i, d) of each slice, in one space.
    graphs
        (n_i, n_i) spatial adjacency of each.
    config
        Parameters.
    names
        Names of the slices, for messages.

    Raises
    ------
    InputError
        If values are not finite, shapes do not fit, a slice has no neighbors, or there are too few cells.

    Notes
    -----
    Slices are clustered together, so that a domain means the same in all of them; results do not depend on
    their order.
    Time grows with cells x d for the means, and with sample x components² x domains x candidates x repeats
    for the fits.
    """
    config = config or DomainConfig()
    _check(embeddings, graphs, names)
    seen = content_order(embeddings, graphs)
    x = _surroundings([embeddings[i] for i in seen], [graphs[i] for i in seen], config)
    rng = np.random.default_rng(config.seed)
    most = max(config.candidates) if config.n_domains is None else config.n_domains
    if len(x) < 5 * most:
        raise InputError(f"{len(x)} cells are too few for {most} domains", hint="Ask for fewer.")
    rows = (
        np.sort(rng.choice(len(x), config.sample, replace=False))
        if len(x) > config.sample
        else np.arange(len(x))
    )
    with single_threaded():
        stability, n_domains = None, config.n_domains
        if n_domains is None:
            stability = _stability(x[rows], config)
            n_domains = int(stability.index[int(np.argmax(stability.to_numpy()))])
        labels, confidence = _clustered(x, rows, n_domains, config, config.seed)
    order = np.argsort(-np.bincount(labels), kind="stable")
    labels = np.argsort(order)[labels]
    cuts = np.cumsum([len(embeddings[i]) for i in seen])[:-1]
    each = given_order(np.split(labels, cuts), seen)
    return Domains(each, given_order(np.split(confidence, cuts), seen), stability, config)


def _check(
    embeddings: Sequence[NDArray], graphs: Sequence[sparse.spmatrix], names: Sequence[str] | None
) -> None:
    if not len(embeddings) or len(embeddings) != len(graphs):
        raise InputError(
            f"{len(embeddings)} slices and {len(graphs)} graphs", hint="Give one graph per slice."
        )
    for i, (e, graph) in enumerate(zip(embeddings, graphs)):
        x, where = np.asarray(e), names[i] if names else f"slice {i}"
        if x.ndim != 2 or not np.isfinite(x).all():
            text = "the embedding holds NaN or infinity, or is not a matrix"
            raise InputError(text, where=where, hint="Leave these cells out.")
        if graph.shape != (len(x), len(x)):
            raise InputError(f"its graph has shape {graph.shape} for {len(x)} cells", where=where)
        if not graph.nnz:
            hint = "Leave this slice out, or check its positions."
            raise InputError("no cell has a spatial neighbor", where=where, hint=hint)


def _surroundings(
    embeddings: Sequence[NDArray], graphs: Sequence[sparse.spmatrix], config: DomainConfig
) -> NDArray[np.float64]:
    """(N, n_components) principal components of the means over neighborhoods, all scales weighted equally."""
    from sklearn.decomposition import PCA

    parts: list[list[NDArray]] = [[] for _ in config.scales]
    for e, graph in zip(embeddings, graphs):
        x = np.asarray(e, np.float64)
        w = sparse.csr_matrix(graph, dtype=np.float64) + sparse.identity(len(x))
        mean = sparse.diags(1.0 / np.asarray(w.sum(1)).ravel()) @ w
        for step in range(config.scales[-1] + 1):
            if step in config.scales:
                parts[config.scales.index(step)].append(x)
            x = mean @ x
    scaled = []
    for part in parts:
        joined = np.concatenate(part)
        joined = joined - joined.mean(0)
        scaled.append(joined / max(float(np.sqrt(np.square(joined).sum(1).mean())), 1e-12))
    wide = np.concatenate(scaled, axis=1)
    with single_threaded():
        return PCA(min(config.n_components, *wide.shape), svd_solver="covariance_eigh").fit_transform(wide)


def _stability(x: NDArray, config: DomainConfig) -> pd.Series:
    """Mean adjusted Rand index between fits to random halves, on all cells of the sample, for each number."""
    from sklearn.metrics import adjusted_rand_score

    rng = np.random.default_rng(config.seed)
    halves = [np.sort(rng.choice(len(x), len(x) // 2, replace=False)) for _ in range(config.repeats)]
    found = {}
    for n_domains in config.candidates:
        tried = [_clustered(x, h, n_domains, config, config.seed + i + 1)[0] for i, h in enumerate(halves)]
        pairs = [(a, b) for i, a in enumerate(tried) for b in tried[i + 1 :]]
        found[n_domains] = float(np.mean([adjusted_rand_score(a, b) for a, b in pairs]))
    return pd.Series(found, name="stability")


def _clustered(
    x: NDArray, rows: NDArray, n_domains: int, config: DomainConfig, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Cluster these rows, and assign all others to the clusters."""
    if config.method == "mixture":
        from sklearn.mixture import GaussianMixture

        model = GaussianMixture(n_domains, reg_covar=1e-4, random_state=seed, max_iter=200).fit(x[rows])
        chance = model.predict_proba(x)
        return chance.argmax(1), chance.max(1)
    from sklearn.neighbors import NearestNeighbors

    known = _leiden(x[rows], n_domains, config, seed)
    near = NearestNeighbors(n_neighbors=min(config.leiden_neighbors, len(rows))).fit(x[rows])
    votes = np.zeros((len(x), known.max() + 1))
    np.add.at(votes, (np.arange(len(x))[:, None], known[near.kneighbors(x, return_distance=False)]), 1.0)
    return votes.argmax(1), votes.max(1) / votes.sum(1)


def _leiden(x: NDArray, n_domains: int, config: DomainConfig, seed: int) -> NDArray[np.int64]:
    """Cluster the neighbor graph at the resolution that gives ``n_domains``, found by bisection."""
    import igraph
    from sklearn.neighbors import kneighbors_graph

    w = kneighbors_graph(x, min(config.leiden_neighbors, len(x) - 1))
    w = sparse.triu(w.maximum(w.T), k=1).tocoo()
    graph: Any = igraph.Graph(n=len(x), edges=np.stack([w.row, w.col], axis=1))
    low, high = 1e-3, 8.0
    best: tuple[int, list[int]] | None = None
    for _ in range(14):
        resolution = float(np.sqrt(low * high))
        igraph.set_random_number_generator(random.Random(seed))
        cut = graph.community_leiden("modularity", resolution=resolution, n_iterations=4)
        found = len(cut)
        if best is None or abs(found - n_domains) < abs(best[0] - n_domains):
            best = found, cut.membership
        if found == n_domains:
            break
        low, high = (resolution, high) if found < n_domains else (low, resolution)
    igraph.set_random_number_generator(random)
    return np.asarray(best[1] if best else [], np.int64)
