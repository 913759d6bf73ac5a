r"""Composition apart from platform: where the mean of a slice lies in the space of factors.

Centering every gene by the slice's own mean removes the platform's effect on it, and with it whatever the
slice is made of: a slice of astrocytes alone would be centered at zero, among all cell types. The mean level
of gene g in slice s of technology t is modeled as

.. math::
    y_{sg} = α_g + τ_{tg} + ε_{sg} + w_g^T ζ_s, \qquad
    τ_{tg} \sim N(0, v_b), \quad ε_{sg} \sim N(0, v_w), \quad ζ_s \sim N(0, D_s)

in units of the gene's standard deviation on the slice's platform, with the loadings :math:`w_g` of the factor
model. Platforms change genes one by one, composition changes them along the loadings: that, over dozens of
genes, tells one from the other. The level :math:`α_g` is free, and slices of one technology share :math:`τ`,
so that between them nearly every difference is composition.
A slice that holds all kinds of cells varies along every factor
as the whole does, and one of few kinds varies less: :math:`D_s = δ^2 (I - C_s)_+ + d_0 I`, with the
covariance :math:`C_s` of its cells' factors, lets only such a slice move far. A cell's factors are then those
of its expression, centered and scaled as if the slice held everything, plus :math:`ζ_s`.

Rules for what cannot be known: a gene that only one data set measures says nothing about composition; a slice
that shares few genes with others stays near its own center; a technology with one slice is compared with all
other technologies and the reference, which is one of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.linalg import LinearOperator, cg

from lloki.errors import LlokiError

Doubles = NDArray[np.float64]
Integers = NDArray[np.int64]

# Variance of a gene's level between technologies and between slices of one, in units of its variance within a
# slice. Measured: sd of differences .2 to .45 between five technologies, .07 between sections of one animal;
# the second is set higher, as what other slices tell is uncertain too.
BETWEEN, WITHIN = 0.09, 0.02
# Variance of a slice's mean along factors in which its cells do not vary, and in those where they do.
FREE, FIXED = 2.0, 0.01
SCALES = (0.3, 1.3)
ROUNDS = 40
PRIOR = 50.0  # cells' worth of evidence that a slice varies as the whole does
NOISE_FLOOR = 0.02
TOLERANCE = 1e-10  # of the conjugate gradients, relative


@dataclass(frozen=True)
class Levels:
    """Mean levels of genes in data sets, one entry for each gene that a data set measures.

    Attributes
    ----------
    gene
        (m,) row of the gene in the loadings.
    technology
        (m,) index of the data set's technology.
    value
        (m,) mean over standard deviation, as if the data set held everything.
    """

    gene: Integers
    technology: Integers
    value: Doubles


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
    levels: Sequence[tuple[Integers, Doubles]],
    technologies: Sequence[str],
    covariances: Sequence[Doubles],
    loadings: Doubles,
) -> Doubles:
    """Estimate the shifts ζ of all data sets together.

    Parameters
    ----------
    levels
        Of each data set, the rows of its genes in ``loadings`` and their mean levels.
    technologies
        Of each data set.
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
    k = loadings.shape[1]
    codes = {name: i for i, name in enumerate(sorted(set(technologies)))}
    gene = np.concatenate([rows for rows, _ in levels])
    owner = np.repeat(np.arange(len(levels)), [len(rows) for rows, _ in levels])
    technology = np.array([codes[name] for name in technologies], dtype=np.int64)[owner]
    weigh = _Weights(gene, technology, len(loadings))
    priors = [np.linalg.inv(freedom(c)) for c in covariances]
    w = loadings[gene]  # (m, K)

    def gather(values: Doubles) -> Doubles:
        out = np.zeros((len(levels), k))
        np.add.at(out, owner, w * values[:, None])
        return out.ravel()

    def apply(flat: Doubles) -> Doubles:
        shifts = flat.reshape(len(levels), k)
        own = np.stack([p @ z for p, z in zip(priors, shifts)]).ravel()
        return np.asarray(own + gather(weigh((w * shifts[owner]).sum(1))), np.float64)

    size = len(levels) * k
    # Each data set's own block of the matrix, were the others known: a good guess of its inverse.
    alone = weigh.alone()
    blocks = [
        np.linalg.inv(p + (w[owner == i].T * alone[owner == i]) @ w[owner == i]) for i, p in enumerate(priors)
    ]

    def precondition(flat: Doubles) -> Doubles:
        parts = flat.reshape(len(levels), k)
        return np.asarray(np.stack([b @ z for b, z in zip(blocks, parts)]).ravel(), np.float64)

    value = np.concatenate([y for _, y in levels])
    solved, failed = cg(
        LinearOperator((size, size), matvec=apply, dtype=np.float64),
        gather(weigh(value)),
        rtol=TOLERANCE,
        maxiter=50 * size,
        M=LinearOperator((size, size), matvec=precondition, dtype=np.float64),
    )
    if failed:
        raise LlokiError(
            "the composition of the slices could not be estimated: the equations do not converge"
        )
    return np.asarray(solved, np.float64).reshape(len(levels), k)


