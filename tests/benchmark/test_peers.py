"""Methods of others on slices of different panels: they find planted types and read what was measured."""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
import pytest
from scipy import sparse, special, stats

from lloki.benchmark.measured import Measured
from lloki.benchmark.peers import mofa, reference_knn, reference_ridge, scvi_masked, stabmap
from lloki.benchmark.peers._mofa import Fitted
from lloki.benchmark.peers._mosaic import Mosaic
from lloki.benchmark.peers._reference import ridge_weights
from lloki.benchmark.peers._standardized import Standardized, principal_axes
from lloki.errors import ConfigError, InputError, LlokiError, MissingExtraError
from lloki.evaluate import expression_pca, normalized, transfer_accuracy

TYPES, GENES = 5, tuple(f"g{i:02d}" for i in range(60))
PANELS = (GENES[:32], GENES[26:], GENES[10:20] + GENES[40:52])  # 6, 10 and 12 genes in common


def quick_mofa(slices: list[Measured], reference: Measured, seed: int = 0) -> list[np.ndarray]:
    pytest.importorskip("mofapy2", reason="MOFA+ needs the extra mofa")
    return mofa(slices, reference, seed=seed, factors=6, fit_cells=70)


def quick_scvi(slices: list[Measured], reference: Measured, seed: int = 0) -> list[np.ndarray]:
    return scvi_masked(slices, reference, seed=seed, epochs=25, latent=8)


SEEDED = [pytest.param(quick_mofa, id="mofa"), pytest.param(quick_scvi, id="scvi-masked")]
EXACT = [
    pytest.param(stabmap, id="stabmap"),
    pytest.param(reference_knn, id="reference-knn"),
    pytest.param(reference_ridge, id="reference-ridge"),
]
every_peer = pytest.mark.parametrize("peer", [*SEEDED, *EXACT])


def draw(types: np.ndarray, rng: np.random.Generator, genes: tuple[str, ...]) -> Measured:
    """Counts of cells of these types, as a technology with detection rates of its own sees them."""
    profiles = np.random.default_rng(5).gamma(0.4, 4.0, (TYPES, len(GENES)))
    rates = profiles * rng.lognormal(0, 0.5, len(GENES))
    at = [GENES.index(g) for g in genes]
    return Measured(sparse.csr_matrix(rng.poisson(rates[types][:, at]).astype(np.float32)), genes)


@pytest.fixture(scope="module")
def made() -> tuple[list[Measured], Measured, list[np.ndarray]]:
    rng = np.random.default_rng(3)
    types = [rng.integers(0, TYPES, 120) for _ in PANELS]
    slices = [draw(t, rng, panel) for t, panel in zip(types, PANELS)]
    return slices, draw(rng.integers(0, TYPES, 150), rng, GENES), types


def of_union(slices: list[Measured]) -> np.ndarray:
    """PCA of all genes, 0 where a slice did not measure one."""
    x = np.zeros((sum(s.counts.shape[0] for s in slices), len(GENES)), np.float32)
    start = 0
    for s in slices:
        stop = start + s.counts.shape[0]
        x[start:stop, [GENES.index(g) for g in s.genes]] = s.counts.toarray()
        start = stop
    return expression_pca(normalized(sparse.csr_matrix(x)))


@every_peer
def test_planted_types_are_found_across_panels(peer, made):
    slices, reference, types = made
    found = peer(slices, reference)
    assert [x.shape[0] for x in found] == [120] * 3
    assert {x.dtype for x in found} == {np.dtype(np.float32)}
    labels = np.concatenate(types).astype(str)
    batches = np.repeat(["a", "b", "c"], 120)
    right, f1 = transfer_accuracy(np.concatenate(found), labels, batches)
    plain, _ = transfer_accuracy(of_union(slices), labels, batches)
    assert right > max(0.75, plain + 0.1), (right, plain)
    assert f1 > 0.7


@every_peer
def test_a_gene_that_was_not_measured_is_not_a_zero(peer, made):
    slices, reference, _ = made
    genes = [g for g in GENES if g not in slices[0].genes]
    zeros = sparse.csr_matrix((120, len(genes)), dtype=np.float32)
    padded = Measured(sparse.csr_matrix(sparse.hstack([slices[0].counts, zeros])), (*slices[0].genes, *genes))
    for x, y in zip(peer(slices, reference), peer([padded, *slices[1:]], reference)):
        np.testing.assert_array_equal(x, y)


@every_peer
def test_the_order_of_slices_cells_and_genes_does_not_matter(peer, made):
    slices, reference, _ = made
    rng = np.random.default_rng(0)
    turned, rows = [], []
    for s in (*slices, reference):
        cells, genes = rng.permutation(s.counts.shape[0]), rng.permutation(len(s.genes))
        turned.append(Measured(s.counts[cells][:, genes], tuple(s.genes[i] for i in genes)))
        rows.append(cells)
    found = peer(turned[:3][::-1], turned[3])[::-1]
    for x, y, cells in zip(peer(slices, reference), found, rows):
        np.testing.assert_array_equal(x[cells], y)


