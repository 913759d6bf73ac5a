"""Offsets that differ between kinds of cells are found and taken out; like cells are left alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lloki.cae import CAEConfig, fit_token, train
from lloki.cae.condition import Conditions
from lloki.cae.mixture import Mixture, _offsets

KINDS, WIDTH = 4, 12


def shifted(shares=((0.25,) * 4, (0.25,) * 4), *, each=4000, shift=1.0, seed=0):
    """Slices of four kinds of cells; a kind of the second is moved its own way. Gives x, kind, shifts."""
    rng = np.random.default_rng(seed)
    centers = 6 * np.eye(KINDS, WIDTH)
    shifts = shift * rng.standard_normal((len(shares), KINDS, WIDTH))
    shifts[0] = 0
    slices, kinds = [], []
    for own, share in zip(shifts, shares):
        kind = rng.choice(KINDS, each, p=share)
        noise = 0.5 * rng.standard_normal((each, WIDTH))
        slices.append((centers[kind] + own[kind] + noise).astype(np.float32))
        kinds.append(kind)
    return slices, kinds, shifts


def gaps(slices, kinds):
    """Mean distance between the slices' centers of a kind, over kinds that both hold."""
    both = [k for k in range(KINDS) if all((own == k).any() for own in kinds)]
    parts = [np.stack([x[own == k].mean(0) for k in both]) for x, own in zip(slices, kinds)]
    return np.linalg.norm(parts[0] - parts[1], axis=1).mean()


def test_each_kinds_own_offset_is_taken_out():
    slices, kinds, _ = shifted()
    mixture = Mixture.fit(slices, [0, 1], [0, 0], components=8)
    moved = [mixture.apply(x, t) for t, x in enumerate(slices)]
    assert gaps(moved, kinds) < 0.1 * gaps(slices, kinds)
    spread = [np.std(x[own == 0], axis=0).mean() for x, own in zip(moved, kinds)]
    assert spread == pytest.approx([0.5, 0.5], rel=0.15)  # what differs within a kind stays


def test_slices_of_different_composition_keep_it():
    slices, kinds, _ = shifted(((0.7, 0.1, 0.1, 0.1), (0.1, 0.1, 0.1, 0.7)))
    mixture = Mixture.fit(slices, [0, 1], [0, 0], components=8)
    moved = [mixture.apply(x, t) for t, x in enumerate(slices)]
    assert gaps(moved, kinds) < 0.25 * gaps(slices, kinds)
    pooled, kind = np.concatenate(moved), np.concatenate(kinds)
    centers = np.stack([pooled[kind == k].mean(0) for k in range(KINDS)])
    nearest = np.linalg.norm(pooled[:, None] - centers, axis=2).argmin(1)
    assert (nearest == kind).mean() > 0.98


def test_a_kind_of_one_slice_only_stays_where_it_is():
    slices, kinds, _ = shifted(((0.4, 0.3, 0.3, 0.0), (0.0, 0.3, 0.3, 0.4)))
    mixture = Mixture.fit(slices, [0, 1], [0, 0], components=8)
    own = kinds[1] == 3
    before, after = slices[1][own].mean(0), mixture.apply(slices[1], 1)[own].mean(0)
    assert np.linalg.norm(after - before) < 1.0  # a kind is 6 from the origin


def test_a_token_added_later_is_brought_to_the_others():
    slices, kinds, _ = shifted()
    mixture = Mixture.fit(slices[:1] * 2, [0, 1], [0, 0], components=8).add(slices[1:], 0)
    moved = [slices[0], mixture.apply(slices[1], 2)]
    assert gaps(moved, kinds) < 0.25 * gaps(slices, kinds)
    before = Mixture.fit(slices[:1] * 2, [0, 1], [0, 0], components=8)
    assert np.array_equal(mixture.apply(slices[0], 0), before.apply(slices[0], 0))


def test_only_panels_of_one_technology_are_compared():
    slices, kinds, _ = shifted(((0.25,) * 4,) * 3)
    mixture = Mixture.fit(slices, [0, 1, 2], [0, 1, 0], components=8)
    moved = [mixture.apply(x, t) for t, x in enumerate(slices)]
    assert gaps(moved[::2], kinds[::2]) < 0.2 * gaps(slices[::2], kinds[::2])
    assert np.array_equal(moved[1], slices[1])
    apart = Mixture.fit(slices, [0, 1, 2], [0, 1, 2], components=8)
    assert all(np.array_equal(apart.apply(x, t), x) for t, x in enumerate(slices))


