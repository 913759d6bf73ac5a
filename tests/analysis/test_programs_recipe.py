"""Steps of the gene programs against a dense recipe: states, metagenes, noise, objective, affinities."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from scipy import sparse
from scipy.optimize import minimize, nnls

from lloki.analysis import ProgramConfig, Programs, fit_programs, spatial_neighbors

D = 6


@dataclass(frozen=True)
class Made:
    features: list[np.ndarray]
    graphs: list[sparse.csr_matrix]
    start: np.ndarray


def made(noises: tuple[float, ...], *, n: int = 80, seed: int = 0, k: int = 2, unlike: float = 0.0) -> Made:
    """Slices of stripes, with noise and metagenes of their own; rough metagenes to begin with."""
    rng = np.random.default_rng(seed)
    truth = rng.dirichlet(np.full(D, 0.7), k).T
    features, graphs = [], []
    for noise in noises:
        xy = rng.random((n, 2)) * 100
        z = 0.1 + 0.8 * np.eye(k)[(xy[:, 0] / 25).astype(int) % k]
        mine = truth + unlike * rng.random(truth.shape)
        y = (z * rng.gamma(8, 1, (n, 1))) @ (mine / mine.sum(0)).T
        features.append(np.maximum(y + noise * y.mean() * rng.normal(size=y.shape), 0).astype(np.float32))
        graphs.append(spatial_neighbors(xy))
    start = truth + 0.15 * rng.random(truth.shape)
    return Made(features, graphs, start / start.sum(0))


def scaled(y: np.ndarray, k: int) -> np.ndarray:
    """Features whose cells' totals have the mean k."""
    return y.astype(float) * k * len(y) / y.sum(dtype=float)


def own_states(y: np.ndarray, m: np.ndarray) -> np.ndarray:
    return np.array([nnls(m, row)[0] for row in y])


def simplex_columns(m: np.ndarray) -> np.ndarray:
    """Nearest matrix whose columns lie on the simplex, column by column."""
    out = np.empty_like(m)
    for j, column in enumerate(m.T):
        u = np.sort(column)[::-1]
        shifts = (np.cumsum(u) - 1) / np.arange(1, len(u) + 1)
        shift = shifts[np.flatnonzero(u > shifts)[-1]]
        out[:, j] = np.maximum(column - shift, 0)
    return out


def best_metagenes(ys: list[np.ndarray], xs: list[np.ndarray], noises: list[float]) -> np.ndarray:
    """Minimum of the squares, each slice over its noise, by long projected descent."""
    weighted = list(zip(ys, xs, noises))
    quadratic = sum(x.T @ x / s**2 for _, x, s in weighted)
    cross = sum(y.T @ x / s**2 for y, x, s in weighted)
    m = np.full((ys[0].shape[1], xs[0].shape[1]), 1 / ys[0].shape[1])
    for _ in range(3_000):
        m = simplex_columns(m - (m @ quadratic - cross) / np.linalg.norm(quadratic, 2))
    return m


@pytest.fixture(scope="module")
def first() -> tuple[Made, Programs]:
    """One block-coordinate iteration without neighbors."""
    m = made((0.05, 0.9), unlike=0.3)
    config = ProgramConfig(n_metagenes=2, pretraining=1, iterations=0)
    return m, fit_programs(m.features, m.graphs, config=config, start=m.start)


def test_one_iteration_is_states_then_noise_then_metagenes_then_states(first):
    m, found = first
    ys = [scaled(y, 2) for y in m.features]
    xs = [own_states(y, m.start) for y in ys]
    noises = [np.sqrt(np.mean((y - x @ m.start.T) ** 2)) for y, x in zip(ys, xs)]
    np.testing.assert_allclose(found.noise, noises, rtol=1e-3)
    np.testing.assert_allclose(found.scales, [2 * len(y) / y.sum() for y in m.features], rtol=1e-5)
    metagenes = best_metagenes(ys, xs, noises)
    np.testing.assert_allclose(found.metagenes, metagenes, atol=2e-3)
    # the case is one in which the weight decides
    even = best_metagenes(ys, xs, [1.0, 1.0])
    assert np.abs(even - metagenes).max() > 0.02
    for y, states in zip(ys, found.states):
        np.testing.assert_allclose(states, own_states(y, found.metagenes.astype(float)), atol=2e-2)


