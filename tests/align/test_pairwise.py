"""Two slices into one frame, on tissue whose truth is known."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
from pieces import QUICK, Piece, cut, onto

from lloki.align import Rigid, align, pairwise
from lloki.align.landmarks import Landmarks, match
from lloki.align.rigid import displacement
from lloki.errors import InputError, LlokiWarning

SPACING = 23.0  # of a half's cells


def off(result, put: Rigid, moving: Piece) -> float:
    """Root mean square error of the cells' places."""
    return displacement(result.transform, put.inverse(), moving.xy)


@pytest.mark.parametrize("degrees", [0.0, 90.0, 137.0, -61.0])
def test_halves_find_each_other_at_any_rotation(halves, degrees):
    fixed, moving = halves
    put = Rigid.make(degrees, (4000, -300))
    moving = moving.at(put)
    result = onto(fixed, moving)
    assert result.verdict.word == "aligned", result.verdict
    assert off(result, put, moving) < SPACING
    assert abs(result.transform.after(put).degrees) < 2
    np.testing.assert_allclose(result.moved, result.transform.apply(moving.xy))
    np.testing.assert_allclose(result.inverse @ result.matrix, np.eye(3), atol=1e-9)
    assert result.overlap[0] > 0.99
    assert result.verdict.margin > QUICK.margin
    assert result.precision.distance < SPACING


def test_standard_errors_are_about_right(halves):
    fixed, moving = halves
    errors = []
    for n, degrees in enumerate((15.0, 105.0, -75.0)):
        put = Rigid.make(degrees)
        some = np.random.default_rng(n).random(len(moving.x)) < 0.7
        piece = moving.where(some).at(put)
        result = onto(fixed, piece)
        errors.append(off(result, put, piece) / result.precision.distance)
    assert 0.1 < np.sqrt(np.mean(np.square(errors))) < 3


def test_another_section_of_the_same_tissue():
    fixed, moving = cut(0), cut(1)
    put = Rigid.make(-150, (100, 100))
    moving = moving.at(put)
    result = onto(fixed, moving)
    assert result.verdict.word == "aligned", result.verdict
    assert off(result, put, moving) < 3 * SPACING
    marks = result.landmarks
    assert len(marks) > 50
    assert len(set(marks.fixed)) == len(set(marks.moving)) == len(marks)
    assert ((marks.confidence >= 0) & (marks.confidence <= 1)).all()
    np.testing.assert_allclose(result.residuals, fixed.xy[marks.fixed] - result.moved[marks.moving])


def test_reflections(halves):
    fixed, moving = halves
    put = Rigid.make(70, reflected=True)
    moving = moving.at(put)
    allowed = onto(fixed, moving, allow_reflection=True)
    assert allowed.verdict.word == "aligned", allowed.verdict
    assert allowed.transform.reflected
    assert off(allowed, put, moving) < SPACING
    refused = onto(fixed, moving)
    assert not refused.transform.reflected
    assert refused.verdict.word != "aligned"
    assert "allow_reflection" in refused.verdict.reason


def test_a_part_is_found_and_the_rest_is_marked(halves):
    """The moving piece is a part that sticks out: cells without a counterpart do not pull."""
    fixed, moving = halves
    low, high = np.quantile(fixed.xy[:, 0], [0.0, 0.75])
    fixed = fixed.where((fixed.xy[:, 0] >= low) & (fixed.xy[:, 0] <= high))
    moving = moving.where(moving.xy[:, 0] > np.quantile(moving.xy[:, 0], 0.35))
    truly_inside = moving.xy[:, 0] < high
    put = Rigid.make(33, (-50, 800))
    result = onto(fixed, moving.at(put))
    assert result.verdict.word == "aligned", result.verdict
    assert off(result, put, moving.at(put)) < SPACING
    far = np.abs(moving.xy[:, 0] - high) > 100
    np.testing.assert_array_equal(result.in_overlap[far], truly_inside[far])
    assert result.overlap[0] == result.in_overlap.mean()


