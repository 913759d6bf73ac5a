"""Tokens meet their partners in other tokens; cells without any stay; a cell moves by a continuous rule."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lloki.cae.correction import Correction, _Alike, _steps

KINDS, WIDTH = 4, 12


def tokens(shares, *, each=500, shift=1.5, seed=0):
    """Centered cells of each token and their kinds; a kind of a token is moved its own way."""
    rng = np.random.default_rng(seed)
    centers = 6 * (np.eye(KINDS, WIDTH) - 1 / KINDS * (np.arange(WIDTH) < KINDS))
    cells, kinds = [], []
    for share in shares:
        kind = rng.choice(KINDS, each, p=share)
        own = shift * rng.standard_normal((KINDS, WIDTH)) / np.sqrt(WIDTH)
        noise = 0.4 * rng.standard_normal((each, WIDTH))
        cells.append((centers[kind] + own[kind] + noise).astype(np.float32))
        kinds.append(kind)
    return cells, kinds


def middles(cells, kinds):
    return np.stack([[x[own == k].mean(0) for k in range(KINDS)] for x, own in zip(cells, kinds)])


def test_kinds_of_all_tokens_meet():
    cells, kinds = tokens([(0.25,) * 4, (0.4, 0.3, 0.2, 0.1), (0.1, 0.2, 0.3, 0.4)])
    correction = Correction.fit(cells, [0, 1, 2], rounds=2)
    moved = [correction.apply(x, t) for t, x in enumerate(cells)]
    before, after = middles(cells, kinds), middles(moved, kinds)
    off = [np.linalg.norm(m - m.mean(0), axis=2).mean() for m in (before, after)]
    assert off[1] < 0.35 * off[0]
    # No token is the goal of the others: the middle of all three stays.
    assert np.linalg.norm(after.mean(0) - before.mean(0), axis=1).max() < 0.5
    spread = [x[own == 0].std(0).mean() for x, own in zip(moved, kinds)]
    assert spread == pytest.approx([0.4] * 3, rel=0.15)  # what differs within a kind stays


def test_a_kind_without_counterpart_goes_to_no_other(monkeypatch):
    """Two kinds, each in one token only, are each other's nearest there: too far to be one kind."""
    monkeypatch.setattr("lloki.cae.correction.UNLIKE", 0.0)  # by distance alone
    rng = np.random.default_rng(0)
    one, other = np.eye(2, WIDTH), np.eye(2, WIDTH)
    one[1, 2], other[1, 3] = 0.8, 0.8  # the second kind of either
    kind = np.repeat([0, 1], 300)
    cells = [(6 * c[kind] + 0.3 * rng.standard_normal((600, WIDTH))).astype(np.float32) for c in (one, other)]
    correction = Correction.fit(cells, [0, 1], rounds=2)
    for t, x in enumerate(cells):
        way = (correction.apply(x, t) - x)[kind == 1].mean(0)
        assert np.linalg.norm(way) < 0.3  # these kinds are 6.8 apart


def test_a_large_token_comes_as_far_as_a_small_one():
    """Only the cells of a large token that have a partner say how far it has to go."""
    rng = np.random.default_rng(0)
    middle = np.eye(2, 50)[[0, 0]] * 6
    middle[1, 5] = 2.0
    sizes = (60, 3000)
    cells = [(m + 0.5 * rng.standard_normal((n, 50))).astype(np.float32) for m, n in zip(middle, sizes)]
    correction = Correction.fit(cells, [0, 1], rounds=1)
    ways = [(correction.apply(x, t) - x)[:, 5].mean() for t, x in enumerate(cells)]
    assert ways[0] == pytest.approx(1.0, abs=0.35)
    assert ways[1] == pytest.approx(-1.0, abs=0.35)


def test_how_many_cells_have_partners_is_beside_what_like_tokens_have():
    """Near 1 for tokens of the same kinds, whatever their sizes; low where one holds a kind alone."""
    rng = np.random.default_rng(0)

    def cells(each, offset):
        x = np.concatenate(
            [np.eye(20)[k] * 4 + 0.4 * rng.standard_normal((n, 20)) for k, n in enumerate(each)]
        )
        return (x + offset * np.eye(20)[10]).astype(np.float32)

    def partnered(*tokens):
        given = [cells(each, i) for i, each in enumerate(tokens)]
        return Correction.fit(given, range(len(given)), rounds=2).partnered

    assert partnered((600, 600, 600), (600, 600, 600)) == pytest.approx([1, 1], abs=0.1)
    assert partnered((900, 900, 900), (70, 70, 70)) == pytest.approx([1, 1], abs=0.15)
    lacking = partnered((600, 600, 600), (600, 0, 0))
    assert lacking[0] < 0.5
    assert lacking[1] > 0.85
    assert partnered((600, 600, 600), (600, 0, 0), (0, 600, 600)) == pytest.approx([1, 1, 1], abs=0.15)
    assert np.isnan(partnered((600, 600), (20, 20))).all()  # too few to say
    assert np.isnan(partnered((600, 600))).all()


