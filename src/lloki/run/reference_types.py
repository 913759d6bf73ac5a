"""Which cell type of the reference each cluster is nearest to."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lloki.embed import Embedder
from lloki.graph import nearest
from lloki.run.reference import Reference

NEIGHBORS = 15
CELLS = 500  # of a cluster, at most, that are looked at: the share is then known to about 2 %
REFERENCE_CELLS = 20_000  # of the reference, at most, that are searched


def nearest_types(
    reference: Reference | None,
    embedder: Embedder,
    rows: Mapping[str, NDArray[np.floating]],
    clusters: Mapping[str, NDArray[np.integer]],
    *,
    seed: int,
) -> pd.DataFrame | None:
    """Find the type of most reference cells near each cluster, in the embedding before batch correction.

    There, an embedder that learns from the run places the reference beside the slices by itself, so this
    costs no training. Other embedders are not asked: a pretrained one would take as long as for a slice.

    Parameters
    ----------
    reference
        The run's.
    embedder
        Fitted.
    rows
        Slice → (n, d) before batch correction.
    clusters
        Slice → (n,) clusters of the joint embedding.
    seed
        Draws cells.

    Returns
    -------
    pandas.DataFrame or None
        Indexed by the cluster's name: ``type``, and ``share``, that of the type among the 15 nearest
        reference cells (cosine), averaged over the cluster's cells. None where the reference has no column of
        cell types.

    Notes
    -----
    Of at most 500 cells a cluster and 20,000 of the reference: time grows with clusters, not with cells.
    """
    if reference is None or reference.types is None or not embedder.joint:
        return None
    rng = np.random.default_rng(seed)
    chosen = np.sort(rng.permutation(len(reference.types))[:REFERENCE_CELLS])
    chosen = chosen[(reference.types[chosen] != "") & (np.diff(reference.counts.indptr)[chosen] > 0)]
    if not len(chosen):
        return None
    kinds, codes = np.unique(reference.types[chosen], return_inverse=True)
    placed = reference.embed(embedder, chosen, seed=seed)
    names = sorted(rows)
    every = np.concatenate([clusters[name] for name in names])
    ends = np.cumsum([len(clusters[name]) for name in names])
    drawn = {c: np.sort(rng.permutation(np.flatnonzero(every == c))[:CELLS]) for c in np.unique(every)}
    wanted = np.sort(np.concatenate(list(drawn.values())))
    parts = np.split(wanted, np.searchsorted(wanted, ends[:-1]))
    embedded = np.concatenate(
        [rows[name][part - (end - len(clusters[name]))] for name, part, end in zip(names, parts, ends)]
    )
    found = {}
    for cluster, cells in drawn.items():
        near = codes[nearest(embedded[np.searchsorted(wanted, cells)], placed, NEIGHBORS).index]
        share = np.bincount(near.ravel(), minlength=len(kinds)) / near.size
        found[str(cluster)] = (str(kinds[share.argmax()]), float(share.max()))
    return pd.DataFrame.from_dict(found, orient="index", columns=["type", "share"])
