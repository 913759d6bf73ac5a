"""The factor model against a dense one written out by hand, and what must hold for any panels."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from lloki.embed import Factor, FactorConfig, SliceSummary, load_embedder, save_embedder
from lloki.embed import factor as module
from lloki.embed.em import expectation_maximization
from lloki.embed.factor import stabilize
from lloki.errors import ConfigError, GeneError, ModelError
from lloki.fp import log_normalize

GENES = [f"G{i:02d}" for i in range(20)]


def made(panels: list[list[int]], cells: list[int], seed: int = 0, factors: int = 3) -> list[np.ndarray]:
    """Counts of assays that see some of one tissue's genes, each with detection rates of its own."""
    rng = np.random.default_rng(seed)
    loadings = rng.normal(0, 0.8, (factors, len(GENES)))
    out = []
    for panel, n in zip(panels, cells):
        rates = np.exp(
            rng.normal(size=(n, factors)) @ loadings[:, panel] + rng.normal(0, 0.5, len(panel)) + 1
        )
        out.append(rng.poisson(rates).astype(np.float32))
    return out


def summaries(counts: list[np.ndarray], panels: list[list[int]], model: Factor) -> list[SliceSummary]:
    return [
        model.summarize(log_normalize(sparse.csr_matrix(x)), [GENES[j] for j in p])
        for x, p in zip(counts, panels)
    ]


PANELS = [list(range(12)), list(range(6, 18)), [0, 3, 6, 9, 12, 15, 18, 19], list(range(20))]


@pytest.fixture
def data() -> list[np.ndarray]:
    return made(PANELS, [60, 50, 40, 80])


def standardized(counts: np.ndarray) -> np.ndarray:
    """The model's input by its definition: root of the share, centered and scaled by gene over the slice."""
    total = counts.sum(1, keepdims=True)
    x = np.sqrt(np.divide(counts, total, out=np.zeros_like(counts, float), where=total > 0))
    return (x - x.mean(0)) / x.std(0)


def by_hand(xs, panels, n_genes, w, psi, rounds, ridge, floor):
    """Expectation-maximization cell by cell and gene by gene."""
    k = w.shape[1]
    for _ in range(rounds):
        a, b, yy, seen = (
            np.zeros((n_genes, k, k)),
            np.zeros((n_genes, k)),
            np.zeros(n_genes),
            np.zeros(n_genes),
        )
        for x, panel in zip(xs, panels):
            wp, pp = w[panel], psi[panel]
            cov = np.linalg.inv(np.eye(k) + wp.T @ np.diag(1 / pp) @ wp)
            for cell in x:
                mean = cov @ wp.T @ (cell / pp)
                second = cov + np.outer(mean, mean)
                for value, g in zip(cell, panel):
                    a[g] += second
                    b[g] += value * mean
                    yy[g] += value**2
                    seen[g] += 1
        for g in range(n_genes):
            w[g] = np.linalg.solve(a[g] + ridge * seen[g] * np.eye(k), b[g])
            psi[g] = max((yy[g] - 2 * w[g] @ b[g] + w[g] @ a[g] @ w[g]) / seen[g], floor)
    return w, psi


def moments(xs: list[np.ndarray]) -> list[np.ndarray]:
    return [x.T @ x for x in xs]


def columns(panels: list[list[int]]) -> list[np.ndarray]:
    return [np.array(p) for p in panels]


def test_parity_with_the_model_written_out_by_hand(data):
    xs = [standardized(x) for x in data]
    sizes = [float(len(x)) for x in xs]
    config = FactorConfig(factors=3, rounds=1)
    fit = lambda rounds: expectation_maximization(  # noqa: E731
        moments(xs), sizes, columns(PANELS), 20, FactorConfig(factors=3, rounds=rounds)
    )
    start = fit(1)
    expected = by_hand(xs, PANELS, 20, *(v.copy() for v in start), 4, config.ridge, config.noise_floor)
    found = fit(5)
    # the loadings agree up to a rotation of the factors, on which nothing depends
    np.testing.assert_allclose(found[0] @ found[0].T, expected[0] @ expected[0].T, atol=1e-9)
    np.testing.assert_allclose(found[1], expected[1], atol=1e-9)
    off = found[0].T @ found[0]
    np.testing.assert_allclose(off - np.diag(np.diag(off)), 0, atol=1e-9)
    assert (np.diff(np.diag(off)) <= 1e-12).all()