def test_the_objective_is_the_likelihood_of_the_features(first):
    m, found = first
    ys = [scaled(y, 2) for y in m.features]
    total = 0.0
    for y in ys:
        residual = ((y - own_states(y, m.start) @ m.start.T) ** 2).sum()
        sigma = np.sqrt(residual / y.size)
        total += y.size * np.log(sigma) + residual / (2 * sigma**2)
    row = found.history.iloc[0]
    assert row["fit"] == pytest.approx(total / sum(y.size for y in ys), abs=1e-3)
    assert row["objective"] == pytest.approx(row["fit"])
    assert row["pairs"] == 0


@pytest.fixture(scope="module")
def coupled() -> tuple[Made, ProgramConfig, Programs]:
    m = made((0.9, 1.2), seed=1)
    config = ProgramConfig(n_metagenes=2, pretraining=5, iterations=40, tolerance=0, regularization=1e-3)
    return m, config, fit_programs(m.features, m.graphs, config=config, start=m.start)


def log_partition(eta: np.ndarray) -> np.ndarray:
    """Log of the integral of exp(-z·η) over compositions z of two parts, for each row of η."""
    low, gap = eta.min(1), np.maximum(np.abs(eta[:, 0] - eta[:, 1]), 1e-9)
    return -low + np.log(-np.expm1(-gap) / gap)


def test_affinities_are_the_most_likely_ones_given_neighbors(coupled):
    m, config, found = coupled
    given, edges = [], 0
    for y, graph in zip(m.features, m.graphs):
        x = own_states(scaled(y, 2), found.metagenes.astype(float))
        z = np.divide(x, x.sum(1, keepdims=True), out=np.full_like(x, 0.5), where=x.sum(1, keepdims=True) > 0)
        given.append((z, graph.toarray() @ z))
        edges += graph.nnz

    def loss(free: np.ndarray) -> float:
        a = np.array([[free[0], free[1]], [free[1], free[2]]])
        value = config.regularization * edges / 2 * (a**2).sum()
        for z, nu in given:
            eta = nu @ a
            value += (z * eta).sum() + log_partition(eta).sum()
        return float(value)

    best = minimize(loss, np.zeros(3), tol=1e-6)
    mine = found.affinity[[0, 0, 1], [0, 1, 1]]
    assert loss(mine) == pytest.approx(best.fun, abs=2e-2)
    np.testing.assert_allclose(mine, best.x, atol=0.05 * np.abs(best.x).max())
    # stripes of one kind: the same lies beside the same
    assert max(mine[0], mine[2]) < mine[1]


def test_states_are_where_features_and_neighbors_balance(coupled):
    """No small change of a cell's composition or size lowers the energy, in which neighbors matter."""
    m, _, found = coupled
    rng = np.random.default_rng(0)
    for s, (y, graph) in enumerate(zip(m.features, m.graphs)):
        y, a, g = scaled(y, 2), found.affinity, found.metagenes.astype(float)
        x = found.states[s].astype(float)
        size = x.sum(1)
        z = np.where(size[:, None] > 0, x / np.maximum(size, 1e-12)[:, None], 0.5)
        nu = graph.toarray() @ z

        def energy(i: int, composition: np.ndarray, total: float, nu=nu, y=y, a=a, g=g, s=s) -> float:
            fit = ((y[i] - total * g @ composition) ** 2).sum() / (2 * found.noise[s] ** 2)
            return float(fit + composition @ a @ nu[i])

        drops, moved = [], 0
        for i in range(len(y)):
            here = energy(i, z[i], size[i])
            for step in (0.02, -0.02):
                to = np.clip(z[i, 0] + step, 0, 1)
                drops.append(here - energy(i, np.array([to, 1 - to]), size[i]))
            drops.append(here - energy(i, z[i], size[i] * rng.choice([0.97, 1.03])))
            alone = nnls(g, y[i])[0]
            moved += np.abs(alone / max(alone.sum(), 1e-9) - z[i]).max() > 0.05
        assert max(drops) < 0.05
        assert moved > 10
