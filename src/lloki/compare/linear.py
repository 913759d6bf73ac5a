r"""Differences between conditions by weighted linear models whose replicates are donors.

For each feature, the value of unit u in panel group k is modelled as

.. math:: y_{uk} = \alpha_k + \beta_{c(u)} + \varepsilon_{uk}, \quad
          \mathrm{var}(\varepsilon_{uk}) = \sigma^2 (\tau_k^2 + v_{uk})

with the sampling variance v of a count and a spread :math:`\tau_k` between donors that all features share;
:math:`\sigma^2` is the feature's own, moderated by empirical Bayes (Smyth 2004), never so small that less
than the sampling variance is left, and tests refer to a t distribution: a Wald test of a negative-binomial
model finds too much with four to six donors a side. Observations of one donor on several panels are
correlated, equally in all features; the variance is then that between donors, with their degrees of freedom.

Weights, spread and correlation are estimated without the conditions, so that the statistics of other
labelings of the donors are those of the data with other labels, and comparable with the observed ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special, stats

from lloki.compare.design import Design

Doubles = NDArray[np.float64]
Labels = NDArray[np.bool_]
_ROUNDS = 4  # alternating estimates of weights and spread; they settle after two or three
_MOST_PRIOR = 3.0  # degrees of freedom of the prior over a feature's own: genes depend on each other too
_UNUSUAL = 0.1  # tail probability of a variance, below which it is shrunk less
_SQUEEZE = 10  # features below which a prior variance cannot be estimated, and each keeps its own
_TINY = 1e-9


@dataclass(frozen=True, eq=False)
class Compared:
    """Differences to the control, and what other labelings of the units would have given.

    Attributes
    ----------
    table
        One row per feature and condition whose difference is identified.
    relabeled
        Condition → (r, f) p-values of all features under r labelings, the first of which is the observed one;
        NaN without a test.
    """

    table: pd.DataFrame
    relabeled: Mapping[str, Doubles]

    @classmethod
    def join(cls, parts: Sequence[Compared]) -> Compared:
        """Join the tables of several parts, and their p-values labeling by labeling."""
        parts = [part for part in parts if len(part.table)]
        if not parts:
            return cls(pd.DataFrame(), {})
        names = sorted({name for part in parts for name in part.relabeled})
        return cls(
            pd.concat([part.table for part in parts], ignore_index=True),
            {
                name: np.hstack([part.relabeled[name] for part in parts if name in part.relabeled])
                for name in names
            },
        )


@dataclass(eq=False)
class _Pattern:
    """Features that were measured in the same observations.

    ``fixed`` (m, k) is an orthonormal basis of all that is not the difference: panel groups, and conditions
    other than the two that are compared; ``strata`` (m, q) one of these and the donors.
    """

    features: NDArray[np.int64]
    rows: NDArray[np.int64]
    fixed: Doubles
    strata: Doubles
    whiten: Doubles | None = None  # (m, m), where donors were measured more than once

    @property
    def df(self) -> int:
        """Degrees of freedom between donors, with the difference taken out."""
        return self.strata.shape[1] - self.fixed.shape[1] - 1

    def scaled(self, x: Doubles, w: Doubles) -> Doubles:
        """(f, m, k): columns x (m, k) for each feature in standard deviations, by weights w (m, f)."""
        out = np.sqrt(w).T[:, :, None] * x
        return out if self.whiten is None else np.einsum("ij,fjk->fik", self.whiten, out)

    def residuals(self, y: Doubles, w: Doubles) -> tuple[Doubles, Doubles]:
        """(m, f) residuals in standard deviations without any difference, and leverages (m, f)."""
        basis, _ = np.linalg.qr(self.scaled(self.fixed, w))
        values = (np.sqrt(w) * y).T
        if self.whiten is not None:
            values = values @ self.whiten.T
        left = values - np.einsum("fmk,fk->fm", basis, np.einsum("fmk,fm->fk", basis, values))
        return left.T, (basis**2).sum(axis=2).T

    def differences(self, y: Doubles, w: Doubles, labels: Labels) -> tuple[Doubles, Doubles, Doubles]:
        """Weighted least squares of values (m, f) on each labeling (r, m).

        Returns
        -------
        (r, f) differences, NaN where a labeling does not identify one; the (r, f) precision of each over
        that of an observation; and (r, f) sums of squares between donors: what remains within donors says
        nothing of the spread between them.

        Notes
        -----
        With all else projected out of values and labels (Frisch, Waugh and Lovell), the difference is the
        ratio of two products. Labels are the same in all observations of a donor, so that what they explain
        is part of the sum of squares between donors, which is the same for all labelings.
        """
        size, f = len(self.rows), len(self.features)
        basis, _ = np.linalg.qr(self.scaled(self.fixed, w))
        root = self.scaled(np.eye(size), w)  # (f, m, m)
        values = np.einsum("fij,jf->fi", root, y)
        left = values - np.einsum("fmk,fk->fm", basis, np.einsum("fmk,fm->fk", basis, values))
        inner = root - basis @ np.einsum("fmk,fmj->fkj", basis, root)
        moment = np.einsum("fij,fik->fjk", inner, inner)  # of labels with labels, all else projected out
        x = labels.astype(float)
        once = (x @ moment.transpose(1, 0, 2).reshape(size, -1)).reshape(len(x), f, size)
        precision = np.einsum("rfm,rm->rf", once, x)
        product = x @ np.einsum("fij,fi->jf", root, left)
        raw = (x @ (root**2).sum(axis=1).T).clip(min=1e-300)
        with np.errstate(invalid="ignore", divide="ignore"):
            effect = np.where(precision > _TINY * raw, product / precision, np.nan)
        between = left
        if self.strata.shape[1] < size:
            donors, _ = np.linalg.qr(self.scaled(self.strata, w))
            between = np.einsum("fmq,fm->fq", donors, left)
        explained = np.nan_to_num(effect) ** 2 * precision
        return effect, precision, ((between**2).sum(axis=1) - explained).clip(min=0.0)

    def sides(self, labels: Labels, unit: NDArray, compared: NDArray[np.bool_]) -> tuple[NDArray, NDArray]:
        """(r,) units without and with a label that have any weight in the difference."""
        x = labels.astype(float)
        used = (np.abs(x - x @ self.fixed @ self.fixed.T) > _TINY) & compared[self.rows]
        of = (unit[self.rows][:, None] == np.unique(unit[self.rows])).astype(float)
        without, labeled = (((used & side) @ of > 0).sum(axis=1) for side in (~labels, labels))
        return without, labeled


def compare_conditions(
    y: Doubles,
    v: Doubles,
    mask: NDArray[np.bool_],
    design: Design,
    *,
    conditions: Sequence[str] | None = None,
    adjust: bool = True,
    min_units: int = 3,
    limit_prior: bool = True,
    relative: bool = False,
    labels: Mapping[str, Labels] | None = None,
) -> Compared:
    """Estimate and test the difference of conditions to the control, feature by feature.

    Parameters
    ----------
    y, v
        (n, f) values of the observations of a design, on a logarithmic scale to base 2, and the variances of
        their measurement.
    mask
        (n, f) where a feature was measured.
    design
        Which observation is of which unit, panel group and condition.
    conditions
        To compare. Default: all but the control.
    adjust
        Each panel group has its own intercept, so that only differences within panels, or over donors that
        link them, count.
    min_units
        Units on either side for a test.
    limit_prior
        As for `moderate`.
    relative
        Differences are to the median feature, whose own standard error is added.
    labels
        Condition → (r, n) labelings, as of :meth:`Design.relabel`. Default: the observed one.

    Returns
    -------
    A table with feature, condition, effect (log2), low, high (95 % interval), p_value (NaN without a test),
    p_share (the same, but not relative), se, df, n_units, n_control, n_condition, panels (names joined by
    ``;``), panel_effects (the same), heterogeneity_p; ordered by feature and condition. And the p-values of
    all labelings.
    """
    tables, relabeled = [], {}
    for other in design.others if conditions is None else conditions:
        given = None if labels is None else labels.get(other)
        chosen = (design.condition == other)[None] if given is None else given
        found = _compare_one(y, v, mask, design, other, adjust, min_units, limit_prior, relative, chosen)
        if found is not None:
            tables.append(found[0])
            relabeled[other] = found[1]
    if not tables:
        return Compared(pd.DataFrame(columns=_COLUMNS), {})
    table = pd.concat(tables, ignore_index=True).sort_values(["feature", "condition"], ignore_index=True)
    return Compared(table, relabeled)


_COLUMNS = [
    *("feature", "condition", "effect", "low", "high", "p_value", "p_share", "se", "df"),
    *("n_units", "n_control", "n_condition", "panels", "panel_effects", "heterogeneity_p"),
]


def _compare_one(
    y: Doubles,
    v: Doubles,
    mask: NDArray[np.bool_],
    design: Design,
    other: str,
    adjust: bool,
    min_units: int,
    limit_prior: bool,
    relative: bool,
    labels: Labels,
) -> tuple[pd.DataFrame, Doubles] | None:
    patterns = _patterns(mask, design, other, adjust)
    if not patterns:
        return None
    spread = _spread(y, v, design, patterns)
    shape = (len(labels), y.shape[1])
    effect, variance = np.full(shape, np.nan), np.full(shape, np.nan)
    precision, tested = np.zeros(shape), np.zeros(shape, bool)
    df, least = np.zeros(y.shape[1]), np.zeros(y.shape[1])
    compared = np.isin(design.condition, [design.control, other])
    weights, counts = {}, {}
    for i, p in enumerate(patterns):
        own = np.ix_(p.rows, p.features)
        w = weights[i] = 1.0 / (spread[p.rows][:, None] + v[own])
        chosen = labels[:, p.rows]
        effect[:, p.features], precision[:, p.features], squares = p.differences(y[own], w, chosen)
        sides = p.sides(chosen, design.unit, compared)
        counts[i] = sides[0][0], sides[1][0]
        least[p.features] = (v[own] * w).mean(axis=0)
        df[p.features] = max(p.df, 0)
        if p.df > 0:
            variance[:, p.features] = squares / p.df
            tested[:, p.features] = (np.minimum(*sides) >= min_units)[:, None]
    known = np.isfinite(effect)
    tested &= known
    posterior, total = moderate(np.where(known, variance, np.nan), df, limit_prior=limit_prior)
    # donors cannot vary less than their measurement does
    posterior = np.maximum(posterior, least)
    with np.errstate(invalid="ignore", divide="ignore"):
        se = np.where(tested, np.sqrt(posterior / precision), np.nan)
        total = np.where(tested, total, np.nan)
        p_share = 2 * special.stdtr(total, -np.abs(effect) / se)
        center, p_value = np.zeros(len(labels)), p_share
        if relative:
            center = _median(np.where(known, effect, np.nan))
            # variance of a median of m estimates, as of a normal distribution
            extra = np.pi / 2 * _median(se**2) / tested.sum(axis=1).clip(min=1)
            se = np.sqrt(se**2 + extra[:, None])
            p_value = 2 * special.stdtr(total, -np.abs(effect - center[:, None]) / se)
    tables = []
    for i, p in enumerate(patterns):
        there = p.features[known[0, p.features]]
        if not len(there):
            continue
        used = _informative(p, labels[0])
        raw, at = effect[0, there], np.isin(p.features, there)
        panels, by_panel, het = _by_panel(p, weights[i][:, at], y, there, raw, other, used, design)
        value, error = raw - center[0], se[0, there]
        reach = stats.t.ppf(0.975, total[0, there]) * error
        tables.append(
            pd.DataFrame(
                {
                    "feature": there,
                    "condition": other,
                    "effect": value,
                    "low": value - reach,
                    "high": value + reach,
                    "p_value": p_value[0, there],
                    "p_share": p_share[0, there],
                    "se": error,
                    "df": total[0, there],
                    "n_units": sum(counts[i]),
                    "n_control": counts[i][0],
                    "n_condition": counts[i][1],
                    "panels": ";".join(panels),
                    "panel_effects": [";".join(f"{e:.3f}" for e in row) for row in (by_panel - center[0]).T],
                    "heterogeneity_p": np.where(tested[0, there], het, np.nan),
                }
            )
        )
    return (pd.concat(tables), p_value) if tables else None


def _median(values: Doubles) -> Doubles:
    """(r,) medians of the rows, 0 where a row has no value."""
    out = np.zeros(len(values))
    some = np.isfinite(values).any(axis=1)
    out[some] = np.nanmedian(values[some], axis=1)
    return out


def _informative(p: _Pattern, labels: Labels) -> NDArray[np.bool_]:
    """(m,) whether an observation has any weight in the difference of one labeling (n,)."""
    x = labels[p.rows].astype(float)
    return np.abs(x - p.fixed @ (p.fixed.T @ x)) > _TINY


def _patterns(mask: NDArray[np.bool_], design: Design, other: str, adjust: bool) -> list[_Pattern]:
    """Group features by where they were measured, among the observations that inform a difference."""
    mask = mask & design.informative(np.arange(len(design.unit)), other, adjust=adjust)[:, None]
    kinds, which = np.unique(mask, axis=1, return_inverse=True)
    found = []
    for i in range(kinds.shape[1]):
        rows = np.flatnonzero(kinds[:, i])
        if not len(rows):
            continue
        group = design.token[rows] if adjust else np.zeros(len(rows), int)
        condition, unit = design.condition[rows], design.unit[rows]
        third = [c for c in design.others if c != other]
        fixed = np.hstack([group[:, None] == np.unique(group), condition[:, None] == np.array(third, str)])
        strata = np.hstack([fixed, unit[:, None] == np.unique(unit)])
        features = np.flatnonzero(np.ravel(which) == i)
        found.append(_Pattern(features, rows, _basis(fixed), _basis(strata)))
    return found


def _basis(x: NDArray) -> Doubles:
    """Orthonormal basis of the columns of a matrix (m, k)."""
    axes, sizes, _ = np.linalg.svd(x.astype(float), full_matrices=False)
    return axes[:, sizes > 1e-8 * sizes[0]]


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
            at = np.ix_(p.rows, p.features)
            own = v[at]
            w = 1.0 / (spread[p.rows][:, None] + own)
            r, h = p.residuals(y[at], w)
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
    """Shrink variances (..., f) with df (f,) degrees of freedom toward a common one: empirical Bayes.

    Parameters
    ----------
    variance, df
        Of each feature; the last axis. Rows before it are independent of each other.
    limit_prior
        The prior has at most the degrees of freedom of a feature, their median; else three times these. Right
        where features depend on each other or are few, as shares and neighborhoods: their variances look more
        alike than they are.

    Returns
    -------
    Variances and degrees of freedom, in the shape of the variances; those of fewer than 10 features stay.

    Notes
    -----
    Smyth (2004): moments of the log variances give the prior's variance and degrees of freedom. A variance
    that is unusually large for them is shrunk less, as a gene that varies between donors like no other would
    seem significant (after Phipson et al. 2016).
    """
    used = (df > 0) & (variance > 0)
    number = used.sum(axis=-1, keepdims=True)
    few = number < _SQUEEZE
    half = np.where(df > 0, df, 1.0) / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        e = np.log(variance) - special.digamma(half) + np.log(half)
        mean = np.where(used, e, 0.0).sum(axis=-1, keepdims=True) / number
        rest = np.where(used, (e - mean) ** 2, 0.0).sum(axis=-1, keepdims=True) / (number - 1)
        rest -= np.where(used, special.polygamma(1, half), 0.0).sum(axis=-1, keepdims=True) / number
        most = np.median(df[df > 0]) * (1.0 if limit_prior else _MOST_PRIOR) if (df > 0).any() else 1.0
        spread = np.where(few | (rest <= 0), np.nan, rest)
        prior = np.fmin(2 * _trigamma_inverse(spread), most)  # NaN: as alike as they can be
        center = np.exp(mean + special.digamma(prior / 2) - np.log(prior / 2))
        tail = special.fdtrc(np.maximum(df, 1.0), prior, np.where(used, variance, 0.0) / center)
        own = np.where(few, 0.0, prior * np.minimum(1.0, tail / _UNUSUAL))
        shrunk = np.where(few, variance, (own * center + df * variance) / (own + df))
    return np.where(df > 0, shrunk, np.nan), np.where(df > 0, df + own, 0.0)


def _trigamma_inverse(value: Doubles) -> Doubles:
    """Solve trigamma(x) = value > 0 by Newton steps on 1 / trigamma, which is nearly linear (Smyth 2004)."""
    x = 0.5 + 1.0 / value
    for _ in range(50):
        slope = special.polygamma(1, x)
        step = slope * (1 - slope / value) / special.polygamma(2, x)
        x = x + step
        if not (np.abs(step) > 1e-8 * x).any():
            break
    return x


def _by_panel(
    p: _Pattern,
    w: Doubles,
    y: Doubles,
    features: NDArray[np.int64],
    effect: Doubles,
    other: str,
    used: NDArray[np.bool_],
    design: Design,
) -> tuple[list[str], Doubles, Doubles]:
    """Panels that inform a difference, their own (k, f), NaN without a control there, and p (f,) of equality.

    Cochran's Q of these differences over the mean square within panels and conditions has an F distribution.
    """
    token, condition = design.token[p.rows], design.condition[p.rows]
    names, rows = sorted(set(token[used])), []
    q, within = np.zeros((2, len(features)))
    panels, free = 0, 0
    for name in names:
        weights, means = [], []
        for c in (design.control, other):
            own = (token == name) & (condition == c)
            values, weight = y[np.ix_(p.rows[own], features)], w[own]
            weights.append(weight.sum(axis=0))
            means.append((weight * values).sum(axis=0) / np.maximum(weights[-1], 1e-300))
            within += (weight * (values - means[-1]) ** 2).sum(axis=0)
            free += max(int(own.sum()) - 1, 0)
        if any((weight == 0).all() for weight in weights):
            rows.append(np.full(len(features), np.nan))
            continue
        rows.append(means[1] - means[0])
        q += (rows[-1] - effect) ** 2 / (1 / weights[0] + 1 / weights[1])
        panels += 1
    if panels < 2 or free < 1:
        return names, np.array(rows), np.full(len(q), np.nan)
    ratio = q / (panels - 1) / np.maximum(within / free, 1e-300)
    return names, np.array(rows), stats.f.sf(ratio, panels - 1, free)
