"""Many sections in one frame."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pieces import QUICK, cut

from lloki.align import Link, Rigid, align_stack, synchronize
from lloki.align.rigid import displacement
from lloki.errors import ConfigError, InputError


def sections(n: int) -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [rng.normal(0, (400, 300), (50, 2)) + rng.normal(0, 2000, 2) for _ in range(n)]


def truths(n: int, seed: int, *, reflect: bool = True) -> list[Rigid]:
    """Own frame to common frame; the first is the common one."""
    rng = np.random.default_rng(seed)
    drawn = [
        Rigid.make(rng.uniform(-180, 180), rng.normal(0, 3000, 2), reflected=reflect and rng.random() < 0.5)
        for _ in range(n - 1)
    ]
    return [Rigid.make(0), *drawn]


def link(poses: list[Rigid], i: int, j: int, error: float = 5.0, **more: bool) -> Link:
    return Link(poses[i].inverse().after(poses[j]), error, **more)


def shaken(given: Link, xy: np.ndarray, rng: np.random.Generator) -> Link:
    """A link that is off by about its standard error."""
    off = Rigid.make(rng.normal(0, given.error / 10))
    middle = xy.mean(0)
    off = Rigid.about(off, middle, middle + rng.normal(0, given.error / np.sqrt(2), 2))
    return Link(given.transform.after(off), given.error)


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 6), st.integers(0, 99), st.integers(0, 5))
def test_exact_links_give_exact_poses(n, seed, reference):
    reference %= n
    cells, poses = sections(n), truths(n, seed)
    links = {(i, j): link(poses, i, j) for i in range(n) for j in range(i + 1, min(i + 3, n))}
    stack = synchronize(cells, links, reference=reference)
    for xy, found, pose in zip(cells, stack.transforms, poses):
        assert displacement(found, poses[reference].inverse().after(pose), xy) < 1e-3
    assert max(stack.disagreement.values()) < 1e-3
    assert set(stack.used) == set(links)


def test_links_that_skip_a_section_keep_errors_from_adding_up():
    n, chain_error, both_error = 8, [], []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        cells, poses = sections(n), truths(n, seed)
        pairs = [(i, j) for i in range(n) for j in (i + 1, i + 2) if j < n]
        links = {(i, j): shaken(link(poses, i, j), cells[j], rng) for i, j in pairs}
        chain = {pair: one for pair, one in links.items() if pair[1] == pair[0] + 1}
        for known, errors in ((chain, chain_error), (links, both_error)):
            stack = synchronize(cells, known)
            errors += [displacement(t, p, xy) for t, p, xy in zip(stack.transforms, poses, cells)]
    assert np.mean(both_error) < 0.8 * np.mean(chain_error)


def test_a_wrong_link_is_outvoted_and_shown():
    cells, poses = sections(5), truths(5, 3)
    links = {(i, j): link(poses, i, j) for i in range(5) for j in range(i + 1, 5)}
    wrong = links[1, 3].transform
    links[1, 3] = Link(Rigid.make(40, (300, 0)).after(wrong), 5.0)
    stack = synchronize(cells, links)
    for xy, found, pose in zip(cells, stack.transforms, poses):
        assert displacement(found, pose, xy) < 30
    assert max(stack.disagreement, key=stack.disagreement.get) == (1, 3)
    assert stack.disagreement[1, 3] > 300


def test_a_link_that_mirrors_wrongly_is_left_out():
    cells, poses = sections(3), truths(3, 0)
    links = {pair: link(poses, *pair) for pair in ((0, 1), (1, 2))}
    flipped = links[0, 1].transform.after(links[1, 2].transform).after(Rigid.make(0, reflected=True))
    stack = synchronize(cells, links | {(0, 2): Link(flipped, 50.0)})
    assert stack.used == ((0, 1), (1, 2))
    assert stack.disagreement[0, 2] > 100
    assert displacement(stack.transforms[2], poses[2], cells[2]) < 1e-3


def test_doubtful_links_serve_only_where_nothing_else_connects():
    cells, poses = sections(3), truths(3, 0)
    wrong = Link(Rigid.make(90), 1.0, doubtful=True)
    links = {(0, 1): link(poses, 0, 1), (1, 2): link(poses, 1, 2), (0, 2): wrong}
    assert synchronize(cells, links).used == ((0, 1), (1, 2))
    del links[1, 2]
    stack = synchronize(cells, links)
    assert stack.used == ((0, 1), (0, 2))
    assert displacement(stack.transforms[2], wrong.transform, cells[2]) < 1e-6


def test_sections_that_nothing_connects_have_no_pose():
    cells, poses = sections(4), truths(4, 0)
    stack = synchronize(cells, {(0, 1): link(poses, 0, 1), (2, 3): link(poses, 2, 3)}, reference=1)
    assert [t is None for t in stack.transforms] == [False, False, True, True]
    assert synchronize(cells, {}).transforms[1:] == (None, None, None)


def test_links_without_standard_error_count_little():
    cells, poses = sections(3), truths(3, 0, reflect=False)
    links = {pair: link(poses, *pair) for pair in ((0, 1), (1, 2))}
    off = Rigid.make(1, (20, 0)).after(link(poses, 0, 2).transform)
    stack = synchronize(cells, links | {(0, 2): Link(off, float("inf"))})
    assert displacement(stack.transforms[2], poses[2], cells[2]) < 2


def test_wrong_names_are_refused():
    cells, poses = sections(2), truths(2, 0)
    with pytest.raises(ConfigError, match="no section 2"):
        synchronize(cells, {}, reference=2)
    with pytest.raises(InputError, match="sections 0 and 5"):
        synchronize(cells, {(0, 5): link(poses, 0, 1)})


def test_a_stack_of_tissue():
    pieces = [cut(n, cells=1200) for n in range(3)]
    put = [Rigid.make(d, (500 * d, -d)) for d in (0, 77, -140)]
    moved = [p.at(t) for p, t in zip(pieces, put)]
    done = []
    result = align_stack(
        [p.x for p in moved], [p.xy for p in moved], reference=1, config=QUICK, advance=done.append
    )
    assert sum(done) == len(result.pairs) == 3
    assert all(r.verdict.word == "aligned" for r in result.pairs.values())
    for piece, xy in zip(pieces, result.moved):
        truth = put[1].apply(piece.xy)
        assert np.sqrt(((xy - truth) ** 2).sum(1).mean()) < 30
    with pytest.raises(ConfigError, match="two sections"):
        align_stack([moved[0].x], [moved[0].xy])
    with pytest.raises(ConfigError, match="reach"):
        align_stack([p.x for p in moved], [p.xy for p in moved], reach=0)


def test_a_section_of_other_tissue_is_lost_not_misplaced():
    pieces = [cut(n, cells=1200) for n in range(2)]
    rng = np.random.default_rng(0)
    xs = [pieces[0].x, pieces[1].x, rng.normal(size=pieces[1].x.shape)]
    result = align_stack(xs, [pieces[0].xy, pieces[1].xy, pieces[1].xy], config=QUICK)
    assert result.transforms[1] is not None
    assert result.transforms[2] is None
    assert np.isnan(result.moved[2]).all()


def test_sections_hang_on_ambiguous_pairs_only_where_that_is_asked_for():
    """Half of a symmetric tissue: two rotations agree, so that no pair can be sure."""
    rng = np.random.default_rng(0)
    waves = rng.normal(0, 0.02, (6, 2))
    xs, xys = [], []
    for _ in range(2):
        xy = rng.uniform(-400, 400, (1500, 2))
        xs.append(np.cos(xy @ waves.T) + rng.normal(0, 0.7, (1500, 6)))
        xys.append(xy)
    careful = align_stack(xs, xys, config=QUICK)
    assert careful.pairs[0, 1].verdict.word == "ambiguous"
    assert careful.transforms[1] is None
    bold = align_stack(xs, xys, config=QUICK, use_ambiguous=True)
    assert bold.used == ((0, 1),)
    assert np.isfinite(bold.moved[1]).all()