def shift_of_new(
    rows: Integers, level: Doubles, technology: int, covariance: Doubles, loadings: Doubles, known: Levels
) -> Doubles:
    """Estimate the shift ζ (K,) of a data set that was not in the fit, with all others as they are.

    Parameters
    ----------
    rows, level
        Rows of its genes in ``loadings``, and their mean levels.
    technology
        Its index among those of ``known``; any other number for a new one.
    covariance
        See `within_covariance`.
    loadings
        (G, K).
    known
        Levels of the data sets of the fit, without what their composition adds.
    """
    expected, variance = _predict(rows, technology, known, len(loadings))
    seen = np.isfinite(expected)
    w = loadings[rows[seen]]
    precision = np.linalg.inv(freedom(covariance)) + (w.T / variance[seen]) @ w
    evidence = w.T @ ((level[seen] - expected[seen]) / variance[seen])
    return np.asarray(np.linalg.solve(precision, evidence), np.float64)


class _Weights:
    """Inverse covariance of the levels of each gene, with its common level left free.

    The covariance of the data sets that measure a gene is ``WITHIN`` for itself plus ``BETWEEN`` for all of
    one technology; its inverse is a sum over technologies, so nothing but vectors is kept.
    """

    def __init__(self, gene: Integers, technology: Integers, n_genes: int) -> None:
        _, self.group = np.unique(
            gene * (technology.max() + 1) + technology, return_inverse=True
        )  # of gene and technology
        self.gene, self.n_genes = gene, n_genes
        self.count = np.bincount(self.group).astype(float)
        self.loss = BETWEEN / (WITHIN + self.count * BETWEEN)  # what a group's sum takes off
        self.ones = self._inverse(np.ones(len(gene)))
        self.total = np.bincount(gene, self.ones, n_genes)

    def _inverse(self, values: Doubles) -> Doubles:
        sums = np.bincount(self.group, values, len(self.count))
        out: Doubles = (values - (self.loss * sums)[self.group]) / WITHIN
        return out

    def __call__(self, values: Doubles) -> Doubles:
        """Weigh the values (m,): those of a gene that one data set measures get no weight."""
        inverse = self._inverse(values)
        mean = np.bincount(self.gene, inverse, self.n_genes) / np.maximum(self.total, 1e-300)
        out: Doubles = inverse - self.ones * mean[self.gene]
        return out

    def alone(self) -> Doubles:
        """(m,) diagonal of the matrix that weighs."""
        diagonal = (1 - self.loss[self.group]) / WITHIN - np.square(self.ones) / self.total[self.gene]
        out: Doubles = np.maximum(diagonal, 0.0)
        return out


def _predict(rows: Integers, technology: int, known: Levels, n_genes: int) -> tuple[Doubles, Doubles]:
    """Level to expect of each gene in a further data set of a technology, and its variance; NaN if unknown.

    Best linear unbiased prediction under the model's covariance.
    """
    weigh = _Weights(known.gene, known.technology, n_genes)
    level = np.bincount(known.gene, weigh._inverse(known.value), n_genes) / np.maximum(weigh.total, 1e-300)
    same = known.technology == technology
    count = np.bincount(known.gene[same], minlength=n_genes).astype(float)
    excess = np.bincount(known.gene[same], (known.value - level[known.gene])[same], n_genes)
    expected = level + BETWEEN * excess / (WITHIN + count * BETWEEN)
    share = count * BETWEEN / (WITHIN + count * BETWEEN)  # how far its technology is known
    variance = WITHIN + BETWEEN * (1 - share) + np.square(1 - share) / np.maximum(weigh.total, 1e-300)
    expected[weigh.total <= 0] = np.nan
    return expected[rows], variance[rows]


def shift_levels(level: Doubles, loadings: Doubles, shift: Doubles) -> Doubles:
    """Take out of levels (g,) what the composition of their data set adds: y - W ζ."""
    out: Doubles = level - loadings @ shift
    return out


def technology_codes(technologies: Sequence[str]) -> Mapping[str, int]:
    """Map technologies to numbers, in the order of their names."""
    return {name: i for i, name in enumerate(sorted(set(technologies)))}
