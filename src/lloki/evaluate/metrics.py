"""The metrics of integration: what each is called and means, and how they are put together."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np
import pandas as pd

BIO_WEIGHT = 0.6  # of bio conservation in the total, as in scIB (Luecken et al. 2022)
AGGREGATES = ("bio", "batch", "total")


@dataclass(frozen=True)
class Metric:
    """One metric: 0 to 1, higher is better.

    Attributes
    ----------
    title
        What readers of scIB know it as.
    kind
        ``"bio"``: types stay apart; ``"batch"``: batches do not.
    meaning
        In a sentence.
    aggregated
        Whether it enters the mean of its kind.
    """

    title: str
    kind: Literal["bio", "batch"]
    meaning: str
    aggregated: bool = True


METRICS = MappingProxyType(
    {
        "isolated_labels": Metric(
            "Isolated labels", "bio", "How far types that few batches have stay from all others (silhouette)."
        ),
        "kmeans_nmi": Metric(
            "KMeans NMI", "bio", "Agreement of k-means clusters with the types (mutual information)."
        ),
        "kmeans_ari": Metric("KMeans ARI", "bio", "The same by pairs of cells (adjusted Rand index)."),
        "silhouette_label": Metric(
            "Silhouette label", "bio", "How much nearer a cell lies to its own type than to the next."
        ),
        "clisi": Metric("cLISI", "bio", "How few types there are among a cell's neighbors."),
        "silhouette_batch": Metric(
            "Silhouette batch",
            "batch",
            "How little the batches part within a type; reported, but BRAS enters the mean.",
            aggregated=False,
        ),
        "bras": Metric(
            "BRAS", "batch", "The batch silhouette, corrected for batches that lie in several places."
        ),
        "ilisi": Metric("iLISI", "batch", "How many batches there are among a cell's neighbors."),
        "kbet": Metric(
            "KBET", "batch", "Share of cells whose neighbors' batches are as chance would have it."
        ),
        "graph_connectivity": Metric(
            "Graph connectivity", "batch", "Whether a type is one connected piece of the neighbor graph."
        ),
        "pcr": Metric(
            "PCR comparison", "batch", "Share of the variance due to batches that integration took away."
        ),
    }
)


@dataclass(frozen=True)
class Profile:
    """Which metrics are computed, from how many cells at most."""

    cells: int
    metrics: tuple[str, ...]


# Most time goes into compiling: kBET and the batch silhouette compile anew for every type.
PROFILES = MappingProxyType(
    {
        "fast": Profile(3_000, tuple(m for m in METRICS if m not in ("kbet", "silhouette_batch"))),
        "full": Profile(8_000, tuple(METRICS)),
    }
)


def entering(scores: pd.DataFrame) -> list[str]:
    """Metrics that enter the aggregates: those that every method has a value of.

    A metric that failed for one method is left out for all, so that aggregates remain comparable; a method of
    which no metric has a value has no say.

    Parameters
    ----------
    scores
        A row a method, a column a metric (other columns are passed over).
    """
    table = scores[[m for m in METRICS if m in scores and METRICS[m].aggregated]].astype(float)
    table = table[table.notna().any(axis=1)]
    return [str(m) for m in table.columns if len(table) and table[m].notna().all()]


def aggregate(scores: pd.DataFrame) -> pd.DataFrame:
    """Mean of the bio metrics, mean of the batch metrics, and total = 0.6 bio + 0.4 batch.

    Parameters
    ----------
    scores
        A row a method, a column a metric.

    Returns
    -------
    pandas.DataFrame
        The same rows; columns bio, batch, total, over the metrics of :func:`entering`. NaN where a kind has
        none.
    """
    names = entering(scores)
    out = pd.DataFrame(index=scores.index, columns=list(AGGREGATES), dtype=float)
    for kind in ("bio", "batch"):
        out[kind] = scores[[m for m in names if METRICS[m].kind == kind]].astype(float).mean(axis=1)
    out["total"] = BIO_WEIGHT * out["bio"] + (1 - BIO_WEIGHT) * out["batch"]
    return out


def min_max(scores: pd.DataFrame) -> pd.DataFrame:
    """Scale every metric so that the worst of the methods has 0 and the best 1.

    A metric on which all methods are equal does not distinguish them and becomes NaN. Scaled values depend
    on which methods are compared.
    """
    table = scores[[m for m in METRICS if m in scores]].astype(float)
    span = (table.max() - table.min()).replace(0, np.nan)
    return (table - table.min()) / span
