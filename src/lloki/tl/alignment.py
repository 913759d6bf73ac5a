"""Slices in one coordinate frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from anndata import AnnData

from lloki import keys
from lloki.tl._sections import read_sections

if TYPE_CHECKING:
    from lloki.tl._aligned import Alignment


def align_slices(
    adatas: AnnData | Sequence[AnnData],
    *,
    reference: str | None = None,
    key: str = keys.JOINT,
    slice_key: str = keys.SLICE,
    slices: Sequence[str] | None = None,
    stack: bool = False,
    reach: int = 2,
    use_ambiguous: bool = False,
    z: float | str | None = None,
    nonrigid: float | None = None,
    seed: int = 0,
    **settings: Any,
) -> Alignment:
    """Bring slices into one coordinate frame: rotation and translation, found from their joint embedding.

    Parameters
    ----------
    adatas
        All slices in one AnnData, as :func:`lloki.integrate` returns, or one AnnData each.
    reference
        Name of the slice that stays where it is; default the first.
    key
        ``obsm`` key of an embedding that all slices share.
    slice_key
        ``obs`` column that names the slices. AnnData of a list that lack it are slice1, slice2, …
    slices
        Names of the slices to take, in order; default all.
    stack
        Whether they are a series of sections, in order: neighbors are aligned with each other, and all poses
        fitted to these pairs together. Otherwise each is aligned with the reference.
    reach
        In a stack, with how many of the following sections each is aligned.
    use_ambiguous
        Whether sections of a stack that nothing else connects may hang on ambiguous pairs. One wrong pair
        puts all sections beyond it wrong; without them, such sections get no place.
    z
        Third coordinate to write: a distance between sections, in order, or an ``obs`` column. Without it,
        a third column of ``obsm["spatial"]`` is carried along.
    nonrigid
        Longest displacement, in the unit of ``obsm["spatial"]``, by which slices may be deformed after the
        rigid step; default none. Not for a stack.
    seed
        Of everything random.
    settings
        Fields of :class:`lloki.align.AlignConfig`, such as ``allow_reflection=True`` or ``scale=0.325``.

    Returns
    -------
    Alignment
        ``.table()`` has one row a pair; ``.results`` everything known about it. Written into ``adatas``:

        ``obsm["spatial_aligned"]``
            (n, 2 or 3) in the frame and unit of the reference. NaN for slices without a place there: those
            whose alignment failed, and those that were not taken.
        ``obs["lloki_in_overlap"]``
            Whether a cell lies where the reference has tissue. In a stack, sections that were not aligned
            with the reference itself count as inside.
        ``obs["lloki_match"]``, ``obs["lloki_match_confidence"]``
            Name of the cell of the reference that it is matched with, if any. Not for a stack.
        ``uns["lloki"]["align_slices"]``
            Parameters, version, and as JSON the transforms with their inverses, verdicts and rivals.

    Raises
    ------
    InputError
        If an embedding, positions or a slice is absent, or positions are not finite.
    ConfigError
        If a setting is unknown or out of its range, or there are fewer than two slices.

    Warns
    -----
    LlokiWarning
        For every alignment whose verdict is not *aligned*, with the reason; and if units seem to differ.

    Notes
    -----
    Time and memory are those of :func:`lloki.align.align`, times the number of pairs.
    """
    from lloki.align import AlignConfig
    from lloki.tl import _aligned

    config = AlignConfig.from_dict({"seed": seed} | settings)
    sections = read_sections(adatas, key=key, slice_key=slice_key, slices=slices)
    alignment = _aligned.align_sections(
        sections,
        reference=reference,
        stack=stack,
        reach=reach,
        use_ambiguous=use_ambiguous,
        nonrigid=nonrigid,
        config=config,
    )
    asked = {"key": key, "stack": stack, "reach": reach, "use_ambiguous": use_ambiguous, "nonrigid": nonrigid}
    _aligned.write_sections(sections, alignment, z=z, parameters=config.to_dict() | asked)
    _aligned.warn_of_verdicts(alignment)
    return alignment