def test_the_embedding_is_the_posterior_mean(data):
    model = Factor(factors=3, composition=False)
    parts = summaries(data, PANELS, model)
    model.fit({"a": parts[0], "b": parts[1], "c": parts[2]}, parts[3])
    for counts, panel, part in zip(data, PANELS, parts):
        x, w, psi = standardized(counts), model.loadings[panel], model.noise[panel]
        expected = np.stack(
            [np.linalg.solve(np.eye(3) + w.T @ (w / psi[:, None]), w.T @ (row / psi)) for row in x]
        )
        expected *= np.linalg.norm(model.loadings, axis=0) ** 0.5
        found = model.embed(log_normalize(sparse.csr_matrix(counts)), part.genes, state=part)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, atol=1e-5)


def likelihood(xs, panels, w, psi) -> float:
    total = 0.0
    for x, panel in zip(xs, panels):
        cov = w[panel] @ w[panel].T + np.diag(psi[panel])
        _, logdet = np.linalg.slogdet(cov)
        total -= 0.5 * (
            len(x) * (logdet + len(panel) * np.log(2 * np.pi)) + np.sum(x * np.linalg.solve(cov, x.T).T)
        )
    return total


@st.composite
def assays(draw):
    panels = [
        sorted(draw(st.sets(st.integers(0, 19), min_size=4, max_size=20)))
        for _ in range(draw(st.integers(1, 4)))
    ]
    cells = [draw(st.integers(12, 60)) for _ in panels]
    return panels, cells, draw(st.integers(0, 10_000)), draw(st.integers(1, 6))


@given(assays())
@settings(max_examples=25, deadline=None)
def test_no_round_lowers_the_likelihood(drawn):
    """Without shrinkage, for any panels and sizes."""
    panels, cells, seed, k = drawn
    genes = sorted({g for p in panels for g in p})
    panels = [[genes.index(g) for g in p] for p in panels]
    rng = np.random.default_rng(seed)
    true = rng.normal(size=(len(genes), 3))
    xs = []
    for panel, n in zip(panels, cells):
        x = rng.normal(size=(n, 3)) @ true[panel].T + rng.normal(size=(n, len(panel)))
        xs.append((x - x.mean(0)) / x.std(0))
    known = []
    for rounds in range(1, 12, 2):
        config = FactorConfig(factors=k, rounds=rounds, ridge=0.0)
        w, psi = expectation_maximization(
            moments(xs), [float(n) for n in cells], columns(panels), len(genes), config
        )
        assert (psi >= config.noise_floor).all()
        known.append(likelihood(xs, panels, w, psi))
    assert (np.diff(known) >= -1e-7 * np.abs(known[1:])).all(), known


@given(st.integers(0, 1000), st.integers(2, 40))
@settings(max_examples=20, deadline=None)
def test_a_row_depends_on_its_cell_alone(seed, n):
    data = made(PANELS[:2], [40, 40], seed)
    model = Factor(factors=3, rounds=5)
    parts = summaries(data, PANELS[:2], model)
    model.fit({"a": parts[0]}, parts[1])
    x = log_normalize(sparse.csr_matrix(data[0]))
    whole = model.embed(x, parts[0].genes, state=parts[0])
    rows = np.random.default_rng(seed).permutation(40)[:n]
    np.testing.assert_allclose(model.embed(x[rows], parts[0].genes, state=parts[0]), whole[rows], atol=1e-5)


def test_chunks_and_threads(data, monkeypatch):
    model = Factor(factors=3)
    parts = summaries(data, PANELS, model)
    model.fit({"a": parts[0]}, parts[3])
    x = log_normalize(sparse.csr_matrix(data[0]))
    whole = model.embed(x, parts[0].genes, state=parts[0])
    monkeypatch.setattr(module, "BLOCK", 7)
    chunked = summaries(data, PANELS, model)
    np.testing.assert_allclose(chunked[0].arrays["moment"], parts[0].arrays["moment"], rtol=1e-9, atol=1e-9)
    few = [model.embed(x, parts[0].genes, state=parts[0], threads=t) for t in (1, 2, 3)]
    np.testing.assert_allclose(few[0], whole, atol=1e-6)
    assert np.array_equal(few[0], few[1])
    assert np.array_equal(few[0], few[2])


def test_progress_counts_every_cell(data):
    model, done = Factor(factors=3), []
    parts = summaries(data, PANELS, model)
    model.fit({"a": parts[0]}, parts[3])
    model.embed(
        log_normalize(sparse.csr_matrix(data[0])), parts[0].genes, state=parts[0], advance=done.append
    )
    assert sum(done) == 60