def test_other_units(halves):
    fixed, moving = halves
    put = Rigid.make(-20, (3, 4), scale=1 / 0.325)
    pixels = moving.at(put)
    scaled = onto(fixed, pixels, scale=0.325)
    assert scaled.transform.scale == pytest.approx(0.325, abs=1e-12)
    assert off(scaled, put, pixels) < SPACING
    found = onto(fixed, pixels, allow_scale=True)
    assert found.transform.scale == pytest.approx(0.325, rel=0.02)
    assert off(found, put, pixels) < SPACING
    with pytest.warns(LlokiWarning, match="units differ"):
        onto(fixed, pixels.at(Rigid.make(0, scale=2)))


@pytest.mark.parametrize("factor", [1e-3, 1e-6, 1e4])
def test_units_far_apart_have_failed_with_the_reason(halves, factor):
    fixed, moving = halves
    with pytest.warns(LlokiWarning, match="units differ"):
        result = onto(fixed, moving.at(Rigid.make(0, scale=factor)))
    assert result.verdict.word == "failed"
    assert "their units differ" in result.verdict.reason


def test_unequal_density(halves):
    fixed, moving = halves
    thin = np.random.default_rng(0).random(len(moving.x)) < 0.3
    put = Rigid.make(10)
    sparse = moving.where(thin).at(put)
    result = onto(fixed, sparse)
    assert result.verdict.word == "aligned", result.verdict
    assert off(result, put, sparse) < 2 * SPACING


def test_unlike_tissue_is_not_aligned(halves):
    """The same cells in other places: composition alone must not be taken for agreement."""
    fixed, moving = halves
    words = []
    for seed in range(3):
        shuffled = np.random.default_rng(seed).permutation(len(moving.x))
        words.append(onto(fixed, Piece(moving.x[shuffled], moving.xy)).verdict.word)
    assert words == ["failed"] * 3


def test_symmetric_tissue_is_ambiguous():
    """Rings look the same at every rotation."""
    rng = np.random.default_rng(0)
    pieces = []
    for _ in range(2):
        xy = rng.uniform(-500, 500, (4000, 2))
        radius = np.linalg.norm(xy, axis=1)
        xy, radius = xy[radius < 500], radius[radius < 500]
        x = np.column_stack([np.sin(radius / 50), np.cos(radius / 50), np.sin(radius / 90)])
        pieces.append(Piece(x + rng.normal(0, 0.5, x.shape), xy))
    verdict = onto(*pieces).verdict
    assert verdict.word == "ambiguous"
    assert verdict.z > QUICK.min_score


def test_two_fold_symmetry_names_the_other_rotation():
    rng = np.random.default_rng(0)
    waves = rng.normal(0, 0.02, (6, 2))
    pieces = []
    for _ in range(2):
        xy = rng.uniform(-500, 500, (2500, 2))
        x = np.cos(xy @ waves.T)  # even: the same at x and -x
        pieces.append(Piece(x + rng.normal(0, 0.7, x.shape), xy))
    verdict = onto(*pieces).verdict
    assert verdict.word == "ambiguous"
    turned = [r for r in verdict.rivals if not r.reflected]
    assert abs(abs(turned[0].degrees) - 180) < 5 or abs(turned[0].degrees) < 5
    assert verdict.z - turned[0].z < QUICK.margin
    assert "°" in verdict.reason


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda p: p.where(np.arange(len(p.x)) < 1), "1 embedded cells"),
        (lambda p: p.where(np.arange(len(p.x)) < 0), "0 embedded cells"),
        (lambda p: Piece(p.x, np.column_stack([p.xy[:, 0], p.xy[:, 0] * 2])), "on a line"),
        (lambda p: Piece(p.x, np.zeros_like(p.xy)), "on a line"),
        (lambda p: Piece(np.zeros_like(p.x), p.xy), "0 embedded cells"),
    ],
)
def test_what_cannot_be_compared_has_failed(halves, change, reason):
    fixed, moving = halves
    for pair in ((fixed, change(moving)), (change(fixed), moving)):
        result = onto(*pair)
        assert result.verdict.word == "failed"
        assert reason in result.verdict.reason
        np.testing.assert_array_equal(result.moved, pair[1].xy)
        assert not result.in_overlap.any()
        json.dumps(result.to_dict(), allow_nan=False)


