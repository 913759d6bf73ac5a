"""Neighborhood programs: genes of one cell type that depend on another type around it."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from lloki._progress import Advance
from lloki.analysis.infiltration import DataSet, Outcome, outcome
from lloki.analysis.neighborhood_inputs import NeighborhoodConfig, Tissue
from lloki.errors import InputError
from lloki.graph import cosine_neighbors, leiden

Doubles = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class NeighborhoodProgram:
    """Result of :func:`neighborhood_program`, over N focal cells of all slices, slice after slice.

    Attributes
    ----------
    found
        Whether there is a neighborhood program: rich clusters, genes and correlation, all significant by
        permutations.
    reason
        Why it was found, or why not.
    share
        (N,) share of the neighbor type among the nearest cells.
    cluster
        (N,) Leiden cluster.
    infiltrating
        (N,) bool: in a cluster that is rich in that share.
    score
        (N,) signed score of the neighborhood program; NaN in data sets that measured none of its genes.
    genes
        Indexed by gene, from most up to most down. Columns: see :func:`lloki.analysis.contrast.compare`, and
        direction (``"up"``, ``"down"`` or ``""``).
    correlations
        One row per data set and one for all: n_cells, pearson, spearman of score and share, and p of the
        latter by permutations.
    contrast, contrast_p
        How much higher the share is in infiltrating cells than in the others of their slices, and its p-value
        by permutations.
    null_genes
        Mean number of genes found with shuffled positions.
    """

    found: bool
    reason: str
    share: Doubles
    cluster: NDArray[np.int64]
    infiltrating: NDArray[np.bool_]
    score: Doubles
    genes: pd.DataFrame
    correlations: pd.DataFrame
    contrast: float
    contrast_p: float
    null_genes: float

    @property
    def up(self) -> list[str]:
        """Genes that are up in infiltrating cells, the most significant first."""
        return list(self.genes.index[self.genes["direction"] == "up"])

    @property
    def down(self) -> list[str]:
        """Genes that are down in infiltrating cells, the most significant first."""
        return list(self.genes.index[self.genes["direction"] == "down"])[::-1]


def neighbor_share(xy: Doubles, of: NDArray[np.bool_], *, n_neighbors: int = 100) -> Doubles:
    """Compute the share (n,) of cells of a type among each cell's k nearest in space, excluding itself.

    All other cells are taken where there are no more than ``n_neighbors``, k; 0 for a cell that is alone.
    Time grows with n·k·log n.
    """
    n = len(xy)
    k = min(n_neighbors, n - 1)
    if k < 1:
        return np.zeros(n)
    _, near = cKDTree(xy).query(xy, k + 1)
    other = near != np.arange(n)[:, None]
    other[other.all(axis=1), -1] = False  # cells at the same position may hide the cell itself
    return np.where(other, of[near], False).sum(axis=1) / k


def neighborhood_program(
    tissues: Sequence[Tissue], *, config: NeighborhoodConfig | None = None, advance: Advance | None = None
) -> NeighborhoodProgram:
    """Find genes of a focal type that depend on a neighbor type around it.

    1. For each focal cell, the share of the neighbor type among its k nearest cells in space.
    2. Leiden clusters of all focal cells in the joint embedding; those rich in that share are infiltrating.
    3. In each data set, genes enriched in the focal type; of these, infiltrating against other focal cells;
       ranks aggregated over data sets; genes that change in the same direction everywhere, and correlate with
       the share itself.
    4. Their signed score, and its correlation with the share.
    5. Permutations: all from the choice of clusters on, with focal cells' positions shuffled within slices.

    Parameters
    ----------
    tissues
        Slices. Those of one data set are compared together, over the genes that all of them measured.
    config
        Parameters.
    advance
        Called with numbers of permutations done.

    Raises
    ------
    InputError
        If there are fewer than 20 focal cells, or none of the neighbor type.

    Notes
    -----
    Permutations test whether scores depend on position at all. They do not separate a response to
    the neighbors from what else varies over the tissue, nor from neighbors' transcripts that were assigned to
    focal cells; the first stage guards against the latter only in part. Memory: 24 bytes x focal cells x
    enriched genes. Time: the neighbors in the embedding, and a product of that matrix with a vector for each
    permutation.
    """
    config, tissues = config or NeighborhoodConfig(), sorted(tissues, key=lambda t: t.name)
    total, seen = sum(int(t.focal.sum()) for t in tissues), sum(int(t.neighbor.sum()) for t in tissues)
    if total < 20 or not seen:
        text = f"there are {total} cells of the focal type and {seen} of the neighbor type"
        raise InputError(text, hint="At least 20 and 1 are needed: check the names of the types.")
    share = np.concatenate(
        [neighbor_share(t.xy, t.neighbor, n_neighbors=config.n_neighbors)[t.focal] for t in tissues]
    )
    slices = np.repeat([t.name for t in tissues], [int(t.focal.sum()) for t in tissues])
    datasets = np.repeat([t.dataset for t in tissues], [int(t.focal.sum()) for t in tissues])
    embedding = np.concatenate([t.embedding[t.focal] for t in tissues])
    near = cosine_neighbors(embedding, min(config.graph_neighbors, total - 1))
    cluster = leiden(near, resolution=config.resolution, seed=config.seed)
    n_clusters = int(cluster.max()) + 1
    names = list(dict.fromkeys(t.dataset for t in tissues))
    prepared = [
        DataSet.make(
            n, [t for t in tissues if t.dataset == n], slices, datasets == n, cluster, n_clusters, config
        )
        for n in names
    ]

    def pipeline(shares: Doubles) -> Outcome:
        return outcome(shares, slices, cluster, n_clusters, prepared, config)

    real = pipeline(share)
    draws = [np.random.default_rng([config.seed, zlib.crc32(t.name.encode())]) for t in tissues]
    rows = [np.flatnonzero(slices == t.name) for t in tissues]
    null = []
    for _ in range(config.permutations):
        shuffled = share.copy()
        for rng, own in zip(draws, rows):
            shuffled[own] = share[rng.permutation(own)]
        null.append(pipeline(shuffled))
        if advance is not None:
            advance(1)
    rhos = np.array([o.correlations["spearman"] for o in null])
    p = [_p(rho, rhos[:, i]) for i, rho in enumerate(real.correlations["spearman"])]
    correlations = real.correlations.assign(p=p)
    contrast_p = _p(real.contrast, [o.contrast for o in null])
    found, reason = _verdict(real, contrast_p, p[-1], config)
    return NeighborhoodProgram(
        found,
        reason,
        share,
        cluster,
        real.rich[cluster],
        real.score,
        real.genes.sort_values("rank", ascending=False),
        correlations,
        real.contrast,
        contrast_p,
        float(np.mean([(o.genes["direction"] != "").sum() for o in null])),
    )


def _p(value: float, null: Sequence[float] | Doubles) -> float:
    return float((1 + np.sum(np.asarray(null) >= value)) / (1 + len(null)))


def _verdict(real: Outcome, contrast_p: float, p: float, config: NeighborhoodConfig) -> tuple[bool, str]:
    if not real.rich.any():
        return False, "The focal cells form a single cluster."
    if contrast_p > config.alpha:
        return False, (
            f"No cluster is richer in the neighbor type than with shuffled positions (p = {contrast_p:.3f})."
        )
    if not (real.genes["direction"] != "").any():
        return (
            False,
            "Some clusters are rich in the neighbor type, but no gene changes with it in all data sets.",
        )
    if p > config.alpha:
        return (
            False,
            f"The score correlates with the neighbor type no better than at random (p = {p:.3f}).",
        )
    up, down = ((real.genes["direction"] == side).sum() for side in ("up", "down"))
    return True, (
        f"{up} genes up and {down} down in clusters that are richer in the neighbor type by "
        f"{real.contrast:.1%} (p = {contrast_p:.3f}); score against share: p = {p:.3f}."
    )
