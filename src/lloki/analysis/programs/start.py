"""Initial metagenes, and validation of the input of a fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from lloki._parallel import single_threaded
from lloki.analysis.programs.config import ProgramConfig
from lloki.analysis.programs.section import Features
from lloki.errors import ConfigError, InputError

_SAMPLE = 20_000  # cells that k-means sees
_COMPONENTS = 20


def check_features(
    features: Sequence[Any], graphs: Sequence[Any], config: ProgramConfig, names: Sequence[str] | None = None
) -> list[Features]:
    """Return the features of all slices as float32, dense or CSR.

    Raises
    ------
    InputError
        If there is no slice, shapes do not fit, values are negative or not finite, a slice has nothing but
        zeros, or no cell of it has a neighbor.
    ConfigError
        If there are more metagenes than features or cells.
    """
    if not len(features) or len(features) != len(graphs):
        raise InputError(f"{len(features)} slices and {len(graphs)} graphs", hint="Give one graph per slice.")
    found: list[Features] = []
    for i, (x, graph) in enumerate(zip(features, graphs)):
        where = names[i] if names else f"slice {i}"
        y: Features = x.tocsr().astype(np.float32) if sparse.issparse(x) else np.asarray(x, np.float32)
        values = y.data if sparse.issparse(y) else y
        if len(y.shape) != 2 or not y.shape[0]:
            raise InputError(f"features have shape {y.shape}", where=where, hint="Give (cells, features).")
        if not np.isfinite(values).all():
            raise InputError("features hold NaN or infinity", where=where, hint="Leave these cells out.")
        if (values < 0).any():
            raise InputError(
                f"features go down to {values.min():.3g}",
                where=where,
                hint="Metagenes need non-negative features: X_lloki, or expression that is not scaled.",
            )
        if not values.any():
            raise InputError("all features are 0", where=where, hint="Leave this slice out.")
        if y.shape[1] != found[0].shape[1] if found else False:
            raise InputError(
                f"{y.shape[1]} features where the first slice has {found[0].shape[1]}",
                where=where,
                hint="Slices share metagenes, so they need the same features.",
            )
        if graph.shape != (y.shape[0], y.shape[0]):
            raise InputError(f"its graph has shape {graph.shape} for {y.shape[0]} cells", where=where)
        if not graph.nnz:
            raise InputError(
                "no cell has a spatial neighbor",
                where=where,
                hint="Leave this slice out, or check its positions.",
            )
        found.append(y)
    if config.n_metagenes > (width := found[0].shape[1]):
        text = f"n_metagenes={config.n_metagenes} needs at least as many features, got {width}."
        raise ConfigError(text)
    if config.n_metagenes > sum(y.shape[0] for y in found):
        raise ConfigError(f"n_metagenes={config.n_metagenes} needs at least as many cells.")
    return found


def first_metagenes(features: Sequence[Features], k: int, *, seed: int) -> NDArray[np.float32]:
    """Initialize metagenes by the means of clusters of all slices' cells, as SpiceMix does.

    Parameters
    ----------
    features
        (n_i, D) of each slice, non-negative.
    k
        Clusters.
    seed
        Random seed, of the sample of 20,000 cells, drawn from slices by their size, and of k-means.

    Returns
    -------
    (D, K) columns sum to one.
    """
    from sklearn.cluster import KMeans
    from sklearn.decomposition import PCA

    rng = np.random.default_rng(seed)
    share = min(1.0, _SAMPLE / sum(y.shape[0] for y in features))
    drawn = []
    for y in features:
        n = y.shape[0]
        rows = np.sort(rng.choice(n, max(1, int(n * share)), replace=False)) if share < 1 else np.arange(n)
        part = y[rows]
        dense = part.toarray() if sparse.issparse(part) else part
        drawn.append(dense.astype(np.float64) / max(float(y.mean()), 1e-30))
    x = np.concatenate(drawn)
    with single_threaded():
        seen = x
        if min(x.shape) > _COMPONENTS:
            seen = PCA(_COMPONENTS, svd_solver="covariance_eigh").fit_transform(x)
        labels = KMeans(k, n_init=4, random_state=seed).fit_predict(seen)
    means = np.stack([x[labels == c].mean(0) if (labels == c).any() else x.mean(0) for c in range(k)], axis=1)
    means += 1e-3 * x.mean(0)[:, None]  # no metagene starts with a weight of 0, which it could not leave
    return (means / means.sum(0)).astype(np.float32)


def given_metagenes(start: ArrayLike, d: int, k: int) -> NDArray[np.float32]:
    """Return given initial metagenes as (D, K) whose columns sum to one.

    Raises
    ------
    ConfigError
        If they have another shape, an entry below 0 or an empty column.
    """
    first = np.asarray(start, np.float32)
    if first.shape != (d, k) or not (first >= 0).all() or not first.any(0).all():
        raise ConfigError(f"start must be ({d}, {k}), non-negative, with no empty column")
    return first / first.sum(0)