def test_a_panel_of_a_new_technology_has_no_offsets_and_the_next_one_is_compared_with_it():
    slices, _, _ = shifted(((0.25,) * 4,) * 3)
    mixture = Mixture.fit(slices[:1] * 2, [0, 1], [0, 0], components=8).add(slices[1:2], 1)
    assert np.array_equal(mixture.apply(slices[1], 2), slices[1])
    known = Mixture.fit(slices[:1] * 2, [0, 1], [0, 0], components=8).add(slices[1:2], 0)
    assert not np.array_equal(known.apply(slices[1], 2), slices[1])
    assert mixture.technology.tolist() == [0, 0, 1]


def test_a_technology_is_what_stands_before_the_panel():
    conditions = Conditions.of("token", {"a": "X|p", "b": "Y|p", "c": "X|q", "d": "alone", "e": "m|n|q"})
    assert conditions.tokens == ("X|p", "X|q", "Y|p", "alone", "m|n|q")
    assert conditions.technologies == [0, 0, 1, 2, 3]


@settings(deadline=None, max_examples=15)
@given(
    components=st.integers(0, 20), each=st.integers(1, 60), tokens=st.integers(1, 3), seed=st.integers(0, 9)
)
def test_a_cell_moves_the_same_alone_and_among_others(components, each, tokens, seed):
    rng = np.random.default_rng(seed)
    slices = [rng.standard_normal((each, 5)).astype(np.float32) for _ in range(tokens)]
    mixture = Mixture.fit(slices, list(range(tokens)), [0] * tokens, components=components, seed=seed)
    assert mixture.centers.shape[1] <= min(components, each * tokens // 30)
    whole = mixture.apply(slices[0], 0)
    assert np.isfinite(whole).all()
    assert mixture.apply(slices[0][:1], 0) == pytest.approx(whole[:1], abs=1e-5)
    if tokens == 1 or not mixture.centers.size:
        assert np.array_equal(whole, slices[0])


def test_identical_cells_have_no_offsets():
    slices = [np.ones((100, 5), np.float32)] * 2
    mixture = Mixture.fit(slices, [0, 1], [0, 0], components=3)
    assert mixture.apply(slices[0], 0) == pytest.approx(slices[0], abs=1e-6)


def test_a_model_keeps_its_components(tmp_path):
    from lloki.cae import CAEModel

    slices, _, _ = shifted()
    config = CAEConfig(steps=10, check_every=5, batch_size=100, components=6)
    model = train({"a": slices[0], "b": slices[1]}, {"a": "T|A", "b": "T|B"}, config=config)
    assert model.scaling.mixture.centers.shape == (1, 6, WIDTH)
    model.save(tmp_path)
    again = CAEModel.load(tmp_path)
    assert np.array_equal(again.encode(slices[1], "T|B"), model.encode(slices[1], "T|B"))


def test_few_cells_are_little_evidence_of_an_offset():
    rng = np.random.default_rng(0)
    x = (rng.standard_normal((200 + 20, 3)) + 5).astype(np.float32)
    shares = np.zeros((len(x), 2), np.float32)
    shares[:200, 0] = shares[200:, 1] = 1
    means, offsets = _offsets(x, shares, np.zeros((2, 3), np.float32))
    assert means == pytest.approx(np.stack([x[:200].mean(0), x[200:].mean(0)]), rel=1e-4)
    assert offsets == pytest.approx(means * np.array([[200 / 220], [20 / 40]]), rel=1e-4)


def test_training_and_a_fitted_token_tell_technologies_apart():
    slices, _, _ = shifted(((0.25,) * 4,) * 4, each=400)
    tokens = {"a": "X|p", "b": "X|q", "c": "Y|p"}
    config = CAEConfig(steps=10, check_every=5, batch_size=100, components=6)
    model = train(dict(zip("abc", slices)), tokens, config=config)
    assert model.tokens == ("X|p", "X|q", "Y|p")
    assert model.scaling.mixture.technology.tolist() == [0, 0, 1]
    assert not model.scaling.mixture.offsets[2].any()  # the only panel of its technology
    grown = fit_token(model, {"d": slices[3]}, token="Y|q", steps=5)
    assert grown.scaling.mixture.technology.tolist() == [0, 0, 1, 1]
    assert grown.scaling.mixture.offsets[3].any()
    alone = fit_token(model, {"d": slices[3]}, token="Z|p", steps=5)
    assert alone.scaling.mixture.technology.tolist() == [0, 0, 1, 2]
    assert not alone.scaling.mixture.offsets[3].any()
