r"""Differences between conditions by weighted linear models whose replicates are donors.

For each feature, the value of unit u in panel group k is modelled as

.. math:: y_{uk} = \alpha_k + \beta_{c(u)} + \varepsilon_{uk}, \quad
          \mathrm{var}(\varepsilon_{uk}) = \sigma^2 (\tau_k^2 + v_{uk})

with the sampling variance v of a count and a spread :math:`\tau_k` between donors that all features share;
:math:`\sigma^2` is the feature's own, moderated by empirical Bayes (Smyth 2004), and tests refer to a t
distribution: a Wald test of a negative-binomial model finds too much with four to six donors a side.
Observations of one donor on several panels are correlated, equally in all features; the variance is then that
between donors, with their degrees of freedom.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats
from scipy.special import digamma, polygamma

from lloki.compare.design import Design

Doubles = NDArray[np.float64]
_ROUNDS = 4  # alternating estimates of weights and spread; they settle after two or three
_MOST_PRIOR = 3.0  # degrees of freedom of the prior over a feature's own: genes depend on each other too
_UNUSUAL = 0.1  # tail probability of a variance, below which it is shrunk less
_SQUEEZE = 10  # features below which a prior variance cannot be estimated, and each keeps its own


@dataclass(eq=False)
class _Pattern:
    """Features that were measured in the same observations."""

    features: NDArray[np.int64]
    rows: NDArray[np.int64]
    x: Doubles
    contrasts: dict[str, Doubles]
    whiten: Doubles | None  # (m, m), where donors were measured more than once
    strata: Doubles  # (m, q) basis of the panel groups, conditions and donors
    df: int  # between donors

    def between(self, residual: Doubles, w: Doubles) -> Doubles:
        """(f,) sums of squares between donors, of the residuals (m, f) of `fit`.

        What remains within donors says nothing of the spread between them.
        """
        if self.strata.shape[1] == len(self.rows):  # no donor twice
            return (residual**2).sum(axis=0)
        basis = np.sqrt(w).T[:, :, None] * self.strata
        if self.whiten is not None:
            basis = np.einsum("ij,fjq->fiq", self.whiten, basis)
        gram = np.einsum("fmq,fms->fqs", basis, basis)
        onto = np.einsum("fmq,mf->fq", basis, residual)
        return np.einsum("fq,fq->f", onto, np.linalg.solve(gram, onto[:, :, None])[:, :, 0])

    def fit(self, y: Doubles, w: Doubles) -> tuple[Doubles, Doubles, Doubles, Doubles]:
        """Weighted least squares of values (m, f).

        Returns
        -------
        Coefficients (f, r), their unscaled covariance (f, r, r), residuals (m, f) in standard deviations, and
        leverages (m, f).
        """
        root = np.sqrt(w).T  # (f, m)
        xw = root[:, :, None] * self.x
        yw = root * y.T
        if self.whiten is not None:
            xw = np.einsum("ij,fjr->fir", self.whiten, xw)
            yw = yw @ self.whiten.T
        gram = np.linalg.inv(np.einsum("fmr,fms->frs", xw, xw))
        beta = np.einsum("frs,fms,fm->fr", gram, xw, yw)
        residual = yw - np.einsum("fmr,fr->fm", xw, beta)
        leverage = np.einsum("fmr,frs,fms->fm", xw, gram, xw)
        return beta, gram, residual.T, leverage.T


def compare_conditions(
    y: Doubles,
    v: Doubles,
    mask: NDArray[np.bool_],
    design: Design,
    *,
    adjust: bool = True,
    min_units: int = 3,
    limit_prior: bool = True,
) -> pd.DataFrame:
    """Estimate and test the difference of every condition to the control, feature by feature.

    Parameters
    ----------
    y, v
        (n, f) values of the observations of a design, on a logarithmic scale to base 2, and the variances of
        their measurement.
    mask
        (n, f) where a feature was measured.
    design
        Which observation is of which unit, panel group and condition.
    adjust
        Each panel group has its own intercept, so that only differences within panels, or over donors that
        link them, count.
    min_units
        Units on either side for a test.
    limit_prior
        As for `moderate`.

    Returns
    -------
    One row per feature and condition whose difference is identified, in this order: feature, condition,
    effect (log2), low, high (95 % interval), p_value (NaN without a test), se, df, n_units, n_control,
    n_condition, panels (names joined by ``;``), panel_effects (the same), heterogeneity_p.
    """
    patterns = _patterns(mask, design, adjust)
    spread = _spread(y, v, design, patterns)
    fits = []
    variance, df = np.full(y.shape[1], np.nan), np.zeros(y.shape[1])
    for p in patterns:
        w = 1.0 / (spread[p.rows][:, None] + v[np.ix_(p.rows, p.features)])
        beta, gram, residual, _ = p.fit(y[np.ix_(p.rows, p.features)], w)
        fits.append((p, w, beta, gram))
        if p.df > 0:
            variance[p.features], df[p.features] = p.between(residual, w) / p.df, p.df
    posterior, total = moderate(variance, df, limit_prior=limit_prior)
    tables = [
        _differences(p, w, beta, gram, y, posterior, total, design, adjust, min_units)
        for p, w, beta, gram in fits
    ]
    if not tables:
        return pd.DataFrame(columns=_COLUMNS)
    return pd.concat(tables, ignore_index=True).sort_values(["feature", "condition"], ignore_index=True)


_COLUMNS = [
    *("feature", "condition", "effect", "low", "high", "p_value", "se", "df"),
    *("n_units", "n_control", "n_condition", "panels", "panel_effects", "heterogeneity_p"),
]


def _patterns(mask: NDArray[np.bool_], design: Design, adjust: bool) -> list[_Pattern]:
    """Group features by where they were measured; those that identify no difference are left out."""
    found = []
    kinds, which = np.unique(mask, axis=1, return_inverse=True)
    for i in range(kinds.shape[1]):
        rows = np.flatnonzero(kinds[:, i])
        if not len(rows):
            continue
        x, contrasts = design.matrix(rows, adjust=adjust)
        if not contrasts:
            continue
        unit = design.unit[rows]
        strata, sizes, _ = np.linalg.svd(
            np.hstack([x, unit[:, None] == np.unique(unit)]), full_matrices=False
        )
        strata = strata[:, sizes > 1e-8 * sizes[0]]
        features = np.flatnonzero(np.ravel(which) == i)
        found.append(_Pattern(features, rows, x, contrasts, None, strata, strata.shape[1] - x.shape[1]))
    return found


def _spread(y: Doubles, v: Doubles, design: Design, patterns: list[_Pattern]) -> Doubles:
    """(n,) variance between donors that the features have in common, by panel group; sets the whitening.

    By moments: E[r²] = (1 - h) (τ² + v) for a residual r with leverage h.
    """
    n = len(design.unit)
    spread = np.full(n, 0.05)
    repeated = len(np.unique(design.unit)) < n
    for turn in range(_ROUNDS):
        excess, free = np.zeros(n), np.zeros(n)
        together, pairs = 0.0, 0.0
        for p in patterns:
            if p.df <= 0:
                continue
            own = v[np.ix_(p.rows, p.features)]
            w = 1.0 / (spread[p.rows][:, None] + own)
            _, _, r, h = p.fit(y[np.ix_(p.rows, p.features)], w)
            r2, slack = r**2 / w, np.maximum(1 - h, 0)
            cut = np.quantile(r2.sum(axis=0), 0.95)
            keep = r2.sum(axis=0) <= cut  # features that differ wildly between donors do not speak for others
            np.add.at(excess, p.rows, (r2 - slack * own)[:, keep].sum(axis=1))
            np.add.at(free, p.rows, slack[:, keep].sum(axis=1))
            if repeated and turn == _ROUNDS - 1:
                scaled = r / np.sqrt((r**2).mean(axis=0).clip(1e-12))
                same = design.unit[p.rows][:, None] == design.unit[p.rows]
                np.fill_diagonal(same, False)
                together += np.einsum("if,jf,ij->", scaled, scaled, same.astype(float))
                pairs += same.sum() * scaled.shape[1]
        for token in design.tokens:
            own_rows = design.token == token
            if free[own_rows].sum() > 1:
                spread[own_rows] = max(excess[own_rows].sum() / free[own_rows].sum(), 1e-4)
    if pairs:
        rho = float(np.clip(together / pairs, 0.0, 0.95))
        for p in patterns:
            same = design.unit[p.rows][:, None] == design.unit[p.rows]
            if same.sum() > len(p.rows):
                p.whiten = np.linalg.inv(
                    np.linalg.cholesky(np.where(same, rho, 0.0) + (1 - rho) * np.eye(len(same)))
                )
    return spread


def moderate(variance: Doubles, df: Doubles, *, limit_prior: bool = True) -> tuple[Doubles, Doubles]:
    """Shrink variances (f,) with df (f,) degrees of freedom toward a common one: empirical Bayes.

    Parameters
    ----------
    variance, df
        Of each feature.
    limit_prior
        The prior has at most the degrees of freedom of a feature, their median; else three times these. Right
        where features depend on each other or are few, as shares and neighborhoods: their variances look more
        alike than they are.

    Returns
    -------
    Variances (f,) and degrees of freedom (f,); those of fewer than 10 features stay as they are.

    Notes
    -----
    Smyth (2004): moments of the log variances give the prior's variance and degrees of freedom. A variance
    that is unusually large for them is shrunk less, as a gene that varies between donors like no other would
    seem significant (after Phipson et al. 2016).
    """
    used = (df > 0) & (variance > 0)
    if used.sum() < _SQUEEZE:
        return variance, df
    half = df[used] / 2
    e = np.log(variance[used]) - digamma(half) + np.log(half)
    rest = e.var(ddof=1) - polygamma(1, half).mean()
    most = float(np.median(df[used])) * (1.0 if limit_prior else _MOST_PRIOR)
    prior = min(2 * _trigamma_inverse(rest), most) if rest > 0 else most
    center = np.exp(e.mean() + digamma(prior / 2) - np.log(prior / 2))
    with np.errstate(invalid="ignore"):
        tail = stats.f.sf(variance / center, np.maximum(df, 1), prior)
        own = prior * np.minimum(1.0, np.nan_to_num(tail, nan=1.0) / _UNUSUAL)
        shrunk = np.where(df > 0, (own * center + df * variance) / (own + df), np.nan)
    return shrunk, np.where(df > 0, df + own, 0.0)


def _trigamma_inverse(value: float) -> float:
    """Solve trigamma(x) = value by Newton steps."""
    x = 0.5 + 1.0 / value
    for _ in range(50):
        slope = polygamma(1, x)
        step = slope * (1 - slope / value) / polygamma(2, x)
        x += step
        if abs(step) < 1e-8 * x:
            break
    return float(x)


def _differences(
    p: _Pattern,
    w: Doubles,
    beta: Doubles,
    gram: Doubles,
    y: Doubles,
    posterior: Doubles,
    total: Doubles,
    design: Design,
    adjust: bool,
    min_units: int,
) -> pd.DataFrame:
    tables = []
    s2, df = posterior[p.features], total[p.features]
    for other, c in p.contrasts.items():
        used = design.informative(p.rows, other, adjust=adjust)
        sides = [
            len(set(design.unit[p.rows][used & (design.condition[p.rows] == name)]))
            for name in (design.control, other)
        ]
        effect = beta @ c
        with np.errstate(invalid="ignore"):
            se = np.sqrt(np.einsum("r,frs,s->f", c, gram, c) * s2)
        tested = (df > 0) & (min(sides) >= min_units)
        known = np.where(df > 0, df, 1.0)
        p_value = np.where(tested, 2 * stats.t.sf(np.abs(effect) / se, known), np.nan)
        reach = np.where(tested, stats.t.ppf(0.975, known), np.nan) * se
        panels, by_panel, het = _by_panel(p, w, y, effect, other, used, design)
        tables.append(
            pd.DataFrame(
                {
                    "feature": p.features,
                    "condition": other,
                    "effect": effect,
                    "low": effect - reach,
                    "high": effect + reach,
                    "p_value": p_value,
                    "se": np.where(tested, se, np.nan),
                    "df": np.where(tested, known, np.nan),
                    "n_units": sum(sides),
                    "n_control": sides[0],
                    "n_condition": sides[1],
                    "panels": ";".join(panels),
                    "panel_effects": [";".join(f"{e:.3f}" for e in row) for row in by_panel.T],
                    "heterogeneity_p": np.where(tested, het, np.nan),
                }
            )
        )
    return pd.concat(tables)


def _by_panel(
    p: _Pattern, w: Doubles, y: Doubles, effect: Doubles, other: str, used: NDArray[np.bool_], design: Design
) -> tuple[list[str], Doubles, Doubles]:
    """Panels that inform a difference, their own (k, f), NaN without a control there, and p (f,) of equality.

    Cochran's Q of these differences over the mean square within panels and conditions has an F distribution.
    """
    token, condition = design.token[p.rows], design.condition[p.rows]
    names, rows = sorted(set(token[used])), []
    q, within = np.zeros((2, len(p.features)))
    panels, free = 0, 0
    for name in names:
        weights, means = [], []
        for c in (design.control, other):
            own = (token == name) & (condition == c)
            values, weight = y[np.ix_(p.rows[own], p.features)], w[own]
            weights.append(weight.sum(axis=0))
            means.append((weight * values).sum(axis=0) / np.maximum(weights[-1], 1e-300))
            within += (weight * (values - means[-1]) ** 2).sum(axis=0)
            free += max(int(own.sum()) - 1, 0)
        if any((weight == 0).all() for weight in weights):
            rows.append(np.full(len(p.features), np.nan))
            continue
        rows.append(means[1] - means[0])
        q += (rows[-1] - effect) ** 2 / (1 / weights[0] + 1 / weights[1])
        panels += 1
    if panels < 2 or free < 1:
        return names, np.array(rows), np.full(len(q), np.nan)
    ratio = q / (panels - 1) / np.maximum(within / free, 1e-300)
    return names, np.array(rows), stats.f.sf(ratio, panels - 1, free)