def test_the_order_of_slices_changes_no_bit(data):
    models = []
    for order in (("a", "b", "c"), ("c", "a", "b")):
        model = Factor(factors=3)
        parts = dict(zip("abc", summaries(data[:3], PANELS[:3], model)))
        reference = summaries(data[3:], PANELS[3:], model)[0]
        models.append(model.fit({name: parts[name] for name in order}, reference))
    assert np.array_equal(models[0].loadings, models[1].loadings)
    assert np.array_equal(models[0].noise, models[1].noise)


def test_genes_that_never_vary_count_as_not_measured(data):
    data[0][:, 2] = 0
    model = Factor(factors=3)
    parts = summaries(data, PANELS, model)
    assert parts[0].arrays["scale"][2] == 0
    model.fit({"a": parts[0]}, parts[3])
    assert GENES[2] not in model.genes
    rows = model.embed(log_normalize(sparse.csr_matrix(data[0])), parts[0].genes, state=parts[0])
    assert np.isfinite(rows).all()


def test_cells_without_counts_get_finite_rows(data):
    data[0][:3] = 0
    model = Factor(factors=3)
    parts = summaries(data, PANELS, model)
    model.fit({"a": parts[0]}, parts[3])
    rows = model.embed(log_normalize(sparse.csr_matrix(data[0])), parts[0].genes, state=parts[0])
    assert np.isfinite(rows).all()
    assert np.array_equal(rows[0], rows[2])


def test_genes_of_the_reference_alone_are_left_out(data):
    model = Factor(factors=3)
    parts = summaries(data, PANELS, model)
    model.fit({"a": parts[0]}, parts[3])
    assert set(model.genes) == {GENES[j] for j in PANELS[0]}
    found = model.coverage([*GENES[:2], "other"])
    assert (found.used, found.dropped) == (("G00", "G01"), ("other",))


def test_more_factors_than_genes(data):
    model = Factor(factors=50)
    parts = summaries(data[:1], PANELS[:1], model)
    model.fit({"a": parts[0]}, parts[0])
    assert model.dim == 12


def test_save_and_load(data, tmp_path):
    model = Factor(factors=3, rounds=7)
    parts = summaries(data, PANELS, model)
    model.fit({"a": parts[0]}, parts[3])
    save_embedder(model, tmp_path)
    again = load_embedder(tmp_path)
    assert isinstance(again, Factor)
    assert (again.genes, again.config, again.dim) == (model.genes, model.config, model.dim)
    x = log_normalize(sparse.csr_matrix(data[0]))
    embedded = (m.embed(x, parts[0].genes, state=parts[0]) for m in (model, again))
    assert np.array_equal(*embedded)
    facts = json.loads((tmp_path / "factor.json").read_text())
    (tmp_path / "factor.json").write_text(json.dumps(facts | {"genes": facts["genes"][1:]}))
    with pytest.raises(ModelError, match="names 11 genes"):
        load_embedder(tmp_path)
    (tmp_path / "factor.safetensors").write_bytes(b"cut short")
    with pytest.raises(ModelError, match="cannot be read"):
        load_embedder(tmp_path)


def test_errors(data):
    model = Factor()
    part = summaries(data[:1], PANELS[:1], model)[0]
    x = log_normalize(sparse.csr_matrix(data[0]))
    with pytest.raises(ModelError, match="not fitted"):
        model.embed(x, part.genes, state=part)
    model.fit({"a": part}, part)
    with pytest.raises(GeneError, match="knows 2 of the 3 genes"):
        model.embed(x[:, :3], ["G00", "G01", "other"], state=part)
    still = model.summarize(sparse.csr_matrix((5, 2), dtype=np.float32), ["G00", "G01"])
    with pytest.raises(GeneError, match="no gene of any slice varies"):
        Factor().fit({"a": still}, part)
    for bad in ({"factors": 0}, {"rounds": 0}, {"noise_floor": 0.0}, {"ridge": -1.0}, {"min_genes": 0}):
        with pytest.raises(ConfigError, match=next(iter(bad))):
            FactorConfig(**bad)


def test_depth_does_not_matter():
    x = np.array([[1.0, 2.0, 5.0, 0.0], [10.0, 20.0, 50.0, 0.0], [0, 0, 0, 0]])
    rows = stabilize(log_normalize(sparse.csr_matrix(x)))
    np.testing.assert_allclose(rows[0], rows[1], atol=1e-6)
    np.testing.assert_allclose((rows[0] ** 2).sum(), 1, atol=1e-6)
    assert not rows[2].any()
