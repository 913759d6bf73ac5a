"""Steps of an alignment against loops, and what of a slice comes back where."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from pieces import QUICK, Piece, cut, onto, split
from scipy.ndimage import map_coordinates
from scipy.spatial import cKDTree

from lloki.align import Rigid, Rival, Warp, _kernels, align, align_stack, judge, kabsch
from lloki.align._evidence import Weighing, evidence, weigh, z_score
from lloki.align.channels import Cells, spatial_channels
from lloki.align.extent import cell_spacing
from lloki.align.fields import Fields, autocorrelation, make_fields
from lloki.align.landmarks import match, niches
from lloki.align.refine import Precision, Refinement, Support
from lloki.align.rigid import displacement
from lloki.align.search import Pose, Search

BANDS = (1.0, 2.0, 4.0)


def cells(number: int = 0, n: int = 700, k: int = 4) -> Cells:
    piece = cut(number, cells=n)
    channels = spatial_channels((piece.x, piece.x), (piece.xy, piece.xy), channels=k, n_neighbors=20)[0]
    return Cells(np.arange(n), piece.xy, channels, cell_spacing(piece.xy))


def halves(n: int = 2600, k: int = 5) -> tuple[Cells, Cells]:
    a, b = split(cut(cells=n))
    channels = spatial_channels((a.x, b.x), (a.xy, b.xy), channels=k, n_neighbors=20)
    first, second = (
        Cells(np.arange(len(p.x)), p.xy, c, cell_spacing(p.xy)) for p, c in zip((a, b), channels)
    )
    return first, second


def fields_of_halves() -> list[Fields]:
    fixed, moving = halves()
    return [make_fields(c, 0.8 * fixed.spacing, BANDS, seed=0) for c in (fixed, moving)]


def small(seed: int, side: int = 15, bands: int = 2, channels: int = 3) -> Fields:
    """Images of noise in a round tissue."""
    rng = np.random.default_rng(seed)
    at = np.arange(side) - side // 2
    tissue = (np.hypot(*np.meshgrid(at, at)) < side / 3).astype(np.float32)
    tissue[side // 2 :, : side // 3] = 0
    values = rng.normal(size=(bands, channels, side, side)).astype(np.float32) * tissue
    return Fields(values, tissue, rng.uniform(0.2, 0.9, (bands, channels)), np.array([30.0, -8.0]), 2.0)


def without(fields: Fields, channel: int) -> Fields:
    """The same images, of which one channel's say nothing."""
    others = np.arange(fields.values.shape[1]) != channel
    return replace(fields, reliability=fields.reliability * others)


def test_evidence_is_the_likelihood_ratio_of_the_pooled_correlation():
    weighing = Weighing(
        np.array([[0.5, 1.0], [0.2, 0.1]], np.float32), np.array([0.3, 0.05]), np.ones((2, 2))
    )
    for pixels in (40.0, 90.0):
        for products in (np.array([20.0, 3.0]), np.array([-20.0, 3.0])):
            fixed, moving = np.array([50.0, 11.0]), np.array([70.0, 6.0])
            want = []
            for b in range(2):
                rho = products[b] / np.sqrt(fixed[b] * moving[b])
                ratio = -0.5 * weighing.independent[b] * pixels * np.log(1 - rho**2)
                want.append(np.sign(rho) * ratio)
            found = evidence(products, fixed, moving, np.array(pixels), weighing)
            np.testing.assert_allclose(found, want, rtol=1e-6)
    # where nothing varies, a fifth of the usual power stands in: a correlation of noise counts for little
    weak = evidence(np.array([1e-3, 0]), np.array([1e-3, 1]), np.array([1e-3, 1]), np.array(40.0), weighing)
    assert weak[0] < 1e-3
    assert z_score(8.0) == 4.0
    assert z_score(-3.0) == 0.0


