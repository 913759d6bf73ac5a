"""Fit of the factor model: expectation-maximization over assays that measure different genes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lloki.errors import ConfigError

Doubles = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class FactorConfig:
    """Settings of the factor model.

    Attributes
    ----------
    factors
        K, the number of columns of the embedding. Between 20 and 40 the result hardly changes, because
        weak factors get little weight (``loading_power``).
    rounds
        Number of rounds of expectation-maximization; the likelihood is flat after about 50.
    loading_power
        The posterior mean is multiplied by ``(WᵀW)^(loading_power / 2)``: 0 keeps the whitened factors, in
        which noise weighs as much as signal; 1 makes distances those of the imputed expression, in which the
        few strongest programs dominate. 0.5 is best on every task of the evaluation.
    noise_floor
        Minimum residual variance of a gene (whose total is 1), so that no gene counts as free of noise.
    ridge
        Shrinkage of the loadings, as a fraction of the cells that measure a gene.
    min_genes
        Minimum number of genes of a panel that the model must know.
    composition
        Whether a slice's composition is separated from its platform's effects (`lloki.embed.composition`).
        If not, the mean of every slice lies at zero, whatever cells it holds.
    """

    factors: int = 30
    rounds: int = 60
    loading_power: float = 0.5
    noise_floor: float = 0.05
    ridge: float = 1e-3
    min_genes: int = 3
    composition: bool = True

    def __post_init__(self) -> None:
        for name, low in (("factors", 1), ("rounds", 1), ("min_genes", 1)):
            if getattr(self, name) < low:
                raise ConfigError(f"{name} must be at least {low}, got {getattr(self, name)}")
        if not (self.loading_power >= 0 and self.noise_floor > 0 and self.ridge >= 0):
            raise ConfigError("loading_power and ridge must be at least 0, noise_floor above 0")


def expectation_maximization(
    moments: Sequence[Doubles],
    cells: Sequence[float],
    columns: Sequence[NDArray[np.int64]],
    n_genes: int,
    config: FactorConfig,
) -> tuple[Doubles, Doubles]:
    r"""Fit loadings and noise of assays that measure different genes.

    With the assays p, their genes' rows :math:`W_p` and :math:`Ψ_p = \mathrm{diag}(ψ_p)`, one round is

    .. math::
        C_p &= (I + W_p^T Ψ_p^{-1} W_p)^{-1}, \quad E[z] = C_p W_p^T Ψ_p^{-1} x \\
        A_g &= \sum_{p ∋ g} \Big(\sum E[z] E[z]^T + n_p C_p\Big), \quad b_g = \sum_{p ∋ g} \sum x_g E[z] \\
        w_g &= (A_g + r n_g I)^{-1} b_g, \quad
        ψ_g = \max\big((\sum x_g^2 - 2 w_g^T b_g + w_g^T A_g w_g) / n_g,\ \mathrm{floor}\big)

    whose sums over cells need the second moments of ``x`` only. Without the shrinkage ``r`` no round lowers
    the likelihood.

    Parameters
    ----------
    moments
        Per assay the (g, g) sum over cells of x xᵀ, x standardized.
    cells
        Cells per assay.
    columns
        Per assay the (g,) positions of its genes among all.
    n_genes
        G, all genes.
    config
        Settings.

    Returns
    -------
    loadings, noise
        (G, K) with orthogonal columns, largest first and of fixed sign, and (G,).
    """
    k = min(config.factors, n_genes)
    measured = np.zeros(n_genes)  # cells that measure each gene
    variance = np.zeros(n_genes)
    for moment, n, at in zip(moments, cells, columns):
        measured[at] += n
        variance[at] += np.diag(moment)
    w, noise = _initial(moments, cells, columns, n_genes, k)
    for _ in range(config.rounds):
        a = np.zeros((n_genes, k, k))  # Σ E[z zᵀ] over the cells that measure a gene
        b = np.zeros((n_genes, k))  # Σ x E[z]
        for moment, n, at in zip(moments, cells, columns):
            precise = w[at] / noise[at, None]
            covariance = np.linalg.inv(np.eye(k) + w[at].T @ precise)
            project = precise @ covariance  # E[z] = x @ project
            cross = moment @ project
            a[at] += project.T @ cross + n * covariance
            b[at] += cross
        shrunk = a + config.ridge * measured[:, None, None] * np.eye(k)
        w = np.asarray(np.linalg.solve(shrunk, b[..., None])[..., 0], np.float64)
        residual = variance - 2 * (w * b).sum(1) + np.einsum("gk,gkl,gl->g", w, a, w)
        noise = np.maximum(residual / measured, config.noise_floor)
    # The likelihood does not change when z is rotated: fix the rotation in which WᵀW is diagonal.
    _, rotation = np.linalg.eigh(w.T @ w)
    w = w @ rotation[:, ::-1]
    return w * np.where(w.sum(0) < 0, -1.0, 1.0), noise


def _initial(
    moments: Sequence[Doubles],
    cells: Sequence[float],
    columns: Sequence[NDArray[np.int64]],
    n_genes: int,
    k: int,
) -> tuple[Doubles, Doubles]:
    """Start from the principal axes of the pairwise-complete correlation.

    Pairs of genes that are never seen together count as uncorrelated.
    """
    total, seen = np.zeros((n_genes, n_genes)), np.zeros((n_genes, n_genes))
    for moment, n, at in zip(moments, cells, columns):
        total[np.ix_(at, at)] += moment
        seen[np.ix_(at, at)] += n
    correlation = np.divide(total, seen, out=np.zeros_like(total), where=seen > 0)
    values, vectors = np.linalg.eigh(correlation)
    w = vectors[:, ::-1][:, :k] * np.sqrt(np.maximum(values[::-1][:k], 1e-3))
    return w, np.maximum(np.diag(correlation) - (w**2).sum(1), 0.3)
