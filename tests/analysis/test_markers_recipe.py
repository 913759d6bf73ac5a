"""Marker genes against their recipe: the mixture by loops, votes of neighbors, and what a panel lacks."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse
from scipy.stats import nbinom

import lloki
from lloki import keys
from lloki.analysis import MarkerTable, marker_posterior
from planted import TYPES, planted

TABLE = {"A": ["g0", "g1", "-g4"], "B": ["g2", "g3"], "C": ["g4", "-g0"]}
PANEL = [f"G{i}" for i in (5, 3, 1, 0, 2, 4, 6)]  # in another order and case; g5 and g6 are no markers


def counts(n: int = 70, seed: int = 0) -> tuple[sparse.csr_matrix, np.ndarray]:
    rng = np.random.default_rng(seed)
    kind = rng.integers(3, size=n)
    rates = np.full((n, 7), 1.0)
    for t, name in enumerate("ABC"):
        for gene in TABLE[name]:
            column = PANEL.index(gene.lstrip("-").upper())
            rates[kind == t, column] = 0.1 if gene.startswith("-") else 3.0
    return sparse.csr_matrix(rng.poisson(rates * rng.gamma(4, 0.25, (n, 1))).astype(np.float32)), kind


def recipe(x: np.ndarray, *, fold: float, dispersion: float, rounds: int) -> np.ndarray:
    """Expectation maximization over four classes: the types, and cells of none of them."""
    genes = sorted({g.lstrip("-") for named in TABLE.values() for g in named})
    level = np.array(
        [[1 if g in TABLE[t] else -1 if f"-{g}" in TABLE[t] else 0 for g in genes] for t in TABLE]
        + [[0] * len(genes)]
    )
    total = x.sum(1)
    size = np.maximum(total, 1) / total[total > 0].mean()
    y = x[:, [PANEL.index(g.upper()) for g in genes]]
    mean = y.sum(0) / size.sum()
    rate = {-1: mean / 4, 0: mean * 0.8, 1: mean * 4}
    share = np.full(4, 0.25)
    for _ in range(rounds):
        likelihood = np.empty((len(y), 4))
        for i in range(len(y)):
            for t in range(4):
                log = np.log(share[t])
                for g in range(len(genes)):
                    mu = size[i] * rate[level[t, g]][g]
                    log += nbinom.logpmf(y[i, g], 1 / dispersion, 1 / (1 + dispersion * mu))
                likelihood[i, t] = log
        r = np.exp(likelihood - likelihood.max(1, keepdims=True))
        r /= r.sum(1, keepdims=True)
        share = (r.sum(0) + 1) / (len(y) + 4)
        new = {}
        for which in (-1, 0, 1):
            new[which] = rate[which].copy()
            for g in range(len(genes)):
                member = r[:, level[:, g] == which].sum(1)
                new[which][g] = ((member * y[:, g]).sum() + rate[which][g]) / ((member * size).sum() + 1)
        new[1] = np.maximum(new[1], fold * new[0])
        new[-1] = np.minimum(new[-1], new[0] / fold)
        rate = new
    return r


def test_probabilities_are_those_of_the_mixture():
    x, kind = counts()
    found = marker_posterior(x, PANEL, MarkerTable.read(TABLE), fold=1.6, dispersion=0.4, iterations=3)
    want = recipe(x.toarray().astype(float), fold=1.6, dispersion=0.4, rounds=3)
    np.testing.assert_allclose(found.posterior, want, atol=1e-6)
    assert (found.posterior[:, :3].argmax(1) == kind).mean() > 0.75


def test_a_negative_marker_speaks_against_its_type():
    x, _ = counts(n=200)
    first = x.toarray()
    markers = MarkerTable.read(TABLE)
    at = PANEL.index("G4")
    few, many = first.copy(), first.copy()
    few[:, at], many[:, at] = np.where(np.arange(200) == 7, 0, first[:, at]), first[:, at]
    many[7, at] = 6
    chance = [marker_posterior(sparse.csr_matrix(c), PANEL, markers).posterior[7, 0] for c in (few, many)]
    assert chance[0] > 2 * chance[1]


def test_votes_are_averaged_over_neighbors_whose_panel_can_tell():
    adata = planted("ab", cells=60)
    markers = {kind: [f"G{i}" for i in range(12) if i % 4 == t] for t, kind in enumerate(TYPES)}
    slices = [adata[adata.obs["slice"] == name].copy() for name in "ab"]
    lacking = "Oligo"
    slices[1] = slices[1][:, ~slices[1].var_names.isin(markers[lacking])].copy()
    table = MarkerTable.read(markers)
    single = [marker_posterior(s.X, list(s.var_names), table) for s in slices]
    lloki.tl.annotate_by_markers(slices, markers, n_neighbors=4, threshold=0.6)
    x = np.concatenate([s.obsm[keys.JOINT] for s in slices])
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    distance = 1 - unit @ unit.T
    np.fill_diagonal(distance, np.inf)
    p = np.concatenate([m.posterior for m in single])
    names = [*table.types, "unknown"]
    types, chances = [], []
    for i in range(120):
        near = np.argsort(distance[i])[:4]
        votes = dict.fromkeys(names, 0.0)
        heard = dict.fromkeys(names, 0.0)
        for j in (i, *near):
            weight = 1.0 if j == i else np.exp(-0.5 * (distance[i, j] / distance[i, near[-1]]) ** 2)
            for t, name in enumerate(names):
                if name != lacking or j < 60:
                    votes[name] += weight * p[j, t]
                    heard[name] += weight
        chance = np.array([votes[n] / heard[n] if heard[n] else 0 for n in names])
        chance /= chance.sum()
        best = chance.argmax()
        types.append(names[best] if chance[best] >= 0.6 else "unknown")
        chances.append(0.0 if names[best] == "unknown" else chance[best])
    found = np.concatenate([s.obs[keys.MARKER_TYPE].astype(str) for s in slices])
    assert (found == types).all()
    confidence = np.concatenate([s.obs[keys.MARKER_CONFIDENCE] for s in slices])
    np.testing.assert_allclose(confidence, chances, atol=1e-5)
    assert (found[60:] == lacking).any()


@pytest.mark.parametrize("threshold", [0.3, 0.99])
def test_the_threshold_decides_what_is_unknown(threshold):
    adata = planted("a", cells=80, spread=1.0)
    markers = {kind: [f"G{t}"] for t, kind in enumerate(TYPES)}
    lloki.tl.annotate_by_markers(adata, markers, n_neighbors=3, threshold=threshold)
    believed = (adata.obs[keys.MARKER_TYPE] != "unknown").to_numpy()
    confidence = adata.obs[keys.MARKER_CONFIDENCE].to_numpy()
    assert (confidence[believed] >= threshold).all()
    assert (confidence[~believed] < threshold).all()
    assert believed.any()
    assert (~believed).any() or threshold < 0.5