def test_independent_observations_are_counted_by_both_autocorrelations():
    fields = [small(1), small(2)]
    correlation = []
    for f in fields:
        side, reach = f.side, f.side // 2
        sums, count = np.zeros((*f.values.shape[:2], reach)), np.zeros(reach)
        total = f.tissue.sum()
        for dx in range(-reach, reach + 1):
            for dy in range(-reach, reach + 1):
                r = int(np.rint(np.hypot(dx, dy)))
                if r >= reach:
                    continue
                count[r] += 1
                here = np.s_[max(dx, 0) : side + min(dx, 0), max(dy, 0) : side + min(dy, 0)]
                there = np.s_[max(-dx, 0) : side + min(-dx, 0), max(-dy, 0) : side + min(-dy, 0)]
                common = (f.tissue[here] * f.tissue[there]).sum()
                if common >= total / 3:
                    product = f.values[(..., *here)] * f.values[(..., *there)]
                    power = (f.values**2).sum((2, 3)) / total
                    sums[:, :, r] += product.sum((2, 3)) / common / power
        found, pixels = autocorrelation(f)
        np.testing.assert_allclose(found, sums / count, atol=1e-4)
        np.testing.assert_array_equal(pixels, count)
        correlation.append(found)
    area = np.maximum((correlation[0] * correlation[1] * pixels).sum(2), 1)
    weight = fields[0].reliability * fields[1].reliability
    weighing = weigh(*fields)
    np.testing.assert_allclose(weighing.weight, weight, rtol=1e-6)
    np.testing.assert_allclose(
        weighing.independent, weight.sum(1) ** 2 / (weight**2 * area).sum(1), rtol=1e-5
    )