def test_fewer_than_three_landmarks_have_failed(halves, monkeypatch):
    """However well the images agree: two pairs fix a transform, and leave nothing to contradict it."""
    fixed, moving = halves

    def two(*given: object, **settings: object) -> Landmarks:
        marks = match(*given, **settings)
        return Landmarks(marks.fixed[:2], marks.moving[:2], np.ones(2))

    monkeypatch.setattr(pairwise, "match", two)
    verdict = onto(fixed, moving).verdict
    assert verdict.word == "failed"
    assert verdict.z > QUICK.min_score
    assert "Fewer than three cells match" in verdict.reason


def test_a_constant_embedding_has_failed(halves):
    fixed, moving = (Piece(np.full((len(p.x), 4), 1 / 3), p.xy) for p in halves)
    assert "no structure" in onto(fixed, moving).verdict.reason


def test_cells_without_embedding_are_moved_but_have_no_say(halves):
    fixed, moving = halves
    put = Rigid.make(45)
    plain = onto(fixed, moving.at(put))
    x = np.concatenate([moving.x, np.zeros((40, 12)), np.full((5, 12), np.nan)])
    xy = np.concatenate([moving.xy, moving.xy[:45] + 1])
    result = onto(fixed, Piece(x, xy).at(put))
    np.testing.assert_array_equal(result.matrix, plain.matrix)
    assert len(result.moved) == len(xy)
    assert result.landmarks.moving.max() < len(moving.xy)


def test_debris_far_away_does_not_matter(halves):
    fixed, moving = halves
    put = Rigid.make(100)
    x, xy = (
        np.concatenate([moving.x, moving.x[:3]]),
        np.concatenate([moving.xy, [[9e4, 0], [0, 9e4], [9e4, 9e4]]]),
    )
    result = onto(fixed, Piece(x, xy).at(put))
    assert result.verdict.word == "aligned"
    assert off(result, put, moving.at(put)) < SPACING
    assert not result.in_overlap[-3:].any()


def test_threads_and_chance_change_nothing(halves):
    fixed, moving = halves
    results = [
        align(fixed.x, fixed.xy, moving.x, moving.xy, config=QUICK, threads=threads) for threads in (1, 2, 2)
    ]
    for other in results[1:]:
        np.testing.assert_array_equal(other.matrix, results[0].matrix)
        assert other.to_dict() == results[0].to_dict()


def test_the_frame_of_the_moving_slice_does_not_matter(halves):
    """Any start gives the same answer, to a fraction of a cell: the whole circle is searched."""
    fixed, moving = halves
    base = onto(fixed, moving).moved
    for degrees, shift in ((50, 1e5), (-170, -3e4)):
        again = onto(fixed, moving.at(Rigid.make(degrees, (shift, -shift)))).moved
        assert np.sqrt(((again - base) ** 2).sum(1).mean()) < SPACING / 3


def test_bad_input_is_refused(halves):
    fixed, moving = halves
    broken = moving.xy.copy()
    broken[3, 1] = np.nan
    with pytest.raises(InputError, match=r"1 of \d+ cells have a position that is NaN"):
        onto(fixed, Piece(moving.x, broken))
    with pytest.raises(InputError, match="12 and 5 columns"):
        onto(fixed, Piece(moving.x[:, :5], moving.xy))
    with pytest.raises(InputError, match=r"for \d+ cells"):
        onto(fixed, Piece(moving.x[:-1], moving.xy))
    with pytest.raises(InputError, match=r"positions have shape"):
        onto(fixed, Piece(moving.x, moving.xy[:, :1]))


def test_a_third_coordinate_is_left_out_with_a_warning(halves):
    fixed, moving = halves
    deep = Piece(moving.x, np.column_stack([moving.xy, np.arange(len(moving.x))]))
    with pytest.warns(LlokiWarning, match="third coordinate of the moving slice"):
        result = onto(fixed, deep)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        flat = onto(fixed, moving)
    np.testing.assert_array_equal(result.matrix, flat.matrix)
    with pytest.warns(LlokiWarning, match="third coordinate of the fixed slice"):
        onto(Piece(fixed.x, np.column_stack([fixed.xy, np.zeros(len(fixed.x))])), moving)


def test_progress_counts_the_rotations(halves):
    fixed, moving = halves
    done = []
    align(fixed.x, fixed.xy, moving.x, moving.xy, config=QUICK, advance=done.append)
    assert sum(done) == 2 * 60
