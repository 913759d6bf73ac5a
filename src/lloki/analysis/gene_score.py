"""Scores of gene sets, as scanpy's ``score_genes`` computes them, as weights of genes."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Doubles = NDArray[np.float64]


def score_weights(
    mean: Doubles, chosen: NDArray[np.bool_], *, control: int = 50, bins: int = 25, seed: int = 0
) -> Doubles:
    """Weights of genes whose weighted sum is the score of a gene set (Tirosh et al., Science 2016).

    The score is the mean of the set, less the mean of control genes of similar expression: from each of the
    bins of mean expression that hold a gene of the set, up to ``control`` others.

    Parameters
    ----------
    mean
        (g,) mean expression of all genes of the panel.
    chosen
        (g,) bool, the set.
    control
        Genes drawn from a bin.
    bins
        Bin of each gene by the rank of its mean.
    seed
        Random seed.

    Returns
    -------
    (g,) that sum to 0; zeros if the set is empty, or if it is the whole panel. On small panels, where no bin
    holds another gene, the controls are all other genes.
    """
    weights = np.zeros(len(mean))
    if not chosen.any() or chosen.all():
        return weights
    size = max(int(np.round(len(mean) / (bins - 1))), 1)
    cut = pd.Series(mean).rank(method="min").to_numpy() // size
    rng, controls = np.random.default_rng(seed), np.zeros(len(mean), bool)
    for value in np.unique(cut[chosen]):
        there = np.flatnonzero(cut == value)
        controls[there if len(there) <= control else rng.choice(there, control, replace=False)] = True
    controls &= ~chosen
    if not controls.any():
        controls = ~chosen
    weights[chosen] = 1 / chosen.sum()
    weights[controls] -= 1 / controls.sum()
    return weights


def signed_weights(
    mean: Doubles, up: NDArray[np.bool_], down: NDArray[np.bool_], *, seed: int = 0
) -> Doubles:
    """Weights (g,) of the score of ``up`` less that of ``down``."""
    return score_weights(mean, up, seed=seed) - score_weights(mean, down, seed=seed)
