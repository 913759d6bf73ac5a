"""LLOKI-FP as a whole (Eq 1-5) on dense n x n and n x g matrices: what `align_features` is held to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lloki.fp import FPConfig

Doubles = NDArray[np.float64]


@dataclass
class Dense:
    expression: Doubles
    targets: Doubles
    budgets: NDArray[np.int64]
    steps: int
    converged: bool
    w1: tuple[float, float, float]  # of the reference, before, after


def align(
    counts: Doubles,
    coords: Doubles,
    reference: Doubles,
    config: FPConfig,
    *,
    second: str = "imputed",
    wider: float = 1.0,
    budgets_after: bool = True,
) -> Dense:
    """Follow the recipe; ``second``, ``wider`` and ``budgets_after`` depart from it."""
    n, g = counts.shape
    total = counts.sum(1)
    usual = np.median(total[total > 0])
    x0 = np.log1p(counts / np.where(total > 0, total, 1)[:, None] * usual).astype(np.float32).astype(float)
    mask = x0 > 0
    before = 1 - mask.sum(1) / g
    targets = np.array([quantile_of(s, before, reference) for s in before])
    budgets = np.maximum(np.ceil(np.round((1 - targets) * g, 6)).astype(int) - mask.sum(1), 0)
    if not config.transport:
        budgets = np.full(n, g)
    x, steps, converged = x0, 0, True
    alpha = 0.5 if config.alpha is None else config.alpha
    if alpha > 0:
        sigma = bandwidth(coords, config) * wider if config.spatial else np.inf
        first = graph(x0, coords, sigma, config)
        imputed, steps, converged = propagated(first, x0, budgets, config)
        again = graph({"imputed": imputed, "observed": x0}[second], coords, sigma, config)
        x = alpha * again @ x0 + (1 - alpha) * x0  # Eq 5
        if config.preserve_observed:
            x = np.where(mask, x0, x)
        if config.respect_budget and budgets_after:
            x = cut(x, mask, budgets, config)
    after = 1 - (x > 0).sum(1) / g
    w1 = wasserstein(before, reference), wasserstein(before, targets), wasserstein(after, targets)
    return Dense(x, targets, budgets, steps, converged, w1)


def quantile_of(s: float, cells: Doubles, reference: Doubles) -> float:
    """Eq 4: the lowest sparsity that the same share of the reference does not exceed."""
    share = (cells <= s).sum() * len(reference)  # over n·m, in whole numbers
    return min(r for r in reference if (reference <= r).sum() * len(cells) >= share)


def bandwidth(coords: Doubles, config: FPConfig) -> float:
    """Mean distance of pairs of distinct cells."""
    rng, n = np.random.default_rng(config.seed), len(coords)
    first = rng.integers(n, size=config.sigma_pairs)
    second = (first + rng.integers(1, n, size=config.sigma_pairs)) % n
    return float(np.mean([np.sqrt(((coords[a] - coords[b]) ** 2).sum()) for a, b in zip(first, second)]))


def graph(x: Doubles, coords: Doubles, sigma: float, config: FPConfig) -> Doubles:
    """Eq 1, of the nearest cells by cosine."""
    n = len(x)
    norm = np.linalg.norm(x, axis=1)
    unit = x / np.where(norm > 0, norm, 1)[:, None]
    cosine = unit @ unit.T
    np.fill_diagonal(cosine, 0)
    w = np.zeros((n, n))
    for i in range(n):
        for j in np.argsort(-cosine[i], kind="stable")[: config.n_neighbors]:
            if cosine[i, j] > 1e-9:
                w[i, j] = np.exp(-((coords[i] - coords[j]) ** 2).sum() / (2 * sigma**2))
    w = (w + w.T) / 2 + np.eye(n)
    degree = w.sum(1)
    return w / np.sqrt(np.outer(degree, degree))


def propagated(
    a: Doubles, x0: Doubles, budgets: NDArray[np.int64], config: FPConfig
) -> tuple[Doubles, int, bool]:
    """Eq 2, cut to budget at every step."""
    mask, x, converged, steps = x0 > 0, x0, config.iterations == 0, 0
    while steps < config.iterations and not converged:
        steps += 1
        following = cut(np.where(mask, x0, a @ x), mask, budgets, config)
        change = np.linalg.norm(np.where(mask, 0, following - x))
        converged = bool(change <= config.tol * np.linalg.norm(np.where(mask, 0, following)))
        x = following
    return x, steps, converged


def cut(x: Doubles, mask: NDArray[np.bool_], budgets: NDArray[np.int64], config: FPConfig) -> Doubles:
    """Keep of each cell's imputed values as many as its budget says: the largest, or those of a lottery."""
    rank = lottery(x.shape, config.seed) if config.keep == "random" else x
    out = x.copy()
    for i, budget in enumerate(budgets):
        candidates = np.flatnonzero(~mask[i] & (x[i] > 0))
        out[i, candidates[np.argsort(rank[i, candidates], kind="stable")[::-1][budget:]]] = 0
    return out


def lottery(shape: tuple[int, int], seed: int) -> NDArray[np.uint64]:
    """One number for each cell and gene (splitmix64); the highest win."""
    place = np.arange(shape[0] * shape[1], dtype=np.uint64).reshape(shape)
    z = place * np.uint64(0x9E3779B97F4A7C15) + np.random.SeedSequence(seed).generate_state(1, np.uint64)[0]
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def wasserstein(a: Doubles, b: Doubles) -> float:
    """Mean distance of equal quantiles."""
    return float(np.abs(np.repeat(np.sort(a), len(b)) - np.repeat(np.sort(b), len(a))).mean())
