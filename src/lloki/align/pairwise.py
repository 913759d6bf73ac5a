"""Two slices into one frame: the steps in order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from lloki._parallel import single_threaded
from lloki._progress import Advance
from lloki.align._evidence import z_score
from lloki.align.channels import Cells, spatial_channels
from lloki.align.config import AlignConfig
from lloki.align.extent import cell_spacing, frame
from lloki.align.fields import make_fields
from lloki.align.inputs import moving_unit, positions, usable_rows
from lloki.align.landmarks import Landmarks, match, niches
from lloki.align.refine import Precision, Refinement
from lloki.align.result import AlignResult
from lloki.align.rigid import FEWEST, Rigid, displacement, robust_kabsch
from lloki.align.search import Curve, Pose, Search, apart
from lloki.align.verdict import NO_SHARED_GENE, Rival, Verdict, doubted, failed, judge
from lloki.errors import InputError

Doubles = NDArray[np.float64]

FEWEST_CELLS = 30  # below, there are no neighborhoods to compare
_DISTINCT = 4.0  # pixels of the search, rms over cells, between poses that count as different
_RADIUS = 4.0  # pixels of the search in which matched cells are looked for
_OTHER_UNITS = 30.0  # ratio of spacings that no two sections of tissue have in one unit
_INSIDE = 3.0  # spacings to the nearest fixed cell, within which there is fixed tissue
_SCALES = 1.125 ** np.arange(-4, 5)  # tried where the scale is free: at most two pixels off at the rim


def align(
    fixed: ArrayLike,
    fixed_xy: ArrayLike,
    moving: ArrayLike,
    moving_xy: ArrayLike,
    *,
    shared_genes: int | None = None,
    doubt: str = "",
    config: AlignConfig | None = None,
    threads: int | None = None,
    advance: Advance | None = None,
) -> AlignResult:
    r"""Find the rotation and translation that bring one slice onto another.

    Images of both slices' neighborhoods in the joint embedding are compared at every rotation and every
    translation. The best poses are refined on finer images; around the best one, cells are matched, a robust
    Kabsch algorithm gives the transform that these landmarks agree on, and the better of the two summits that
    can be climbed from there is the answer. Its rivals decide how far to believe it.

    Parameters
    ----------
    fixed, moving
        (n, d) and (m, d) embedding that both slices share. Rows that are all zero, or not finite, belong to
        cells that could not be embedded: they are moved, but have no say.
    fixed_xy, moving_xy
        (n, 2) and (m, 2) positions. A third column is not used.
    shared_genes
        Number of genes that both slices measured; at 0 the verdict is at most *ambiguous*. ``None``: unknown.
    doubt
        A sentence that says why the embedding has no ground to stand on, such as a reference of another
        tissue; the verdict is then at most *ambiguous* as well.
    config
        Parameters.
    threads
        Threads; the result does not depend on it.
    advance
        Called with numbers of rotations done, of ``2 * ceil(360 / rotation_step)``.

    Returns
    -------
    AlignResult
        Always, with the verdict *failed* where there is nothing to go by: too few cells, cells on a line, an
        embedding without structure in space.

    Raises
    ------
    InputError
        If shapes do not fit, or a position is not finite.

    Warns
    -----
    LlokiWarning
        If the slices seem to have different units, or one is flat and the other not.

    Notes
    -----
    Cells are moved as they lie, never rearranged. Time grows with the cells (neighbors) and with rotations
    x pixels² x channels (the search), memory with the cells and the pixels.
    """
    config = config or AlignConfig()
    names = ("fixed", "moving")
    xy = positions(dict(zip(names, (fixed_xy, moving_xy))))
    rows = [usable_rows(x, len(p), name) for x, p, name in zip((fixed, moving), xy, names)]
    embeddings = (np.asarray(fixed, np.float64)[rows[0]], np.asarray(moving, np.float64)[rows[1]])
    if embeddings[0].shape[1] != embeddings[1].shape[1]:
        raise InputError(
            f"embeddings have {embeddings[0].shape[1]} and {embeddings[1].shape[1]} columns",
            hint="Pass the joint embedding of both slices.",
        )
    spacing = [cell_spacing(p[r]) if len(r) >= FEWEST_CELLS else 0.0 for p, r in zip(xy, rows)]
    for name, r, s in zip(names, rows, spacing):
        if len(r) < FEWEST_CELLS:
            return _nothing(
                xy, f"The {name} slice has {len(r)} embedded cells; {FEWEST_CELLS} are needed.", config
            )
        if not s > 0:
            return _nothing(xy, f"The {name} slice's cells lie on a line, or in one place.", config)
    with single_threaded():
        places = (xy[0][rows[0]], xy[1][rows[1]])
        channels = spatial_channels(
            embeddings, places, channels=config.channels, n_neighbors=config.n_neighbors
        )
        if not channels[0].shape[1]:
            return _nothing(xy, "The embedding has no structure in space.", config)
        cells = [Cells(r, p, c, s) for r, p, c, s in zip(rows, places, channels, spacing)]
        unit = moving_unit(cells, config)
        ratio = cells[0].spacing / (cells[1].spacing * unit)
        if not 1 / _OTHER_UNITS < ratio < _OTHER_UNITS:
            reason = (
                f"Neighboring cells lie {cells[0].spacing:.3g} apart in the fixed slice and "
                f"{cells[1].spacing * unit:.3g} in the moving one: their units differ, such as mm and µm. "
                "Give scale=, or set allow_scale=True."
            )
            return _nothing(xy, reason, config)
        found = _align(cells[0], cells[1].scaled(unit), config, threads, advance)
    transform = found.pose.transform.after(Rigid(np.eye(2), np.zeros(2), unit))
    doubt = NO_SHARED_GENE if shared_genes == 0 else doubt
    moved = transform.apply(xy[1])
    sizes = (spacing[0], spacing[1] * transform.scale)
    reach = _INSIDE * max(sizes)
    inside = cKDTree(xy[0]).query(moved, distance_upper_bound=reach)[0] <= reach
    other = cKDTree(moved).query(xy[0], distance_upper_bound=reach)[0] <= reach
    pairs = found.landmarks
    marks = Landmarks(rows[0][pairs.fixed], rows[1][pairs.moving], pairs.confidence)
    return AlignResult(
        transform=transform,
        verdict=doubted(found.verdict, doubt) if doubt else found.verdict,
        moved=moved,
        in_overlap=inside,
        overlap=(float(inside.mean()), float(other.mean())),
        landmarks=marks,
        residuals=xy[0][marks.fixed] - moved[marks.moving],
        precision=found.precision,
        curve=found.curve,
        spacing=sizes,
        config=config,
    )


@dataclass(frozen=True, eq=False)
class _Found:
    pose: Pose
    verdict: Verdict
    landmarks: Landmarks
    precision: Precision
    curve: Curve


def _align(
    fixed: Cells, moving: Cells, config: AlignConfig, threads: int | None, advance: Advance | None
) -> _Found:
    """Align usable cells with one unit."""
    radius = max(frame(fixed.xy)[1], frame(moving.xy)[1])
    spacing = max(fixed.spacing, moving.spacing)
    pixel = max(spacing, 2 * radius / config.pixels)
    poses, curve, factor = _search(fixed, moving, pixel, config, threads, advance)
    moving = moving.scaled(factor)
    back = Rigid(np.eye(2), np.zeros(2), factor)  # what is done to moving cells before all that follows
    distinct = _DISTINCT * pixel
    start = [Pose(p.transform.after(back.inverse()), p.evidence) for p in poses]
    fine = max(0.75 * spacing, 2 * radius / config.fine_pixels)
    # the finer images hold all that the search has seen: their bands begin lower and end where its bands do
    bands = config.bands
    while 2 * bands[-1] * fine <= 1.01 * config.bands[-1] * pixel:
        bands = (*bands, 2 * bands[-1])
    refinement = Refinement(*(make_fields(c, fine, bands, seed=config.seed) for c in (fixed, moving)))
    climbed = []
    for reflected in (False, True):
        kind = [p for p in start if p.transform.reflected == reflected]
        for pose in apart(kind, moving.xy, distinct, config.candidates):
            climbed.append(refinement.climb(pose.transform, scale=config.allow_scale))
    allowed = [p for p in climbed if config.allow_reflection or not p.transform.reflected]
    if not allowed:
        return _Found(
            Pose(Rigid.make(0), 0.0), failed("The slices disagree at every pose."), _none(), _LOST, curve
        )
    best = max(allowed, key=lambda p: p.evidence)
    features = (niches(fixed), niches(moving))
    landmarks = match(fixed, moving, features, best.transform, radius=_RADIUS * pixel)
    best = _by_landmarks(fixed, moving, landmarks, best, refinement, config)
    landmarks = match(fixed, moving, features, best.transform, radius=_RADIUS * pixel)
    rivals, others = [], []
    for pose in apart([*climbed, best], moving.xy, distinct, len(climbed) + 1):
        distance = displacement(pose.transform, best.transform, moving.xy)
        if distance >= distinct:
            t = pose.transform
            rivals.append(Rival(t.degrees, t.reflected, z_score(pose.evidence), distance))
            # a mirrored pose that was not allowed is no answer, with any channel
            others += [t] if config.allow_reflection or not t.reflected else []
    precision = refinement.precision(best.transform)
    verdict = judge(
        best,
        rivals,
        precision,
        refinement.breadth(best.transform),
        refinement.support(best.transform, others),
        reach=refinement.reach * best.transform.scale,
        pixel=pixel,
        min_score=config.min_score,
        margin=config.margin,
        allow_reflection=config.allow_reflection,
    )
    if (landmarks.confidence > 0).sum() < FEWEST:
        verdict = Verdict(
            "failed", "Fewer than three cells match.", verdict.z, verdict.margin, verdict.rivals
        )
    whole = Pose(best.transform.after(back), best.evidence)
    return _Found(whole, verdict, landmarks.best(config.landmarks), precision, curve)


def _search(
    fixed: Cells,
    moving: Cells,
    pixel: float,
    config: AlignConfig,
    threads: int | None,
    advance: Advance | None,
) -> tuple[list[Pose], Curve, float]:
    """Poses over all rotations, their curve, and the factor to scale the moving slice by before refining."""
    target = make_fields(fixed, pixel, config.bands, seed=config.seed)

    def at(factor: float, step: float, report: Advance | None) -> tuple[list[Pose], Curve]:
        images = make_fields(moving.scaled(factor), pixel, config.bands, seed=config.seed)
        search = Search(target, images, min_overlap=config.min_overlap)
        poses, curve = search.run(step, threads=threads, advance=report)
        back = Rigid(np.eye(2), np.zeros(2), factor)
        return [Pose(p.transform.after(back), p.evidence) for p in poses], curve

    factor = 1.0
    if config.allow_scale:
        coarse = {f: at(f, 3 * config.rotation_step, None)[0] for f in _SCALES}
        factor = max(coarse, key=lambda f: max((p.evidence for p in coarse[f]), default=0.0))
    poses, curve = at(factor, config.rotation_step, advance)
    return poses, curve, factor


def _by_landmarks(
    fixed: Cells, moving: Cells, marks: Landmarks, best: Pose, refinement: Refinement, config: AlignConfig
) -> Pose:
    """Climb again from the transform that the landmarks agree on; keep what has more evidence."""
    try:
        transform, _ = robust_kabsch(
            moving.xy[marks.moving],
            fixed.xy[marks.fixed],
            marks.confidence,
            best.transform,
            width=max(fixed.spacing, moving.spacing),
            scale=config.allow_scale,
        )
    except InputError:  # too few of them; the verdict says so
        return best
    again = refinement.climb(transform, scale=config.allow_scale)
    return max(best, again, key=lambda p: p.evidence)


_LOST = Precision(float("inf"), float("inf"))


def _none() -> Landmarks:
    return Landmarks(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))


def _nothing(xy: tuple[Doubles, Doubles], reason: str, config: AlignConfig) -> AlignResult:
    """Return a result for slices that cannot be compared."""
    n = len(xy[1])
    flat = np.zeros(0)
    return AlignResult(
        transform=Rigid.make(0),
        verdict=failed(reason),
        moved=xy[1].copy(),
        in_overlap=np.zeros(n, bool),
        overlap=(0.0, 0.0),
        landmarks=_none(),
        residuals=np.zeros((0, 2)),
        precision=_LOST,
        curve=Curve(flat, flat, flat),
        spacing=(float("nan"), float("nan")),
        config=config,
    )
