"""The steps of an alignment one by one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pieces import cut, split

from lloki.align import AlignConfig, Rigid, Rival, judge
from lloki.align.channels import Cells, spatial_channels
from lloki.align.extent import cell_spacing, frame
from lloki.align.fields import autocorrelation, make_fields
from lloki.align.landmarks import match, niches
from lloki.align.refine import Precision, Refinement, Support
from lloki.align.search import Pose, Search
from lloki.errors import ConfigError

BANDS = (1.0, 2.0, 4.0)


def cells(number: int = 0, n: int = 1500) -> Cells:
    piece = cut(number, cells=n)
    channels = spatial_channels((piece.x, piece.x), (piece.xy, piece.xy), channels=6, n_neighbors=20)[0]
    return Cells(np.arange(n), piece.xy, channels, cell_spacing(piece.xy))


def pair() -> tuple[Cells, Cells]:
    a, b = split(cut(cells=3000))
    channels = spatial_channels((a.x, b.x), (a.xy, b.xy), channels=6, n_neighbors=20)
    return tuple(Cells(np.arange(len(p.x)), p.xy, c, cell_spacing(p.xy)) for p, c in zip((a, b), channels))


@pytest.mark.parametrize("n", [200, 5000])
def test_spacing_is_that_of_the_area_per_cell(n):
    xy = np.random.default_rng(0).uniform(0, 1, (n, 2)) * (2000, 500)
    rough = 0.25 if n < 1000 else 0.1  # squares at the border count as a whole
    assert cell_spacing(xy) == pytest.approx(np.sqrt(2000 * 500 / n), rel=rough)
    hole = xy[np.linalg.norm(xy - (1000, 250), axis=1) > 150]
    assert cell_spacing(hole) == pytest.approx(np.sqrt(2000 * 500 / n), rel=rough)
    far = np.concatenate([xy, [[1e7, 1e7]]])
    assert cell_spacing(far) == pytest.approx(cell_spacing(xy), rel=0.05)
    assert cell_spacing(3 * xy) == pytest.approx(3 * cell_spacing(xy))


def test_channels_are_the_directions_with_structure():
    rng = np.random.default_rng(0)
    xy = rng.uniform(0, 10, (2000, 2))
    signal = np.sin(xy[:, 0])
    x = np.column_stack(
        [100 * rng.normal(size=2000), signal + 0.1 * rng.normal(size=2000), np.full(2000, 7.0)]
    )
    (first,), (second,) = (c.T for c in spatial_channels((x, x + 50), (xy, xy), channels=1, n_neighbors=10))
    assert abs(np.corrcoef(first, signal)[0, 1]) > 0.98
    np.testing.assert_allclose(first, second)  # an offset does not matter
    assert np.abs(first).max() <= 3
    assert first.std() == pytest.approx(1, abs=0.05)


def test_debris_is_outside_the_frame():
    xy = np.random.default_rng(0).uniform(-100, 100, (1000, 2))
    center, radius = frame(np.concatenate([xy, [[5e4, 5e4]] * 2]))
    assert np.linalg.norm(center) < 10
    assert 120 < radius < 170


def test_images_are_scaled_and_reliable_where_there_is_structure():
    made = cells()
    fields = make_fields(made, made.spacing, BANDS, seed=0)
    inside = fields.tissue > 0
    np.testing.assert_allclose((fields.values**2).sum((2, 3)) / inside.sum(), 1, atol=0.1)
    assert (fields.values[:, :, ~inside] == 0).all()
    assert np.abs(fields.values).max() <= 3
    area = inside.sum() * fields.pixel**2
    assert area == pytest.approx(900 * 700, rel=0.15)
    noise = Cells(made.rows, made.xy, np.random.default_rng(0).normal(size=made.channels.shape), made.spacing)
    unreliable = make_fields(noise, made.spacing, BANDS, seed=0).reliability
    assert fields.reliability[1:].mean() > 0.5
    assert unreliable.mean() < 0.2
    correlation, count = autocorrelation(fields)
    np.testing.assert_allclose(correlation[:, :, 0], 1, atol=1e-5)
    assert np.abs(correlation[:, :, 20:]).max() < 0.6
    assert count[0] == 1


def test_the_search_finds_a_shift_and_refinement_its_fraction():
    fixed, moving = pair()
    shift = np.array([123.0, -57.0])
    moving = Cells(moving.rows, moving.xy + shift, moving.channels, moving.spacing)
    pixel = moving.spacing
    images = [make_fields(c, pixel, BANDS, seed=0) for c in (fixed, moving)]
    best = Search(*images, min_overlap=0.5).at(0.0, False)[0]
    np.testing.assert_allclose(best.transform.translation, -shift, atol=1.5 * pixel)
    refinement = Refinement(*images)
    # the same evidence, on the grid and off it
    assert refinement.evidence(best.transform) == pytest.approx(best.evidence, rel=0.15)
    climbed = refinement.climb(best.transform)
    assert climbed.evidence >= refinement.evidence(best.transform)
    np.testing.assert_allclose(climbed.transform.translation, -shift, atol=0.7 * pixel)
    assert refinement.breadth(climbed.transform) > 3
    far = climbed.transform.after(Rigid.make(0, (1e5, 0)))
    assert refinement.evidence(far) == 0
    assert refinement.breadth(far) == 0
    assert refinement.precision(far).distance == np.inf


def test_identical_slices_match_cell_by_cell():
    made = cells(n=800)
    features = niches(made)
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1, rtol=1e-5)
    marks = match(made, made, (features, features), Rigid.make(0), radius=4 * made.spacing)
    np.testing.assert_array_equal(marks.fixed, marks.moving)
    assert marks.confidence.mean() > 0.5
    assert len(marks.best(100)) == 100
    assert marks.best(100).confidence.min() >= np.sort(marks.confidence)[-100]


def test_matches_lie_within_the_radius():
    fixed, moving = pair()
    features = (niches(fixed), niches(moving))
    marks = match(fixed, moving, features, Rigid.make(0, (10, 0)), radius=50.0)
    put = moving.xy[marks.moving] + (10, 0)
    assert np.linalg.norm(put - fixed.xy[marks.fixed], axis=1).max() <= 50
    none = match(fixed, moving, features, Rigid.make(0, (1e6, 0)), radius=50.0)
    assert len(none) == 0


SURE = Precision(0.5, 5.0)
HELD = Support(11.0, None)


def verdict(z: float = 12.0, rivals: tuple[Rival, ...] = (), *, breadth: float = 5.0, **change: object):
    known = {"reach": 500.0, "pixel": 20.0, "min_score": 6.0, "margin": 2.0, "allow_reflection": False}
    precision, support = change.pop("precision", SURE), change.pop("support", HELD)
    return judge(Pose(Rigid.make(10), z**2 / 2), rivals, precision, breadth, support, **(known | change))


def test_verdicts():
    weak = Rival(100, False, 7.0, 800.0)
    assert verdict(12.0, (weak,)).word == "aligned"
    assert verdict(12.0, (weak,)).margin == pytest.approx(5.0)
    assert verdict(5.9).word == "failed"
    assert verdict(0.0).word == "failed"
    strong = Rival(100, False, 10.5, 800.0)
    doubt = verdict(12.0, (weak, strong))
    assert doubt.word == "ambiguous"
    assert "100° (z = 10.5)" in doubt.reason
    assert doubt.rivals == (strong, weak)
    near = Rival(12, False, 11.0, 100.0)  # 100 of a reach of 500: a fifth of the margin
    assert verdict(12.0, (near,)).word == "aligned"
    assert verdict(12.0, (Rival(12, False, 11.8, 100.0),)).word == "ambiguous"
    mirrored = Rival(0, True, 15.0, 600.0)
    assert "mirrored" in verdict(12.0, (mirrored,)).reason
    assert verdict(12.0, (Rival(0, True, 11.0, 600.0),)).word == "aligned"
    assert verdict(12.0, (Rival(0, True, 11.0, 600.0),), allow_reflection=True).word == "ambiguous"
    assert verdict(breadth=1.5).word == "ambiguous"
    assert verdict(precision=Precision(8.0, 41.0)).word == "ambiguous"  # two pixels are 40
    assert verdict(precision=Precision(np.inf, np.inf)).word == "ambiguous"
    alone = verdict(support=Support(2.5, None))
    assert alone.word == "ambiguous"
    assert "decides alone: without it, z = 2.5" in alone.reason
    other = verdict(12.0, (Rival(0, True, 11.0, 600.0), weak), support=Support(7.0, 0))
    assert other.word == "ambiguous"
    assert "better at 100°" in other.reason


@given(st.floats(0, 40), st.lists(st.tuples(st.floats(0, 40), st.floats(100, 2000)), max_size=4))
def test_a_stronger_rival_never_makes_a_verdict_better(z, others):
    order = ("failed", "ambiguous", "aligned")
    rivals = tuple(Rival(90, False, r, d) for r, d in others)
    stronger = tuple(Rival(90, False, r + 1, d) for r, d in others)
    assert order.index(verdict(z, stronger).word) <= order.index(verdict(z, rivals).word)


@pytest.mark.parametrize(
    "wrong",
    [
        {"pixels": 3},
        {"rotation_step": 0.0},
        {"min_overlap": 0.0},
        {"scale": -1.0},
        {"bands": (2.0, 1.0)},
        {"bands": ()},
        {"candidates": 1},
        {"rotations": 3},
    ],
)
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        AlignConfig.from_dict(wrong)


def test_settings_survive_json():
    config = AlignConfig(bands=(1, 3), scale=0.5)
    assert AlignConfig.from_dict(config.to_dict()) == config