def ways(separation: float, *, added: bool = False) -> tuple[float, float]:
    """How far two kinds go toward a token that has the first alone, 1 away; or when added to that."""
    rng = np.random.default_rng(0)

    def cells(n, second, offset):
        x = 0.4 * rng.standard_normal((n, 20))
        x[:, 0] += 4
        x[:, 1] += separation * second
        x[:, 2] += offset
        return x.astype(np.float32)

    kind = np.repeat([False, True], [500, 2500])
    x = cells(3000, kind, 0.0)
    other = cells(500, False, 1.0)
    if added:
        correction = Correction.fit([other], [0], rounds=2).add([x], [other], rounds=2)
        assert np.isnan(correction.partnered[0])
        assert correction.partnered[1] < 0.5
    else:
        correction = Correction.fit([x, other], [0, 1], rounds=2)
    way = (correction.apply(x, int(added)) - x)[:, 2]
    return float(way[~kind].mean()), float(way[kind].mean())


def test_a_kind_that_the_other_token_lacks_does_not_follow_a_few_false_partners(monkeypatch):
    monkeypatch.setattr("lloki.cae.correction.UNLIKE", 0.0)
    first, second = ways(2)
    assert first > 0.4
    assert second < 0.4 * first


@pytest.mark.parametrize("added", [False, True])
def test_unlike_tokens_have_partners_in_company_only(added, monkeypatch):
    first, second = ways(2, added=added)
    monkeypatch.setattr("lloki.cae.correction.UNLIKE", 0.0)
    before = ways(2, added=added)
    assert first > 0.9 * before[0]
    assert second < 0.3 * before[1]


def test_tokens_of_like_cells_are_shifted_once(monkeypatch):
    """Partners in company only would leave out true ones; the second time is for unlike tokens."""
    asked = []

    def watched(*given, company=False):
        asked.append(company)
        return _steps(*given, company=company)

    monkeypatch.setattr("lloki.cae.correction._steps", watched)
    cells, _ = tokens([(0.25,) * 4] * 2)
    assert all(share > 0.8 for share in Correction.fit(cells, [0, 1], rounds=1).partnered)
    assert asked
    assert not any(asked)
    asked.clear()
    unlike, _ = tokens([(0.25,) * 4, (1.0, 0, 0, 0)])
    Correction.fit(unlike, [0, 1], rounds=1)
    assert asked.count(True) == 3  # a round at each scale


def test_every_other_token_has_the_same_say(monkeypatch):
    """A cell with partners in two tokens, many in one and few in the other, is drawn to the mean of three."""
    monkeypatch.setattr("lloki.cae.correction.REACH", 1e6)
    rng = np.random.default_rng(0)

    def near(middle, n):
        return (np.asarray(middle) + 1e-2 * rng.standard_normal((n, 3))).astype(np.float32)

    cells = [near((1, 0, 0), 25), near((1, 0.4, 0), 25), near((1, 0, 0.4), 3)]
    (step, paired), *_ = _steps(cells, [0])
    both = (step[:, 1] > 0.07) & (step[:, 2] > 0.07)
    assert paired.mean() > 0.8
    assert both.any()
    goal = (cells[0][both] + cells[1].mean(0) + cells[2].mean(0)) / 3
    np.testing.assert_allclose(cells[0][both] + step[both], goal, atol=2e-2)
    one = step[:, 1] > 0.16
    assert one.any()
    np.testing.assert_allclose(step[one][:, 1], 0.2, atol=2e-2)  # half way to the only one


@pytest.mark.parametrize("scale", range(3))
def test_steps_are_shared_by_cells_that_are_alike_and_count_only_where_there_are_partners(scale, monkeypatch):
    monkeypatch.setattr("lloki.cae.correction.SMOOTH", (45, 30, 12))
    k = (45, 30, 12)[scale]
    x = (
        np.repeat(np.eye(2, dtype=np.float32), 50, axis=0)
        + np.linspace(0, 0.01, 100, dtype=np.float32)[:, None]
    )
    like = _Alike.of(x)
    steps = np.repeat(np.float32([[1, 0], [0, 1]]), 50, axis=0)
    counts = np.arange(100) % 2 == 0
    steps[~counts] = 100.0  # of no account
    mean = like.mean(steps, counts, scale)
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    distance = np.maximum(1 - unit @ unit.T, 0)
    share = np.maximum(1 - (distance / np.maximum(np.sort(distance, axis=1)[:, k, None], 1e-6)) ** 2, 0) ** 2
    paired, alone = (share * counts).sum(1), (share * ~counts).sum(1)
    held = 1 + np.maximum(alone - paired, 0)  # half of all have none, and more than that hold back
    assert (held > 1.05).any()
    assert (held == 1).any()
    np.testing.assert_allclose(mean[:50, 0], (paired / (paired + held))[:50], rtol=1e-3)
    np.testing.assert_allclose(mean[:50, 1], 0, atol=1e-6)
    assert not like.mean(steps, np.zeros(100, bool), scale).any()  # no partner anywhere: no step


