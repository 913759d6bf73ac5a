"""Whether to believe an alignment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from lloki.align._evidence import z_score
from lloki.align.refine import Precision, Support
from lloki.align.search import Pose

Word = Literal["aligned", "ambiguous", "failed"]

_NARROW = 2.5  # breadth: true poses of real sections had 2.8 to 8, false ones with strong evidence 1.1 to 2.1
_ONE_LESS = 3.0  # z-score that is left without any one channel: one alone never decides
# Pixels of the search: a standard error above this is no alignment to a cell's surroundings. True poses of
# made-up tissue had up to 1.9 (the largest of three estimates), a false one of real tissue 2.3.
_LOOSE = 2.0


@dataclass(frozen=True)
class Rival:
    """Another pose that the slices agree at.

    Attributes
    ----------
    degrees
        Its rotation.
    reflected
        Whether it mirrors.
    z
        Its z-score.
    distance
        How far it puts the moving cells from where the best pose does, root mean square.
    """

    degrees: float
    reflected: bool
    z: float
    distance: float

    def __str__(self) -> str:
        return f"{self.degrees:.0f}°{' mirrored' if self.reflected else ''} (z = {self.z:.1f})"


@dataclass(frozen=True)
class Verdict:
    """What to think of an alignment.

    Attributes
    ----------
    word
        ``"aligned"``: believe it. ``"ambiguous"``: the slices agree, but nearly as well at other poses, or
        over a stretch of them. ``"failed"``: they agree no better than unrelated slices might.
    reason
        Why, as a sentence.
    z
        z-score of the agreement at the pose given.
    margin
        By how much it exceeds that of the best rival.
    rivals
        Other poses, best first; the reason names those that compete.
    """

    word: Word
    reason: str
    z: float
    margin: float
    rivals: tuple[Rival, ...] = ()


def failed(reason: str) -> Verdict:
    """Judge slices that could not be compared at all."""
    return Verdict("failed", reason, 0.0, 0.0)


NO_SHARED_GENE = "The slices share no gene, so nothing but the embedding speaks for it"


def doubted(verdict: Verdict, doubt: str) -> Verdict:
    """Believe no alignment by an embedding that there is a reason to doubt.

    Cells of slices that share no gene are compared through genes of other slices alone: the embedding may
    bring unlike places together, and does so consistently, which evidence from the embedding itself cannot
    reveal. Of 45 such runs on real sections one was *aligned* with a wrong pose, of others on an unseen
    section 2 of 4. The same is true where the reference that joins panels is of another tissue.
    """
    if verdict.word != "aligned":
        return verdict
    return replace(verdict, word="ambiguous", reason=f"{doubt.rstrip('.')} ({verdict.reason[:-1]}).")


def judge(
    best: Pose,
    rivals: Sequence[Rival],
    precision: Precision,
    breadth: float,
    support: Support,
    *,
    reach: float,
    pixel: float,
    min_score: float,
    margin: float,
    allow_reflection: bool,
) -> Verdict:
    r"""Judge the best pose by itself, by its rivals, by how sharp its summit is and how broad its support.

    Every channel of the embedding has to do without: with any one left out, the slices still agree at this
    pose, and better than at its rivals. A channel in which the embedding is wrong, such as one that mirrors
    the layers of one slice, must not decide.

    A rival competes if its z-score is within ``margin`` :math:`\times \min(1, d / \text{reach})` of the best
    one's, d being how far it puts the cells from there: two poses near each other compare much the same
    places, so chance moves their scores together, and a smaller difference decides between them.

    Parameters
    ----------
    best
        The pose, refined.
    rivals
        The best other poses, refined, mirrored ones among them even where they are not allowed.
    precision
        Standard errors of ``best``.
    breadth
        How evenly its evidence comes from all over; see :meth:`lloki.align.refine.Refinement.breadth`.
    support
        What is left of it without any one channel; see :meth:`lloki.align.refine.Refinement.support`. Its
        rival is a number among those of ``rivals`` that could have been the answer.
    reach
        Radius of gyration of the moving tissue, in the fixed slice's unit.
    pixel
        Width of a pixel of the search, in that unit.
    min_score, margin
        As in :class:`lloki.align.AlignConfig`. Unrelated slices reach 4 to 6 with the best pose out of all,
        which is what ``min_score`` stays clear of. z-scores of unrelated poses differ by about 1 by chance:
        the other threshold is twice that.
    allow_reflection
        Whether a mirrored pose could have been the answer.
    """
    z = z_score(best.evidence)
    allowed = [r for r in rivals if allow_reflection or r.reflected == best.transform.reflected]
    lead = z - max((r.z for r in allowed), default=0.0)
    ordered = tuple(sorted(rivals, key=lambda r: -r.z))
    if z < min_score:
        text = (
            f"The slices agree with z = {z:.1f}, which unrelated ones may reach; {min_score:g} is asked for."
        )
        return Verdict("failed", text, z, lead, ordered)
    mirrored = max((r.z for r in rivals if r not in allowed), default=0.0)
    if mirrored > z + margin:
        text = (
            f"A mirrored pose agrees better (z = {mirrored:.1f} against {z:.1f}): the section may lie upside "
            "down. Allow reflections (allow_reflection=True, --allow-reflection)."
        )
        return Verdict("ambiguous", text, z, lead, ordered)
    competing = [r for r in allowed if r.z > z - margin * min(1.0, r.distance / reach)]
    if competing:
        named = ", ".join(map(str, sorted(competing, key=lambda r: -r.z)))
        text = f"{best.transform.degrees:.0f}° (z = {z:.1f}) is hardly better than {named}."
        return Verdict("ambiguous", text, z, lead, ordered)
    if breadth < _NARROW:
        text = "The agreement comes from a small part of the common area, as it may between unlike places."
        return Verdict("ambiguous", text, z, lead, ordered)
    if not precision.distance <= _LOOSE * pixel:
        text = f"Cells can be moved by about {precision.distance:.0f} without the slices agreeing much less."
        return Verdict("ambiguous", text, z, lead, ordered)
    if support.rival is not None:
        text = f"Without one channel of the embedding, the slices agree better at {allowed[support.rival]}."
        return Verdict("ambiguous", text, z, lead, ordered)
    if support.z < _ONE_LESS:
        text = f"One channel of the embedding decides alone: without it, z = {support.z:.1f}."
        return Verdict("ambiguous", text, z, lead, ordered)
    return Verdict("aligned", f"z = {z:.1f}, {lead:.1f} above any other pose.", z, lead, ordered)
