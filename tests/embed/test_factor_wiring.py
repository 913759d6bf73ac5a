"""`Factor` as a whole, from expression to embedding, against a dense model written out cell by cell."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import sparse

from lloki.embed import Factor

GENES = [f"G{i:02d}" for i in range(16)]
PANELS = {"a": GENES[:10], "b": GENES[4:14], "reference": GENES[1:]}
# Composition has tests of its own.
SETTINGS = {"factors": 3, "rounds": 4, "composition": False}


def counts(seed: int = 0) -> dict[str, np.ndarray]:
    """Two slices and a reference of one tissue, each with detection rates of its own."""
    rng = np.random.default_rng(seed)
    loadings = rng.normal(0, 1, (3, len(GENES))) * np.array([[1.5], [1.0], [0.6]])
    made = {}
    for (name, panel), n in zip(PANELS.items(), (50, 40, 60)):
        at = [GENES.index(gene) for gene in panel]
        rates = np.exp(rng.normal(size=(n, 3)) @ loadings[:, at] + rng.normal(0, 0.7, len(at)) + 1)
        made[name] = rng.poisson(rates).astype(np.float32)
    return made


def standardized(x: np.ndarray) -> np.ndarray:
    """Root of each gene's share of the cell, centered and scaled over the slice's own cells."""
    x = np.sqrt(x / x.sum(1, keepdims=True))
    return (x - x.mean(0)) / x.std(0)


class Dense:
    """The model by its equations; ``reference`` may be left out, to show that it matters."""

    def __init__(
        self, data: dict[str, np.ndarray], *, reference: bool = True, factors: int, rounds: int, **more: float
    ) -> None:
        self.power = more.get("loading_power", 0.5)
        floor, ridge = more.get("noise_floor", 0.05), more.get("ridge", 1e-3)
        self.x = {name: standardized(part) for name, part in data.items()}
        self.genes = sorted({gene for name in ("a", "b") for gene in PANELS[name]})
        self.at = {
            name: [(j, self.genes.index(gene)) for j, gene in enumerate(panel) if gene in self.genes]
            for name, panel in PANELS.items()
        }
        g, k = len(self.genes), factors
        cells = [  # each as the genes that it has, and their values
            (np.array([at for _, at in self.at[name]]), row[[j for j, _ in self.at[name]]])
            for name in ("a", "b", *(["reference"] if reference else []))
            for row in self.x[name]
        ]
        total, seen = np.zeros((g, g)), np.zeros((g, g))
        for at, row in cells:
            total[np.ix_(at, at)] += np.outer(row, row)
            seen[np.ix_(at, at)] += 1
        correlation = total / np.maximum(seen, 1)
        values, vectors = np.linalg.eigh(correlation)
        w = vectors[:, ::-1][:, :k] * np.sqrt(np.maximum(values[::-1][:k], 1e-3))
        psi = np.maximum(np.diag(correlation) - (w**2).sum(1), 0.3)
        for _ in range(rounds):
            a, b, squares = np.zeros((g, k, k)), np.zeros((g, k)), np.zeros(g)
            for at, row in cells:
                mean, covariance = posterior(w[at], psi[at], row)
                a[at] += covariance + np.outer(mean, mean)
                b[at] += row[:, None] * mean
                squares[at] += row**2
            n = np.diag(seen)
            w = np.stack([np.linalg.solve(a[i] + ridge * n[i] * np.eye(k), b[i]) for i in range(g)])
            psi = np.array([(squares[i] - 2 * w[i] @ b[i] + w[i] @ a[i] @ w[i]) / n[i] for i in range(g)])
            psi = np.maximum(psi, floor)
        u, s, _ = np.linalg.svd(w, full_matrices=False)
        self.w, self.psi = u * s, psi
        self.w = self.w * np.where(self.w.sum(0) < 0, -1, 1)

    def embed(self, name: str) -> np.ndarray:
        own, at = (np.array(part) for part in zip(*self.at[name]))
        rows = [posterior(self.w[at], self.psi[at], row[own])[0] for row in self.x[name]]
        return np.stack(rows) * np.linalg.norm(self.w, axis=0) ** self.power


def posterior(w: np.ndarray, psi: np.ndarray, row: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    covariance = np.linalg.inv(np.eye(w.shape[1]) + w.T @ np.diag(1 / psi) @ w)
    return covariance @ w.T @ (row / psi), covariance


def logged(x: np.ndarray) -> sparse.csr_matrix:
    """Expression whose cells differ in their totals, as those of LLOKI-FP do."""
    return sparse.csr_matrix(np.log1p(x))


def fitted(data: dict[str, np.ndarray], **settings: Any) -> tuple[Factor, dict[str, np.ndarray]]:
    model = Factor(**settings)
    x = {name: logged(part) for name, part in data.items()}
    states = {name: model.summarize(part, PANELS[name]) for name, part in x.items()}
    model.fit({name: states[name] for name in ("a", "b")}, states["reference"])
    return model, {
        name: model.embed(part, PANELS[name], state=states[name], cell_ids=[]) for name, part in x.items()
    }


def agrees(model: Factor, rows: dict[str, np.ndarray], dense: Dense) -> None:
    assert model.genes == tuple(dense.genes)
    np.testing.assert_allclose(model.noise, dense.psi, atol=1e-6)
    np.testing.assert_allclose(model.loadings, dense.w, atol=1e-6)
    for name in PANELS:
        np.testing.assert_allclose(rows[name], dense.embed(name), atol=2e-5)


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"factors": 2},
        {"rounds": 1},
        {"loading_power": 0.0},
        {"loading_power": 1.0},
        {"noise_floor": 0.6},
        {"ridge": 0.5},
    ],
    ids=str,
)
def test_fit_and_embedding_are_those_of_the_dense_model(changed: dict[str, float]) -> None:
    data = counts()
    settings: dict[str, Any] = SETTINGS | changed
    agrees(*fitted(data, **settings), Dense(data, **settings))


def test_the_reference_takes_part_in_the_fit() -> None:
    data, other = counts(), counts(1)
    changed = data | {"reference": other["reference"]}
    model, rows = fitted(changed, **SETTINGS)
    agrees(model, rows, Dense(changed, **SETTINGS))
    for departure in (Dense(data, **SETTINGS), Dense(changed, reference=False, **SETTINGS)):
        assert np.abs(model.loadings - departure.w).max() > 0.01


def test_every_slice_takes_part_in_the_fit() -> None:
    data, other = counts(), counts(1)
    plain, _ = fitted(data, **SETTINGS)
    for name in ("a", "b"):
        model, rows = fitted(data | {name: other[name]}, **SETTINGS)
        agrees(model, rows, Dense(data | {name: other[name]}, **SETTINGS))
        assert np.abs(model.noise - plain.noise).max() > 0.01


def test_a_slice_is_centered_and_scaled_by_its_own_state() -> None:
    data = counts()
    model, rows = fitted(data, **SETTINGS)
    x = {name: logged(data[name]) for name in ("a", "b")}
    part = sparse.csr_matrix(x["a"][:20])
    whole, own = (model.summarize(some, PANELS["a"]) for some in (x["a"], part))
    few = model.embed(part, PANELS["a"], state=whole, cell_ids=[])
    np.testing.assert_allclose(few, rows["a"][:20], atol=1e-5)
    assert np.abs(model.embed(part, PANELS["a"], state=own, cell_ids=[]) - few).max() > 0.1