def test_each_scale_has_its_rounds_from_coarse_to_fine(monkeypatch):
    asked, real = [], _Alike.mean

    def watched(self, steps, counts, scale):
        asked.append(scale)
        return real(self, steps, counts, scale)

    monkeypatch.setattr(_Alike, "mean", watched)
    cells, _ = tokens([(0.25,) * 4] * 3)
    two = Correction.fit(cells[:2], [0, 1], rounds=2)
    assert asked == [scale for scale in range(3) for _ in range(4)]  # two rounds of two tokens
    asked.clear()
    two.add(cells[2:], [x.copy() for x in cells[:2]], rounds=2)
    assert asked == [0, 0, 1, 1, 2, 2]


def test_a_token_added_later_comes_to_the_others_and_leaves_them():
    cells, kinds = tokens([(0.25,) * 4] * 3)
    two = Correction.fit(cells[:2], [0, 1], rounds=2)
    known = [two.apply(x, t) for t, x in enumerate(cells[:2])]
    three = two.add(cells[2:], known, rounds=2)
    goal = middles(known, kinds[:2]).mean(0)
    before, after = (middles([x], kinds[2:])[0] for x in (cells[2], three.apply(cells[2], 2)))
    assert np.linalg.norm(after - goal, axis=1).mean() < 0.4 * np.linalg.norm(before - goal, axis=1).mean()
    for t, x in enumerate(cells[:2]):
        assert np.array_equal(three.apply(x, t), known[t])


def test_slices_of_one_token_move_as_one():
    """Two slices of a token are no partners of each other: nothing is to be mixed."""
    cells, _ = tokens([(0.25,) * 4] * 2)
    correction = Correction.fit(cells, [0, 0], rounds=2)
    assert np.array_equal(correction.apply(cells[0], 0), cells[0])


@settings(deadline=None, max_examples=20)
@given(
    each=st.lists(st.integers(1, 60), min_size=1, max_size=4),
    rounds=st.integers(0, 3),
    seed=st.integers(0, 9),
)
def test_a_cell_moves_the_same_alone_and_among_others(each, rounds, seed):
    rng = np.random.default_rng(seed)
    cells = [rng.standard_normal((n, 5)).astype(np.float32) for n in each]
    of = list(range(len(each)))
    correction = Correction.fit(cells, of, rounds=rounds, seed=seed)
    for t, x in enumerate(cells):
        whole = correction.apply(x, t)
        assert np.isfinite(whole).all()
        assert correction.apply(x[:1], t) == pytest.approx(whole[:1], abs=1e-5)
        if not rounds or len(each) == 1:
            assert np.array_equal(whole, x)


def test_a_cells_shift_is_a_continuous_function_of_it():
    """A hard rule of nearest landmarks would jump, and results would depend on how cells are blocked."""
    rng = np.random.default_rng(0)

    def at(angles):
        return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)

    places = at(rng.uniform(0, 2 * np.pi, 200))
    shifts = rng.standard_normal((200, 2)).astype(np.float32)
    x = at(np.linspace(0, 2 * np.pi, 20_000))
    jumps = np.abs(np.diff(Correction((places,), (shifts,), (1.0,)).apply(x, 0) - x, axis=0))
    assert jumps.max() < 0.02  # one landmark for another makes 0.05


def test_identical_cells_are_left_alone():
    cells = [np.ones((100, 5), np.float32)] * 2
    correction = Correction.fit(cells, [0, 1], rounds=2)
    assert correction.apply(cells[0], 0) == pytest.approx(cells[0], abs=1e-6)
    zero = [np.zeros((100, 5), np.float32)] * 2
    correction = Correction.fit(zero, [0, 1], rounds=2)
    assert np.array_equal(correction.apply(zero[0], 0), zero[0])


def test_two_threads_change_nothing():
    cells, _ = tokens([(0.25,) * 4] * 3)
    before = torch.get_num_threads()
    made = []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            made.append(Correction.fit(cells, [0, 1, 2], rounds=2).apply(cells[0], 0))
    finally:
        torch.set_num_threads(before)
    np.testing.assert_allclose(made[0], made[1], atol=1e-5)
