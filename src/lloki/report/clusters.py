"""What each cluster is: marker genes, slices, most frequent label and nearest type of the reference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import anndata as ad
import numpy as np
import pandas as pd

from lloki import keys
from lloki._parts import read_parts
from lloki.analysis import UNKNOWN
from lloki.analysis.cluster_markers import top_markers
from lloki.errors import InputError
from lloki.fp import log_normalize
from lloki.pl._coloring import Coloring

_TYPES = (keys.LABEL, keys.MARKER_TYPE)  # where the input has no label


@dataclass(frozen=True)
class Cluster:
    """A row of the table of clusters.

    Attributes
    ----------
    name, color, cells
        As in the legend.
    shares
        Of each slice that has cells of it: name, color, share of the cluster's cells, in %.
    markers
        Genes that distinguish it, and in how many slices each was compared.
    kind
        The most frequent type of its labeled cells, and their share, or ``""``.
    near
        The type of most of the nearest cells of the reference, and its share, or ``""``.
    """

    name: str
    color: str
    cells: int
    shares: list[tuple[str, str, float]]
    markers: list[tuple[str, int]]
    kind: str
    near: str


def describe(
    joint: ad.AnnData, by: Mapping[str, Coloring], markers: pd.DataFrame, label_key: str | None
) -> list[Cluster]:
    """Describe every cluster, in the order of the legend; ``by`` has the colors of clusters and slices."""
    clusters, slices = by[keys.CLUSTER], by[keys.SLICE]
    name, where = (joint.obs[k].astype(str) for k in (keys.CLUSTER, keys.SLICE))
    present = set(name)
    slice_colors = {n: c for n, c, _ in slices.legend}
    column = next((c for c in (label_key, *_TYPES) if c is not None and c in joint.obs), None)
    nearest = joint.uns.get(keys.UNS, {}).get(keys.NEAREST_TYPES, pd.DataFrame())
    found = []
    for cluster, color, cells in clusters.legend:
        if cluster not in present:
            continue
        own_slices: dict[str, int] = where[name == cluster].value_counts().to_dict()
        shares = [(s, slice_colors[s], 100 * own_slices[s] / cells) for s in slice_colors if s in own_slices]
        own = markers[markers["cluster"] == cluster]
        kind = _kind(joint.obs.loc[(name == cluster).to_numpy(), column]) if column is not None else ""
        genes = list(zip(map(str, own["gene"]), map(int, own["n_slices"])))
        near = ""
        if cluster in nearest.index:
            near = f"{nearest.loc[cluster, 'type']} ({nearest.loc[cluster, 'share']:.0%})"
        found.append(Cluster(cluster, color, cells, shares, genes, kind, near))
    return found


def markers_of(joint: ad.AnnData) -> pd.DataFrame:
    """Marker genes of the clusters, named; empty where there are no clusters or no counts."""
    empty = pd.DataFrame(columns=["cluster", "gene", "n_slices"])
    if keys.CLUSTER not in joint.obs or keys.SLICE not in joint.obs or joint.X is None or not joint.n_vars:
        return empty
    codes = pd.Categorical(joint.obs[keys.CLUSTER].astype(str))
    values, genes, clusters = [], [], []
    for part in read_parts(joint):
        try:
            counts, names = part.expression(keys.COUNTS if keys.COUNTS in joint.layers else None)
        except InputError:  # values below zero, say: the page does without markers
            return empty
        values.append(log_normalize(counts))
        genes.append(names)
        clusters.append(np.asarray(codes.codes[part.rows], dtype=np.int64))
    found = top_markers(values, genes, clusters, n_clusters=len(codes.categories))
    return found.assign(cluster=[codes.categories[k] for k in found["cluster"]])


def one_of_each(markers: pd.DataFrame) -> list[str]:
    """Genes in the order in which the viewer offers them: the best of every cluster, then the second best."""
    rank = markers.groupby("cluster").cumcount()
    return list(dict.fromkeys(markers.iloc[np.argsort(rank.to_numpy(), kind="stable")]["gene"].astype(str)))


def _kind(labels: pd.Series) -> str:
    known = labels[labels.notna()].astype(str)
    known = known[known != UNKNOWN]
    if known.empty:
        return ""
    counts = known.value_counts()
    return f"{counts.index[0]} ({counts.iloc[0] / len(known):.0%} of {len(known):,})"
