"""StabMap (Ghazanfar, Guibentif and Marioni 2023), after the paper."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import linalg

from lloki._parallel import single_threaded
from lloki.benchmark.measured import Measured
from lloki.benchmark.peers._mosaic import Mosaic, Rows
from lloki.benchmark.peers._standardized import Doubles, Standardized, principal_axes
from lloki.errors import InputError

COMPONENTS = 50  # the default of the authors' package
LEAST_SHARED = 10  # genes; below, a path through the scRNA-seq reference is more reliable than a direct one
LEAST_LINK = 3


def stabmap(
    slices: Sequence[Measured],
    reference: Measured,
    *,
    components: int = COMPONENTS,
    least_shared: int = LEAST_SHARED,
) -> list[Rows]:
    """Map all cells into the principal components of every data set in turn.

    Parameters
    ----------
    slices
        Counts of each slice, over its own genes.
    reference
        Counts of the scRNA-seq reference.
    components
        Principal components of each data set; fewer where it has fewer genes.
    least_shared
        Shared genes that two slices need to be mapped directly. With fewer the path leads through the
        scRNA-seq reference.

    Returns
    -------
    Of each slice, (n, d) float32: d is the sum of the components of all data sets.

    Raises
    ------
    InputError
        If two data sets are connected by fewer than 3 shared genes.

    Notes
    -----
    Expression is log-normalized and standardized per data set and gene. For a data set *a* with loadings
    :math:`V_a`, the scores of *a* are :math:`X_a V_a`. Cells of *b* get the scores that a linear regression,
    fitted on the cells of *a*, predicts from the genes that both have. On a path of three, the scores
    predicted for the data set in the middle are regressed in the same way on the genes that it shares with
    the third. All regressions follow from the covariances of genes in each data set, so time grows with
    n·g² + g³ of each data set (n cells, g genes) and memory with g², the stored counts and the result. There
    is no random number in it.

    Every block of scores is divided by its mean L1 norm over the cells of all data sets, so that no data set
    dominates the distances.

    The paper: Nature Biotechnology 42, 284-292, doi:10.1038/s41587-023-01766-z. Unlike there, data sets keep
    all of their genes (the package restricts them to the 1,000 most variable).
    """
    mosaic = Mosaic.of(slices, reference)
    with single_threaded():
        data = [Standardized.of(d) for d in mosaic.data]
        covariances = [x.covariance() for x in data]
        middle = len(data) - 1
        parts: list[list[Doubles]] = [[] for _ in data]
        for a, own in enumerate(data):
            axes = principal_axes(covariances[a], own.x.shape[0], components)
            through: Doubles | None = None
            block = []
            for b, other in enumerate(data):
                shared = _shared(own, other)
                if a == b:
                    weights = axes
                elif middle in (a, b) or len(shared) >= least_shared:
                    weights = _step(own, covariances[a], axes, other)
                else:
                    if through is None:
                        through = _step(own, covariances[a], axes, data[middle])
                    weights = _step(data[middle], covariances[middle], through, other)
                block.append(other.dot(weights))
            size = float(np.abs(np.concatenate(block)).sum(axis=1).mean()) or 1.0
            for part, scores in zip(parts, block):
                part.append(scores / size)
        return mosaic.as_given([np.hstack(part) for part in parts[:middle]])


def _step(source: Standardized, covariance: Doubles, weights: Doubles, target: Standardized) -> Doubles:
    """Weights (g_target, d) that give cells of ``target`` what ``weights`` give those of ``source``.

    Least squares over the cells of ``source`` from the genes that both have; where these are collinear, the
    solution of least norm.
    """
    shared = _shared(source, target)
    if len(shared) < LEAST_LINK:
        raise InputError(
            f"two data sets are connected by {len(shared)} shared genes, which is too few to map cells",
            hint=f"StabMap needs {LEAST_LINK}.",
        )
    at = source.columns(shared)
    found = linalg.pinvh(covariance[np.ix_(at, at)], rtol=1e-6) @ (covariance[at] @ weights)
    out = np.zeros((len(target.genes), weights.shape[1]))
    out[target.columns(shared)] = found
    return out


def _shared(one: Standardized, other: Standardized) -> list[str]:
    known = set(other.genes)
    return [gene for gene in one.genes if gene in known]
