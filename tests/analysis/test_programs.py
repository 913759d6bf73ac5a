"""Gene programs: the pieces against what they should be, the fit against what was planted."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from math import exp, factorial, log

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import sparse
from simulated import matched, planted

from lloki.analysis import ProgramConfig, fit_programs
from lloki.analysis.programs.parameters import pull
from lloki.analysis.programs.partition import log_partition
from lloki.analysis.programs.section import Section
from lloki.analysis.programs.simplex import project_simplex
from lloki.analysis.programs.states import best_size, coupled_states, energy
from lloki.errors import ConfigError, InputError, LlokiWarning

numbers = st.floats(-50, 50, width=32)


def series(eta: np.ndarray) -> float:
    """Log of the integral as a sum of positive terms: complete homogeneous polynomials over factorials."""
    top = eta.max()
    a, count = top - eta, int(3 * np.ptp(eta)) + 60
    h = np.zeros(count)
    h[0] = 1.0
    for value in a:
        for n in range(1, count):
            h[n] += value * h[n - 1]
    logs = np.array([log(v) - sum(np.log(np.arange(1, n + len(eta)))) for n, v in enumerate(h) if v > 0])
    return float(logs.max() + log(np.exp(logs - logs.max()).sum()) - top)


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 8).flatmap(lambda k: arrays(np.float64, k, elements=st.floats(-8, 8))))
def test_the_partition_function_is_the_series(eta):
    value, mean, second = log_partition(torch.from_numpy(eta)[None])
    assert float(value) == pytest.approx(series(eta), abs=2e-5)
    assert float(mean.sum()) == pytest.approx(1, abs=1e-4)
    assert second is not None
    assert float(second.sum()) == pytest.approx(1, abs=1e-3)


def test_the_partition_function_at_known_places():
    for k in (2, 5, 15, 50):
        value, mean, _ = log_partition(torch.full((1, k), 3.0, dtype=torch.float64))
        assert float(value) == pytest.approx(-3 - log(factorial(k - 1)), abs=1e-9)
        np.testing.assert_allclose(mean, 1 / k)
    for gap in (4.0, 80.0, 600.0):
        two, _, _ = log_partition(torch.tensor([[0.0, gap]], dtype=torch.float64))
        assert float(two) == pytest.approx(log((1 - exp(-gap)) / gap), abs=1e-6)


def test_slope_and_bend_of_the_affinities_are_derivatives():
    rng = np.random.default_rng(0)
    z = torch.from_numpy(rng.dirichlet(np.ones(3), 40))
    nu = torch.from_numpy(rng.dirichlet(np.ones(3), 40) * 5)
    a, way = (torch.from_numpy(m + m.T) for m in rng.normal(size=(2, 3, 3)))
    here = pull([(z, nu)], a, 0.3, 16, hessian=True)
    step = 1e-4
    ahead, behind = (pull([(z, nu)], a + s * way, 0.3, 16, hessian=False) for s in (step, -step))
    assert (ahead.value - behind.value) / (2 * step) == pytest.approx(
        float((here.slope * way).sum()), rel=1e-5
    )
    bend = float(way.flatten() @ here.bend @ way.flatten())
    assert float(((ahead.slope - behind.slope) * way).sum()) / (2 * step) == pytest.approx(bend, rel=1e-4)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 7).flatmap(lambda k: arrays(np.float64, (3, k), elements=numbers)))
def test_projection_finds_the_nearest_point_of_the_simplex(y):
    z = project_simplex(torch.from_numpy(y)).numpy()
    assert (z >= 0).all()
    np.testing.assert_allclose(z.sum(1), 1, atol=1e-9)
    # nearest: no corner lies on the far side of the plane through z across y - z
    assert ((y - z) @ np.eye(y.shape[1]) - ((y - z) * z).sum(1, keepdims=True) <= 1e-6).all()
    np.testing.assert_allclose(project_simplex(torch.from_numpy(z)), z, atol=1e-9)


@pytest.mark.parametrize("strength", [0.5, 20.0, 500.0])
def test_the_states_step_never_goes_up(strength):
    p = planted(n=80)
    section = Section.of(p.features[0], p.graphs[0], 4, 32, torch.device("cpu"))
    section.noise = 0.3
    rng = np.random.default_rng(0)
    a = rng.normal(size=(4, 4)) * strength
    m, affinity = torch.from_numpy(p.metagenes).float(), torch.from_numpy(a + a.T).float()
    quad, linear = m.T @ m / 0.09, section.onto(m) / 0.09
    section.s = best_size(section.z, quad, linear)
    values = []
    for _ in range(6):
        values.append(energy(section, section.z, section.s, quad, linear, affinity))
        coupled_states(section, m, affinity, rounds=1, steps=7)
    assert all(b <= a + 1e-5 * abs(a) for a, b in pairwise(values))
    assert values[-1] < values[0]
    np.testing.assert_allclose(section.z.sum(1), 1, atol=1e-5)


@pytest.fixture(scope="module")
def fitted():
    p = planted()
    config = ProgramConfig(n_metagenes=4, iterations=14, pretraining=5, block=64)
    return p, config, fit_programs(p.features, p.graphs, config=config)


def test_planted_metagenes_states_and_neighbors_are_found(fitted):
    p, _, found = fitted
    cosine, columns = matched(p.metagenes, found.metagenes)
    assert cosine.min() > 0.97
    assert (found.metagenes >= 0).all()
    np.testing.assert_allclose(found.metagenes.sum(0), 1, atol=1e-5)
    for truth, mine in zip(p.states, found.states):
        assert min(np.corrcoef(truth[:, i], mine[:, c])[0, 1] for i, c in enumerate(columns)) > 0.95
    affinity = found.affinity[np.ix_(columns, columns)]
    np.testing.assert_allclose(affinity, affinity.T)
    assert (np.diag(affinity) < 0).all()  # stripes are of one kind
    assert np.diag(affinity).max() < affinity[np.triu_indices(4, 1)].min()


def test_the_objective_goes_down_to_tolerance(fitted):
    history = fitted[2].history
    for phase in ("free", "coupled"):
        course = history.loc[history.phase == phase, "objective"].to_numpy()
        assert course[-1] < course[0]
        assert np.diff(course).max() < 2e-3
    assert fitted[2].facts()["iterations"] == len(history)


def test_neighbors_help_where_features_are_poor():
    p = planted(noise=1.5, seed=3)
    errors = []
    for iterations in (0, 10):
        found = fit_programs(
            p.features, p.graphs, config=ProgramConfig(n_metagenes=4, iterations=iterations, pretraining=8)
        )
        _, columns = matched(p.metagenes, found.metagenes)
        r = [
            np.corrcoef(t[:, i], m[:, c])[0, 1]
            for t, m in zip(p.states, found.states)
            for i, c in enumerate(columns)
        ]
        errors.append(1 - np.mean(r))
    assert errors[1] < errors[0]


def test_threads_blocks_and_sparse_features_change_nothing(fitted):
    p, config, found = fitted
    again = fit_programs([sparse.csr_matrix(y) for y in p.features], p.graphs, config=config, threads=2)
    np.testing.assert_allclose(again.metagenes, found.metagenes, atol=1e-5)
    np.testing.assert_allclose(again.affinity, found.affinity, atol=1e-2)


def test_a_stopped_fit_goes_on_where_it_was(fitted, tmp_path):
    p, config, found = fitted
    file, done = tmp_path / "fit.pt", 0

    class Stop(Exception):
        pass

    def stop(n: int) -> None:
        nonlocal done
        done += n
        if done == 11:
            raise Stop

    settings = config.to_dict() | {"checkpoint_every": 4}
    with pytest.raises(Stop):
        fit_programs(p.features, p.graphs, config=ProgramConfig(**settings), checkpoint=file, advance=stop)
    counts: list[int] = []
    again = fit_programs(
        p.features, p.graphs, config=ProgramConfig(**settings), checkpoint=file, advance=counts.append
    )
    assert counts[0] == 8
    np.testing.assert_array_equal(again.metagenes, found.metagenes)
    np.testing.assert_array_equal(again.affinity, found.affinity)
    np.testing.assert_array_equal(again.states[1], found.states[1])
    with pytest.raises(ConfigError, match="other cells, settings"):
        fit_programs(p.features, p.graphs, config=ProgramConfig(n_metagenes=3), checkpoint=file)


def test_what_cannot_be_fitted_is_said():
    p = planted(n=30)
    y, g = p.features, p.graphs
    small = ProgramConfig(n_metagenes=4, iterations=1, pretraining=1)
    for features, graphs, text in (
        ([y[0], y[1] - 1], g, "go down to"),
        ([y[0], np.where(y[1] > 0, np.nan, 0)], g, "NaN"),
        ([y[0], 0 * y[1]], g, "all features are 0"),
        ([y[0], y[1][:, :5]], g, "5 features where the first slice has 20"),
        (y, [g[0], sparse.csr_matrix(g[1].shape)], "no cell has a spatial neighbor"),
        (y, [g[0], g[1][:5, :5]], "its graph has shape"),
        (y, g[:1], "2 slices and 1 graphs"),
        ([], [], "0 slices"),
    ):
        with pytest.raises(InputError, match=text):
            fit_programs(features, graphs, config=small)
    with pytest.raises(ConfigError, match="as many features"):
        fit_programs(y, g, config=ProgramConfig(n_metagenes=21))
    with pytest.raises(ConfigError, match="start must be"):
        fit_programs(y, g, config=small, start=np.ones((3, 4)))
    for bad in (
        {"n_metagenes": 1},
        {"n_metagenes": 51},
        {"regularization": 0},
        {"tolerance": -1},
        {"pretraining": 0},
    ):
        with pytest.raises(ConfigError):
            ProgramConfig(**bad)
    with pytest.raises(ConfigError, match="has no field 'kk'"):
        ProgramConfig.from_dict({"kk": 3})


def test_cells_without_counts_or_neighbors_keep_finite_states():
    p = planted(n=60)
    y = [f.copy() for f in p.features]
    y[0][:3] = 0
    g = [p.graphs[0].tolil(), p.graphs[1]]
    g[0][5:8], g[0][:, 5:8] = 0, 0
    found = fit_programs(
        y, [sparse.csr_matrix(w) for w in g], config=ProgramConfig(n_metagenes=4, iterations=5, pretraining=3)
    )
    assert np.isfinite(found.states[0]).all()
    assert found.states[0][:3].max() == 0


def test_affinities_that_take_over_are_warned_of_and_do_not_where_cells_speak_for_themselves():
    p = planted(n=300, slices=1, noise=3)
    published = ProgramConfig(n_metagenes=10, iterations=25, affinities="coupled")
    with pytest.warns(LlokiWarning, match="affinities dominate the features"):
        found = fit_programs(p.features, p.graphs, config=published)
    assert len(found.unused) >= 5
    held = fit_programs(p.features, p.graphs, config=replace(published, regularization=0.1))
    assert not held.unused
    own = fit_programs(p.features, p.graphs, config=replace(published, affinities="own"))
    assert 2 * len(own.unused) < len(found.unused)