@pytest.mark.parametrize("peer", SEEDED)
def test_the_seed_gives_the_rows(peer, made):
    slices, reference, _ = made
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    one, same, other = (np.concatenate(peer(slices, reference, seed=s)) for s in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002


@every_peer
def test_inputs_are_not_changed_and_nothing_is_printed(peer, made, capfd):
    slices, reference, _ = made
    before = [s.counts.toarray() for s in (*slices, reference)]
    peer(slices, reference)
    for s, x in zip((*slices, reference), before):
        np.testing.assert_array_equal(s.counts.toarray(), x)
    assert capfd.readouterr() == ("", "")


@every_peer
def test_what_cannot_be_compared_is_refused(peer, made):
    slices, reference, _ = made
    with pytest.raises(ConfigError, match="no slice"):
        peer([], reference)
    with pytest.raises(InputError, match="slice 1: there are no counts"):
        peer([slices[0], Measured(sparse.csr_matrix((4, 2), dtype=np.float32), ("g01", "g02"))], reference)
    with pytest.raises(InputError, match="scRNA-seq reference: no gene of the slices"):
        peer(slices, Measured(reference.counts, tuple(f"x{i}" for i in range(len(GENES)))))


@pytest.mark.parametrize("peer", EXACT)
def test_too_few_shared_genes_are_refused(peer, made):
    slices, reference, _ = made
    few = reference.only(GENES[:34])  # two of the second panel's beyond those of the first
    alone = slices[1].only(GENES[32:])
    with pytest.raises(InputError, match="2"):
        peer([slices[0], alone], few)


def test_mofa_names_its_extra(made, monkeypatch):
    monkeypatch.setitem(sys.modules, "mofapy2.run.entry_point", None)
    slices, reference, _ = made
    with pytest.raises(MissingExtraError, match=r"pip install 'lloki\[mofa\]'"):
        mofa(slices, reference)


def test_projected_factors_are_those_that_mofa_gives_its_own_cells(made):
    pytest.importorskip("mofapy2", reason="MOFA+ needs the extra mofa")
    from lloki.benchmark.peers._mofa import fit

    slices, _, _ = made
    genes = sorted({g for s in slices for g in s.genes})
    data, groups, where = [Standardized.of(s) for s in slices], [], []
    for x in data:
        where.append(np.array([genes.index(g) for g in x.genes]))
        groups.append(np.full((120, len(genes)), np.nan))
        groups[-1][:, where[-1]] = x.dense(slice(None))
    model = fit(groups, 5, seed=0)
    projected = np.concatenate([x.dot(model.loadings(i, where[i])) for i, x in enumerate(data)])
    assert projected.shape == model.factors.shape
    for k in range(5):
        if model.factors[:, k].std() > 0.05:  # a factor that is switched off is noise about 0
            assert np.corrcoef(projected[:, k], model.factors[:, k])[0, 1] > 0.99
    assert np.abs(projected - model.factors).mean() < 0.1 * np.abs(model.factors).mean()


def test_factors_are_projected_by_the_posterior_of_the_measured_genes():
    rng = np.random.default_rng(4)
    w, tau = rng.normal(size=(9, 3)), rng.gamma(2, 1, (2, 9))
    variance = rng.gamma(1, 0.1, (9, 3))
    model = Fitted(w, w**2 + variance, tau, np.zeros((0, 3)))
    genes, y = np.array([1, 4, 5, 8]), rng.normal(size=4)
    inner, right = np.eye(3), np.zeros(3)
    for d, value in zip(genes, y):
        inner = inner + tau[1, d] * (np.outer(w[d], w[d]) + np.diag(variance[d]))
        right += tau[1, d] * w[d] * value
    np.testing.assert_allclose(y @ model.loadings(1, genes), np.linalg.solve(inner, right))


def test_mofa_that_gives_up_is_an_error_and_not_an_exit(made, monkeypatch):
    pytest.importorskip("mofapy2", reason="MOFA+ needs the extra mofa")

    reason: list[BaseException] = [TypeError("no factors"), KeyboardInterrupt()]

    def give_up(*args: object) -> None:
        try:
            raise reason.pop(0)
        except BaseException:
            sys.exit()

    monkeypatch.setattr("lloki.benchmark.peers._mofa._train", give_up)
    slices, reference, _ = made
    with pytest.raises(LlokiError, match="mofapy2 stopped without a result: no factors"):
        mofa(slices, reference)
    with pytest.raises(KeyboardInterrupt):
        mofa(slices, reference)


def test_stabmap_has_a_block_of_equal_size_for_every_data_set(made):
    slices, reference, _ = made
    assert stabmap(slices, reference, components=4)[0].shape[1] == 4 * 4
    few = slices[2].only(slices[2].genes[:12])  # 12 components, where others have 20
    given = [*slices[:2], few, reference]  # the reference as a slice, too, so that its rows are seen
    found = stabmap(given, reference, components=20)
    norms = np.abs(np.concatenate([*found, found[3]]))
    widths = [12 if given[i] is few else 20 for i in Mosaic.of(given, reference).position]
    blocks = np.split(norms, np.cumsum(widths), axis=1)
    assert [block.shape[1] for block in blocks] == [*widths, 20]
    for block in blocks:
        assert block.sum(axis=1).mean() == pytest.approx(1, abs=0.01)


def test_stabmap_maps_by_least_squares_directly_or_through_the_reference():
    rng = np.random.default_rng(2)
    types = rng.integers(0, TYPES, (3, 80))
    panels = (GENES[:30], GENES[20:45], GENES[:45])  # 10 genes in common
    a, b, reference = (draw(t, rng, panel) for t, panel in zip(types, panels))
    xa, xb, xr = (Standardized.of(d).dense(slice(None)) for d in (a, b, reference))
    scores = xa @ principal_axes(xa.T @ xa / 80, 80, 3)

    def regress(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.linalg.lstsq(x, y, rcond=None)[0]

    direct = xb[:, :10] @ regress(xa[:, 20:], scores)
    through = xb @ regress(xr[:, 20:], xr[:, :30] @ regress(xa, scores))
    for least, expected in ((10, direct), (11, through)):
        found = stabmap([a, b], reference, components=3, least_shared=least)[1]
        parts = np.split(found, 3, axis=1)  # one for each data set, the order of slices is the function's
        same = [np.corrcoef(part.ravel(), expected.ravel())[0, 1] for part in parts]
        assert max(same) > 0.9999


def test_ridge_weights_are_those_of_the_closed_form():
    rng = np.random.default_rng(1)
    data = draw(rng.integers(0, TYPES, 90), rng, GENES[:8])
    x = Standardized.of(data)
    dense, y = x.dense(slice(None)), rng.normal(size=(90, 2))
    y -= y.mean(axis=0)
    expected = np.linalg.solve(dense.T @ dense + 90 * 0.3 * np.eye(8), dense.T @ y)
    np.testing.assert_allclose(ridge_weights(x, y, [0.3]), expected, atol=1e-8)

    def criterion(penalty: float) -> float:
        hat = dense @ np.linalg.solve(dense.T @ dense + 90 * penalty * np.eye(8), dense.T)
        return ((y - hat @ y) ** 2).mean() / (1 - np.trace(hat) / 90) ** 2

    choice = [1e-3, 1e-1, 10.0]
    best = min(choice, key=criterion)
    np.testing.assert_allclose(ridge_weights(x, y, choice), ridge_weights(x, y, [best]), atol=1e-8)


def test_standardized_expression_has_mean_0_and_variance_1(made):
    x = Standardized.of(made[0][0])
    dense = x.dense(slice(None))
    np.testing.assert_allclose(dense.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(dense.std(axis=0), 1, atol=1e-4)
    weights = np.random.default_rng(0).normal(size=(dense.shape[1], 3))
    np.testing.assert_allclose(x.dot(weights), dense @ weights, atol=1e-8)
    np.testing.assert_allclose(x.covariance(), dense.T @ dense / 120, atol=1e-8)


def test_cells_without_counts_keep_their_place(made):
    slices, reference, _ = made
    counts = sparse.lil_matrix(slices[0].counts)
    counts[7] = 0
    emptied = Measured(sparse.csr_matrix(counts), slices[0].genes)
    mosaic = Mosaic.of([emptied, *slices[1:]], reference)
    given = mosaic.as_given([s.counts.toarray() for s in mosaic.slices])
    np.testing.assert_array_equal(given[0], emptied.counts.toarray())
    peers: list[Callable[..., list[np.ndarray]]] = [stabmap, reference_knn, reference_ridge]
    assert all(np.isfinite(p([emptied, *slices[1:]], reference)[0]).all() for p in peers)


def test_the_likelihood_of_counts_is_negative_binomial():
    torch = pytest.importorskip("torch")
    from lloki.benchmark.peers._vae import negative_binomial

    x, mu, theta = np.arange(6.0), 2.5, 1.7
    tensors = (torch.tensor(v, dtype=torch.float64) for v in (x, mu, theta))
    found = negative_binomial(*tensors, small=0.0).numpy()
    expected = stats.nbinom.logpmf(x, theta, theta / (theta + mu)) + special.gammaln(x + 1)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_genes_outside_a_panel_have_no_part_in_the_likelihood():
    torch = pytest.importorskip("torch")
    from lloki.benchmark.peers._vae import VAE

    torch.manual_seed(0)
    model = VAE(torch.tensor([[True, True, True, False], [True] * 4]), 2).eval()
    x, batch = torch.tensor([[3.0, 1.0, 2.0, 0.0]] * 4), torch.zeros(4, dtype=torch.long)
    model.loss(x, batch, 1.0).backward()
    assert model.proportions.weight.grad[3].abs().sum() == 0
    assert model.log_dispersion.grad[3] == 0
    assert model.proportions.weight.grad[:3].abs().sum() > 0