@pytest.mark.parametrize("reflected", [False, True])
def test_the_evidence_of_a_pose_sums_over_the_moving_pixels_that_lie_on_tissue(reflected):
    fixed, moving = small(3), small(4)
    refinement = Refinement(fixed, moving)
    pose = Rigid.make(25, (3.3, -1.2), reflected=reflected)
    pose = Rigid.about(pose, moving.center, fixed.center + np.array([1.3, -0.8]))
    weight = fixed.reliability * moving.reliability
    sums, pixels = np.zeros((3, 2)), 0.0
    for i, j in np.argwhere(moving.tissue > 0):
        place = (np.array([i, j]) - moving.side // 2) * moving.pixel + moving.center
        at = (pose.apply(place[None])[0] - fixed.center) / fixed.pixel + fixed.side // 2
        under = map_coordinates(fixed.tissue, at[:, None], order=1, cval=0.0)[0]
        if under <= 0:
            continue
        pixels += under
        for b in range(2):
            for c in range(3):
                value = map_coordinates(fixed.values[b, c], at[:, None], order=1, cval=0.0)[0]
                own = moving.values[b, c, i, j]
                sums[:, b] += weight[b, c] * np.array([value * own, value**2, under * own**2])
    want = evidence(*sums, np.array(pixels), weigh(fixed, moving)).sum()
    assert refinement.evidence(pose) == pytest.approx(want, rel=1e-4)


def test_reliability_is_the_correlation_of_two_such_images():
    """Two halves of the cells are two samples of the same tissue."""
    first, second = halves(5000)
    made = [make_fields(c, first.spacing, BANDS, seed=0) for c in (first, second)]
    shift = np.rint(np.abs(made[0].center - made[1].center).max() / first.spacing)
    assert shift <= 1
    n = min(m.side for m in made)
    a, b = (m.values[:, :, m.side // 2 - n // 2 :, m.side // 2 - n // 2 :][:, :, :n, :n] for m in made)
    correlation = (a * b).sum((2, 3)) / np.sqrt((a**2).sum((2, 3)) * (b**2).sum((2, 3)))
    reliability = (made[0].reliability + made[1].reliability) / 2
    assert np.abs(reliability - correlation).mean() < 0.12
    assert abs((reliability - correlation)[0].mean()) < 0.1


def test_directions_are_those_with_the_highest_morans_i():
    rng = np.random.default_rng(0)
    n, places, embeddings = 500, [], []
    for _ in range(2):
        xy = rng.uniform(0, 100, (n, 2))
        wave = np.column_stack([np.sin(xy[:, 0] / 15), np.cos(xy[:, 1] / 30), np.sign(xy[:, 0] - 50)])
        noise = rng.normal(0, 1, (n, 4))
        noise[:, 3] *= 30  # the largest direction has no place in space
        mixed = np.column_stack([wave + 0.4 * rng.normal(size=wave.shape), noise])
        embeddings.append(mixed @ np.linalg.qr(np.random.default_rng(1).normal(size=(7, 7)))[0] + 5)
        places.append(xy)
    found = spatial_channels(tuple(embeddings), tuple(places), channels=3, n_neighbors=10)
    wide = spatial_channels(tuple(embeddings), tuple(places), channels=7, n_neighbors=10)
    np.testing.assert_allclose(found[0], wide[0][:, :3])
    morans = []
    for c in range(wide[0].shape[1]):
        of = []
        for y, xy in zip(wide, places):
            to = np.linalg.norm(xy[:, None] - xy, axis=2)
            np.fill_diagonal(to, np.inf)
            near = np.argsort(to, axis=1)[:, :10]
            of.append(np.mean(y[:, c] * y[near, c].mean(1)))
        morans.append(np.mean(of))
    assert min(morans[:3]) > 0.2
    assert (np.diff(morans) < 0.02).all()
    both = sum(y.T @ y / n for y in found) / 2
    np.testing.assert_allclose(both, np.eye(3), atol=0.1)
    for y in found:
        assert np.abs(y.mean(0)).max() < 0.05
        assert np.abs(y).max() <= 3


def test_niches_are_the_cell_and_the_means_around_it():
    made = cells(n=200)
    parts = [made.channels]
    for k in (8, 30):
        near = np.argsort(np.linalg.norm(made.xy[:, None] - made.xy, axis=2), axis=1)[:, : k + 1]
        parts.append(made.channels[near].mean(1))
    parts = [p / np.sqrt((p**2).sum(1).mean()) for p in parts]
    wide = np.hstack([0.7 * parts[0], *parts[1:]])
    want = wide / np.linalg.norm(wide, axis=1, keepdims=True)
    np.testing.assert_allclose(niches(made), want, atol=1e-5)


def test_landmarks_are_mutual_within_the_radius_and_weighed_by_what_stands_out():
    fixed, moving = halves(700)
    features = niches(fixed), niches(moving)
    pose, radius = Rigid.make(2, (8, -5)), 90.0
    put = pose.apply(moving.xy)

    def best(targets, target_features, query, feature):
        to = np.linalg.norm(targets - query, axis=1)
        near = [j for j in np.argsort(to)[:32] if to[j] < radius]
        if not near:
            return -1, 0.0
        similar = target_features[near].astype(float) @ feature.astype(float)
        top = int(np.argmax(similar))
        stands_out = np.clip((similar[top] - similar.mean()) / max(similar.std(), 1e-6) / 3, 0, 1)
        return near[top], stands_out * np.clip(similar[top], 0, 1) if len(near) > 2 else 0.0

    forward = [best(fixed.xy, features[0], p, f) for p, f in zip(put, features[1])]
    backward = [best(put, features[1], p, f) for p, f in zip(fixed.xy, features[0])]
    pairs = [(i, j) for j, (i, _) in enumerate(forward) if i >= 0 and backward[i][0] == j]
    marks = match(fixed, moving, features, pose, radius=radius)
    assert list(zip(marks.fixed, marks.moving)) == pairs
    assert len(pairs) > 30
    off = np.array([fixed.xy[i] - put[j] for i, j in pairs])
    at = put[[j for _, j in pairs]]
    for n, (i, j) in enumerate(pairs):
        near = np.argsort(np.linalg.norm(at - at[n], axis=1))[1:9]
        agree = np.mean(np.linalg.norm(off[near] - off[n], axis=1) < radius / 2)
        clear = np.sqrt(forward[j][1] * backward[i][1])
        assert marks.confidence[n] == pytest.approx(clear * agree, abs=1e-5)


def test_standard_errors_are_the_largest_of_curvature_squares_and_channels():
    fixed, moving = halves()
    pixel = 0.8 * fixed.spacing
    fields = [make_fields(c, pixel, BANDS, seed=0) for c in (fixed, moving)]
    refinement = Refinement(*fields)
    pose = refinement.climb(Rigid.make(0)).transform
    _, places = fields[1].tissue_pixels()
    middle = places.mean(0)
    reach = np.sqrt(((places - middle) ** 2).sum(1).mean())
    assert refinement.reach == pytest.approx(reach)

    def moved(v: np.ndarray) -> Rigid:
        turn = Rigid.make(np.rad2deg(v[0] * pixel / reach) + pose.degrees)
        return Rigid.about(turn, middle, pose.apply(middle[None])[0] + np.array(v[1:]) * pixel)

    unit = np.eye(3)

    def differences(value) -> tuple[np.ndarray, np.ndarray]:
        curvature = np.zeros((3, 3))
        for i in range(3):
            for j in range(3):
                a, b = unit[i], unit[j]
                curvature[i, j] = value(a + b) - value(a - b) - value(b - a) + value(-a - b)
        return np.array([value(2 * u) - value(-2 * u) for u in unit]) / 4, curvature / 4

    covariance = np.linalg.inv(-differences(lambda v: refinement.evidence(moved(v)))[1])
    steps = []
    for k in range(fields[0].values.shape[1]):
        rest = Refinement(*(without(f, k) for f in fields))
        slope, curvature = differences(lambda v, rest=rest: rest.evidence(moved(v)))
        steps.append(np.linalg.solve(-curvature, slope))
    jackknife = (len(steps) - 1) / len(steps) * np.transpose(steps) @ steps
    # each square's slope: of its own products, at what a product is worth in the whole's evidence
    weight = refinement.weighing.weight

    def products(v: np.ndarray) -> np.ndarray:
        at = fields[0].to_pixels(moved(v).apply(refinement._place))
        return _kernels.products(refinement._fixed, at, refinement._moving, weight)[0]

    at = fields[0].to_pixels(pose.apply(refinement._place))
    sums = _kernels.common_sums(refinement._fixed, at, refinement._moving, weight)
    assert refinement._stand_for == 1
    rho = sums[0] / np.sqrt(sums[1] * sums[2])
    independent = refinement.weighing.independent * sums[3]
    worth = np.abs(rho) / (1 - rho**2) * independent / np.sqrt(sums[1] * sums[2])
    side = np.sqrt(sums[3, 0] / 25) * pixel
    _, square = np.unique(np.floor((places - middle) / side), axis=0, return_inverse=True)
    slopes = np.array([np.bincount(square.ravel(), (products(u) - products(-u)) @ worth / 2) for u in unit])
    squares = covariance @ slopes @ slopes.T @ covariance

    found, each = refinement.precision(pose), [covariance, squares, jackknife]
    assert found.distance == pytest.approx(max(np.sqrt(np.trace(c)) for c in each) * pixel, rel=1e-2)
    turn = np.rad2deg(max(np.sqrt(c[0, 0]) for c in each) * pixel / reach)
    assert found.degrees == pytest.approx(turn, rel=1e-2)
    assert len({round(float(np.trace(c)), 6) for c in each}) == 3
    climbed = [refinement.climb(Rigid.make(d, (d * 3, 9))) for d in (0.0, 2.0)]
    for start, summit in zip((0.0, 2.0), climbed):
        assert summit.evidence >= refinement.evidence(Rigid.make(start, (start * 3, 9)))
        assert summit.evidence == pytest.approx(refinement.evidence(summit.transform))
    assert displacement(climbed[0].transform, climbed[1].transform, moving.xy) < pixel


def moved_in_part(part: np.ndarray, channels: tuple[int, ...], by: float = 1.0) -> tuple[float, float]:
    """Standard errors of a slice and of one whose cells see their channels some spacings to the side."""
    fixed, moving = halves()
    found = []
    for shift in (0.0, by * fixed.spacing):
        near = [cKDTree(fixed.xy).query(moving.xy + np.array([s, 0.0]))[1] for s in (shift, -shift)]
        x = moving.channels.copy()
        for k in range(x.shape[1]):
            side = near[0] if k in channels else near[1]
            other = near[1] if k in channels else near[0]
            x[:, k] = np.where(part(moving.xy), fixed.channels[side, k], fixed.channels[other, k])
        fields = [
            make_fields(c, 0.8 * fixed.spacing, BANDS, seed=0) for c in (fixed, replace(moving, channels=x))
        ]
        refinement = Refinement(*fields)
        found.append(refinement.precision(refinement.climb(Rigid.make(0)).transform).distance)
    return found[0], found[1]


def test_a_broad_summit_made_of_two_is_as_uncertain_as_they_are_apart():
    """Left and right half of the tissue ask for poses two spacings apart, in all channels."""
    still, torn = moved_in_part(lambda xy: xy[:, 0] < 450, tuple(range(5)))
    assert torn > 1.5 * still


def test_squares_that_pull_apart_widen_the_standard_error(monkeypatch):
    """Their slopes sum to about that of the evidence, and with larger ones the pose is less certain."""
    refinement = Refinement(*fields_of_halves())
    for pose in (Rigid.make(2, (10.0, 10.0)), Rigid.make(-3, (-20.0, 5.0))):
        slopes = refinement._slopes(pose)
        assert len(slopes) > 9
        ends = [[refinement.evidence(refinement._moved(pose, w)) for w in (v, -v)] for v in np.eye(3)]
        slope = np.array([(high - low) / 2 for high, low in ends])
        assert np.linalg.norm(slopes.sum(0) - slope) < 0.35 * np.linalg.norm(slope)
    pose = refinement.climb(Rigid.make(0)).transform
    slopes = refinement._slopes(pose)
    known = refinement.precision(pose).distance
    monkeypatch.setattr(Refinement, "_slopes", lambda self, transform: 10 * slopes)
    assert refinement.precision(pose).distance > 3 * known


def test_channels_that_pull_apart_make_the_pose_uncertain():
    """Two channels ask for another pose than the rest, all over the tissue."""
    still, torn = moved_in_part(lambda xy: xy[:, 0] > -1, (0, 1))
    assert torn > 1.5 * still


@pytest.mark.parametrize("odd", [0, 2])
def test_a_pose_that_one_channel_decides_has_no_support(odd):
    """One channel of the moving slice is turned round: it alone speaks for the pose that is turned too."""
    fixed, moving = halves()
    turned = Rigid.make(180)
    xy = turned.apply(moving.xy - moving.xy.mean(0)) + moving.xy.mean(0)
    near = cKDTree(fixed.xy).query(xy)[1]
    channels = moving.channels.copy()
    channels[:, odd] = 3 * fixed.channels[near, odd]  # as if it belonged there
    moving = replace(moving, channels=channels)
    fields = [make_fields(c, 0.8 * fixed.spacing, BANDS, seed=0) for c in (fixed, moving)]
    refinement = Refinement(*fields)
    right = Rigid.make(0)
    wrong = Rigid.about(turned, moving.xy.mean(0), moving.xy.mean(0))
    found = refinement.support(wrong, [right])
    assert found.rival == 0
    rest = Refinement(*(without(f, odd) for f in fields))
    assert found.z <= z_score(rest.evidence(wrong)) + 1e-6
    assert rest.evidence(right) > rest.evidence(wrong)
    assert refinement.support(right, [wrong]).z > 3


def test_the_lowest_of_all_channels_left_out_counts():
    fields = fields_of_halves()
    refinement, pose = Refinement(*fields), Rigid.make(0.0)
    values = []
    for k in range(fields[0].values.shape[1]):
        values.append(Refinement(*(without(f, k) for f in fields)).evidence(pose))
    found = refinement.support(pose, [Rigid.make(170)])
    assert found.z == pytest.approx(z_score(min(values)), abs=1e-4)
    assert found.z < z_score(refinement.evidence(pose)) - 0.1
    assert refinement.support(pose, []).rival is None


def test_poses_with_too_little_in_common_are_not_searched():
    fixed, moving = halves(1500)
    images = [make_fields(c, 1.5 * fixed.spacing, BANDS, seed=0) for c in (fixed, moving)]
    smaller = min(f.tissue.sum() for f in images)
    for least in (0.2, 0.9):
        poses = Search(*images, min_overlap=least).at(40.0, False)
        for pose in poses:
            at = images[0].to_pixels(pose.transform.apply(images[1].tissue_pixels()[1]))
            common = map_coordinates(images[0].tissue, at.T, order=0, cval=0.0).sum()
            assert common > (least - 0.12) * smaller
    few = Search(*images, min_overlap=0.9).at(40.0, False)
    many = Search(*images, min_overlap=0.05).at(40.0, False)
    assert len(many) > len(few)
    assert max(p.evidence for p in many) >= max((p.evidence for p in few), default=0)


SURE = {"reach": 500.0, "pixel": 20.0, "min_score": 6.0, "margin": 2.0, "allow_reflection": False}


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({}, "aligned"),
        ({"min_score": 12.0}, "aligned"),
        ({"min_score": 12.001}, "failed"),
        ({"breadth": 2.5}, "aligned"),
        ({"breadth": 2.49}, "ambiguous"),
        ({"precision": Precision(1.0, 40.0)}, "aligned"),
        ({"precision": Precision(1.0, 40.1)}, "ambiguous"),
        ({"precision": Precision(1.0, 40.1), "pixel": 21.0}, "aligned"),
        ({"rivals": [Rival(90, False, 10.0, 500.0)]}, "aligned"),
        ({"rivals": [Rival(90, False, 10.01, 500.0)]}, "ambiguous"),
        ({"rivals": [Rival(90, False, 10.01, 500.0)], "margin": 1.9}, "aligned"),
        ({"rivals": [Rival(90, False, 10.9, 250.0)]}, "aligned"),
        ({"rivals": [Rival(90, False, 10.9, 250.0)], "reach": 200.0}, "ambiguous"),
        ({"rivals": [Rival(90, True, 13.9, 500.0)]}, "aligned"),
        ({"rivals": [Rival(90, True, 14.1, 500.0)]}, "ambiguous"),
        ({"rivals": [Rival(90, True, 10.9, 500.0)], "allow_reflection": True}, "ambiguous"),
        ({"support": Support(3.0, None)}, "aligned"),
        ({"support": Support(2.99, None)}, "ambiguous"),
        ({"rivals": [Rival(90, False, 9.0, 500.0)], "support": Support(9.0, 0)}, "ambiguous"),
    ],
)
def test_each_condition_of_the_verdict_decides_alone(change, word):
    given = {"rivals": [], "precision": Precision(0.5, 5.0), "breadth": 5.0, "support": Support(9.0, None)}
    given |= SURE | change
    first = [given.pop(name) for name in ("rivals", "precision", "breadth", "support")]
    verdict = judge(Pose(Rigid.make(10), 72.0), *first, **given)
    assert verdict.word == word, verdict.reason
    assert verdict.z == pytest.approx(12.0)


def test_the_lead_is_over_the_best_pose_that_was_allowed():
    rivals = [Rival(90, False, 7.0, 500.0), Rival(0, True, 11.0, 500.0), Rival(50, False, 8.5, 500.0)]
    verdict = judge(Pose(Rigid.make(0), 72.0), rivals, Precision(0.5, 5.0), 5.0, Support(9.0, None), **SURE)
    assert verdict.margin == pytest.approx(3.5)
    assert [r.z for r in verdict.rivals] == [11.0, 8.5, 7.0]


def test_the_reason_names_the_pose_that_is_better_without_a_channel():
    """Of the poses that could have been the answer: a mirrored one is none here."""
    rivals = [Rival(7, True, 11.0, 500.0), Rival(90, False, 9.0, 500.0), Rival(50, False, 8.5, 500.0)]
    found = judge(Pose(Rigid.make(0), 72.0), rivals, Precision(0.5, 5.0), 5.0, Support(9.0, 1), **SURE)
    assert found.word == "ambiguous"
    assert "Without one channel" in found.reason
    assert "50° (z = 8.5)" in found.reason


@pytest.fixture(scope="module")
def found():
    """A part of one half turned onto the other, cells without embedding among those of both."""
    fixed, moving = split(cut(cells=2400))
    moving = moving.where(moving.xy[:, 0] > 300)
    put = Rigid.make(55, (-200, 900))
    full = []
    for piece, seed in ((fixed, 0), (moving.at(put), 1)):
        rng = np.random.default_rng(seed)
        lost = rng.random(len(piece.x)) < 0.15
        full.append((Piece(np.where(lost[:, None], 0, piece.x), piece.xy), np.flatnonzero(~lost)))
    (fixed, kept), (moving, left) = full
    return fixed, kept, moving, left, put, onto(fixed, moving)


def test_landmarks_name_rows_of_the_slices_as_they_were_given(found):
    fixed, kept, moving, left, _, result = found
    bare = onto(fixed.where(kept), moving.where(left))
    np.testing.assert_array_equal(result.matrix, bare.matrix)
    np.testing.assert_array_equal(result.landmarks.fixed, kept[bare.landmarks.fixed])
    np.testing.assert_array_equal(result.landmarks.moving, left[bare.landmarks.moving])
    np.testing.assert_allclose(
        result.residuals, fixed.xy[result.landmarks.fixed] - result.moved[result.landmarks.moving]
    )


def test_overlap_is_tissue_of_the_other_slice_within_three_spacings(found):
    fixed, _, moving, _, put, result = found
    assert result.verdict.word == "aligned"
    np.testing.assert_allclose(result.moved, result.transform.apply(moving.xy))
    reach = 3 * max(result.spacing)
    to = np.linalg.norm(result.moved[:, None] - fixed.xy, axis=2)
    np.testing.assert_array_equal(result.in_overlap, to.min(1) <= reach)
    assert result.overlap == (np.mean(to.min(1) <= reach), np.mean(to.min(0) <= reach))
    assert result.overlap[1] < 0.8 < result.overlap[0]
    assert result.spacing[0] == pytest.approx(result.spacing[1], rel=0.15)
    assert displacement(result.transform, put.inverse(), moving.xy) < result.spacing[0]


def test_the_residual_is_the_weighted_median_of_landmarks(found):
    *_, result = found
    length = np.linalg.norm(result.residuals, axis=1)
    order, total = np.argsort(length), result.landmarks.confidence.sum()
    seen = 0.0
    for i in order:
        seen += result.landmarks.confidence[i]
        if seen >= total / 2:
            break
    assert result.residual == pytest.approx(length[i])
    assert result.residual != pytest.approx(np.median(length))


def test_only_the_most_confident_landmarks_are_kept(found):
    fixed, _, moving, _, _, result = found
    few = onto(fixed, moving, landmarks=25)
    np.testing.assert_array_equal(few.matrix, result.matrix)
    assert len(few.landmarks) == 25
    assert (np.diff(few.landmarks.moving) > 0).all()
    assert few.landmarks.confidence.min() >= np.sort(result.landmarks.confidence)[-25]


def test_another_unit_of_both_slices_changes_nothing_but_the_unit(found):
    fixed, _, moving, _, _, result = found
    larger = onto(Piece(fixed.x, fixed.xy * 64), Piece(moving.x, moving.xy * 64))
    assert larger.verdict.word == result.verdict.word
    assert larger.transform.scale == 1
    assert larger.transform.degrees == pytest.approx(result.transform.degrees, abs=1e-6)
    np.testing.assert_allclose(larger.moved, result.moved * 64, rtol=1e-6)
    assert larger.precision.distance == pytest.approx(64 * result.precision.distance, rel=1e-6)
    assert larger.spacing[0] == pytest.approx(64 * result.spacing[0])
    np.testing.assert_array_equal(larger.in_overlap, result.in_overlap)


@pytest.mark.parametrize(("degrees", "reflected", "scale"), [(35.0, False, 2.0), (-110.0, True, 0.5)])
def test_a_planted_pose_comes_back_with_unit_and_mirror(degrees, reflected, scale):
    fixed, moving = split(cut(cells=2000))
    put = Rigid.make(degrees, (700, -80), reflected=reflected, scale=1 / scale)
    moving = moving.at(put)
    result = onto(fixed, moving, scale=scale, allow_reflection=True)
    assert result.transform.reflected == reflected
    assert result.transform.scale == scale
    assert displacement(result.transform, put.inverse(), moving.xy) < result.spacing[0]
    # spacings and errors are in the unit of the fixed slice
    assert result.spacing[1] == pytest.approx(result.spacing[0], rel=0.2)
    assert result.precision.distance < result.spacing[0]
    np.testing.assert_allclose(result.matrix[:2, :2], scale * result.transform.rotation)


def test_the_seed_draws_the_halves_that_measure_reliability():
    made = cells()
    fields = [make_fields(made, made.spacing, BANDS, seed=s) for s in (0, 0, 1)]
    np.testing.assert_array_equal(fields[0].reliability, fields[1].reliability)
    assert (fields[0].reliability != fields[2].reliability).any()
    np.testing.assert_array_equal(fields[0].values, fields[2].values)
    fixed, moving = split(cut(cells=900))
    zs = [
        align(fixed.x, fixed.xy, moving.x, moving.xy, config=replace(QUICK, seed=s)).verdict.z for s in (0, 1)
    ]
    assert zs[0] != zs[1]


def test_the_reference_of_a_stack_stays_and_poses_go_through_the_sections_between():
    whole = cut(cells=2100)
    at = np.random.default_rng(5).integers(3, size=2100)
    put = [Rigid.make(d, t) for d, t in ((0, (0, 0)), (40, (300, 0)), (-75, (0, 800)))]
    pieces = [whole.where(at == i).at(t) for i, t in enumerate(put)]
    chain = align_stack([p.x for p in pieces], [p.xy for p in pieces], reach=1, config=QUICK)
    assert set(chain.pairs) == {(0, 1), (1, 2)}
    np.testing.assert_array_equal(chain.moved[0], pieces[0].xy)
    through = chain.pairs[0, 1].transform.after(chain.pairs[1, 2].transform)
    assert displacement(chain.transforms[2], through, pieces[2].xy) < 1e-3
    assert displacement(chain.transforms[2], put[2].inverse(), pieces[2].xy) < 90
    last = align_stack([p.x for p in pieces], [p.xy for p in pieces], reference=2, reach=1, config=QUICK)
    np.testing.assert_array_equal(last.moved[2], pieces[2].xy)
    back = chain.pairs[1, 2].transform.inverse().after(chain.pairs[0, 1].transform.inverse())
    assert displacement(last.transforms[0], back, pieces[0].xy) < 1e-3


def test_a_deformation_is_the_weighted_mean_of_residuals_drawn_to_zero():
    rng = np.random.default_rng(0)
    at, off, sure = rng.uniform(0, 300, (80, 2)), rng.normal(0, 9, (80, 2)), rng.uniform(0.1, 1, 80)
    warp = Warp(at, off, sure, 40.0, factor=0.6)
    queries = rng.uniform(-150, 450, (40, 2))
    want = np.zeros((40, 2))
    for n, q in enumerate(queries):
        pull, total = np.zeros(2), 4.0
        for p in range(80):
            d = np.linalg.norm(q - at[p])
            if d <= 120:
                weight = sure[p] * np.exp(-0.5 * (d / 40) ** 2)
                pull, total = pull + weight * off[p], total + weight
        want[n] = 0.6 * pull / total
    np.testing.assert_allclose(warp.displacement(queries), want, atol=1e-9)
    np.testing.assert_allclose(warp.apply(queries), queries + want)


def test_weights_of_pairs_decide_the_rigid_answer():
    rng = np.random.default_rng(0)
    xy = rng.normal(0, 100, (30, 2))
    first, second = Rigid.make(10, (5, 0)), Rigid.make(30, (0, 9))
    target = np.where(np.arange(30)[:, None] < 15, first.apply(xy), second.apply(xy))
    heavy = np.where(np.arange(30) < 15, 1.0, 1e-6)
    assert displacement(kabsch(xy, target, heavy), first, xy) < 0.01
    assert displacement(kabsch(xy, target, heavy[::-1]), second, xy) < 0.01
