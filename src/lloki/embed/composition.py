r"""Composition apart from platform: where the mean of a slice lies in the space of factors.

Centering every gene by the slice's own mean removes the platform's effect on it, and with it whatever the
slice is made of: a slice of astrocytes alone would be centered at zero, among all cell types. The mean level
of gene g in slice s is modeled as

.. math::
    y_{sg} = α_g + τ_{sg} + w_g^T ζ_s, \qquad τ_{sg} \sim N(0, v), \quad ζ_s \sim N(0, D_s)

in units of the gene's standard deviation on the slice's platform, with the loadings :math:`w_g` of the factor
model and a free :math:`α_g`. Platforms change genes one by one, composition changes them along the loadings:
that, over dozens of genes, tells one from the other. A slice that holds all kinds of cells varies along every
factor as the whole does, and one of few kinds varies less: :math:`D_s = δ^2 (I - C_s)_+ + d_0 I`, with the
covariance :math:`C_s` of its cells' factors, lets only such a slice move far. A cell's factors are then those
of its expression, centered and scaled as if the slice held everything, plus :math:`ζ_s`.

Rules for what cannot be known: a gene that only one data set measures says nothing about composition; a slice
that shares few genes with others stays near its own center. The scRNA-seq reference is a data set like any
other. The names of technologies play no part: effects shared by the slices of one technology improved nothing
on real slices, and would take two laboratories' versions of one instrument for the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.linalg import LinearOperator, cg

from lloki.errors import LlokiError

Doubles = NDArray[np.float64]
Integers = NDArray[np.int64]

# Variance v of a gene's level between data sets, in units of its variance within one: between five
# technologies levels differ by .2 to .45 standard deviations, between sections of one animal by .07.
LEVEL = 0.1
# Variance of a slice's mean along factors in which its cells do not vary, and in those where they do.
FREE, FIXED = 2.0, 0.01
SCALES = (0.3, 1.3)
ROUNDS = 40
PRIOR = 50.0  # cells' worth of evidence that a slice varies as the whole does
NOISE_FLOOR = 0.02
TOLERANCE = 1e-10  # of the conjugate gradients, relative


@dataclass(frozen=True)
class Levels:
    """Levels of all genes in the data sets of a fit, without what their composition adds.

    Attributes
    ----------
    mean
        (G,) over the data sets that measure the gene.
    count
        (G,) how many these are.
    """

    mean: Doubles
    count: Integers

    @classmethod
    def of(
        cls, rows: Sequence[Integers], levels: Sequence[Doubles], shifts: Sequence[Doubles], loadings: Doubles
    ) -> Levels:
        """From the levels of each data set at the ``rows`` of its genes, and its shift."""
        freed = [y - loadings[r] @ z for r, y, z in zip(rows, levels, shifts)]
        count, n = np.bincount(gene := np.concatenate(rows), minlength=len(loadings)), len(loadings)
        return cls(np.bincount(gene, np.concatenate(freed), n) / np.maximum(count, 1), count)


def within_covariance(moment: Doubles, n: float, loadings: Doubles) -> Doubles:
    """Estimate the (K, K) covariance of factors among the cells of a slice, by expectation-maximization.

    Parameters
    ----------
    moment
        (g, g) sum over cells of x xᵀ, standardized within the slice.
    n
        Number of cells.
    loadings
        (g, K) of the slice's genes; fixed, as only the covariance and the noise of each gene are fitted.

    Returns
    -------
    (K, K), 1 on average (weighted by the factors' strength) if the slice's signal is weaker than that of all
    data: noisy cells are no sign of a composition.
    """
    k = loadings.shape[1]
    correlation = moment / max(n, 1.0)
    covariance: Doubles = np.eye(k)
    noise = np.maximum(1 - np.square(loadings).sum(1), 0.05)
    for _ in range(ROUNDS):
        precise = loadings / noise[:, None]
        posterior = np.linalg.inv(np.linalg.inv(covariance + 1e-6 * np.eye(k)) + loadings.T @ precise)
        project = precise @ posterior
        cross = correlation @ project  # mean over cells of x E[z]ᵀ
        second = project.T @ cross + posterior  # mean over cells of E[z zᵀ]
        covariance = (n * second + PRIOR * np.eye(k)) / (n + PRIOR)
        residual = np.diag(correlation) - 2 * (loadings * cross).sum(1)
        residual += np.einsum("gk,kl,gl->g", loadings, second, loadings)
        noise = np.maximum(residual, NOISE_FLOOR)
    strength = np.square(loadings).sum(0)
    signal = float((np.diag(covariance) * strength).sum() / max(strength.sum(), 1e-12))
    scaled: Doubles = covariance / min(1.0, max(signal, 1e-6))
    return scaled


def relative_scale(covariance: Doubles, loadings: Doubles, noise: Doubles) -> Doubles:
    r"""Estimate the standard deviation (g,) of genes in a slice, relative to one that holds everything.

    :math:`\sqrt{w_g^T C w_g + ψ_g}`: where a gene's cells do not differ, its own standard deviation is noise
    alone, and scaled to one it would weigh too much. Values stay within `SCALES`.

    Parameters
    ----------
    covariance
        Of the slice, see `within_covariance`.
    loadings, noise
        (g, K) and (g,) of the slice's genes.
    """
    variance = np.einsum("gk,kl,gl->g", loadings, covariance, loadings) + noise
    return np.clip(np.sqrt(np.maximum(variance, 0)), *SCALES)


def freedom(covariance: Doubles) -> Doubles:
    """Give the prior variance D of a slice's shift, (K, K), from the covariance of its cells' factors."""
    values, vectors = np.linalg.eigh(np.eye(len(covariance)) - covariance)
    prior: Doubles = (vectors * (np.maximum(values, 0) * FREE + FIXED)) @ vectors.T
    return prior


def solve_shifts(
    rows: Sequence[Integers], levels: Sequence[Doubles], covariances: Sequence[Doubles], loadings: Doubles
) -> Doubles:
    """Estimate the shifts ζ of all data sets together.

    Parameters
    ----------
    rows, levels
        Of each data set, the rows of its genes in ``loadings`` and their mean levels.
    covariances
        Of each data set, see `within_covariance`.
    loadings
        (G, K).

    Returns
    -------
    (data sets, K).

    Notes
    -----
    Conjugate gradients; a round costs K times the entries of all panels, and nothing grows with the cells.
    """
    n, k = len(rows), loadings.shape[1]
    gene, owner = np.concatenate(rows), np.repeat(np.arange(n), [len(r) for r in rows])
    count = np.bincount(gene, minlength=len(loadings))
    w = loadings[gene]  # (m, K)
    priors = np.stack([np.linalg.inv(freedom(c)) for c in covariances])

    def weigh(values: Doubles) -> Doubles:
        """Inverse covariance of the levels (m,), with α free: a gene of one data set gets no weight."""
        mean = np.bincount(gene, values, len(loadings)) / np.maximum(count, 1)
        return np.asarray((values - mean[gene]) / LEVEL, np.float64)

    def gather(values: Doubles) -> Doubles:
        out = np.zeros((n, k))
        np.add.at(out, owner, w * values[:, None])
        return out

    def apply(flat: Doubles) -> Doubles:
        shifts = flat.reshape(n, k)
        own = np.einsum("nkl,nl->nk", priors, shifts)
        return np.asarray(own + gather(weigh((w * shifts[owner]).sum(1))), np.float64).ravel()

    # Each data set's own block of the matrix, were the others known: a good guess of its inverse.
    alone = (1 - 1 / count[gene]) / LEVEL
    own = [(w[owner == i].T * alone[owner == i]) @ w[owner == i] for i in range(n)]
    blocks = np.linalg.inv(priors + np.stack(own))

    def precondition(flat: Doubles) -> Doubles:
        return np.asarray(np.einsum("nkl,nl->nk", blocks, flat.reshape(n, k)), np.float64).ravel()

    solved, failed = cg(
        LinearOperator((n * k, n * k), matvec=apply, dtype=np.float64),
        gather(weigh(np.concatenate(levels))).ravel(),
        rtol=TOLERANCE,
        maxiter=50 * n * k,
        M=LinearOperator((n * k, n * k), matvec=precondition, dtype=np.float64),
    )
    if failed:
        raise LlokiError(
            "the composition of the slices could not be estimated: the equations do not converge"
        )
    return np.asarray(solved, np.float64).reshape(n, k)


def shift_of_new(
    rows: Integers, level: Doubles, covariance: Doubles, loadings: Doubles, known: Levels
) -> Doubles:
    """Estimate the shift ζ (K,) of a data set that was not in the fit, with all others as they are.

    Parameters
    ----------
    rows, level
        Rows of its genes in ``loadings``, and their mean levels.
    covariance
        See `within_covariance`.
    loadings
        (G, K).
    known
        Levels of the data sets of the fit.
    """
    seen = rows[known.count[rows] > 0]
    w, precise = loadings[seen], 1 / (LEVEL * (1 + 1 / known.count[seen]))
    surprise = level[known.count[rows] > 0] - known.mean[seen]
    precision = np.linalg.inv(freedom(covariance)) + (w.T * precise) @ w
    return np.asarray(np.linalg.solve(precision, w.T @ (surprise * precise)), np.float64)
