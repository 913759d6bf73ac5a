"""Slices in one coordinate frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Unpack

from anndata import AnnData

import lloki
from lloki import keys
from lloki._keywords import keywords
from lloki.tl._sections import read_sections

if TYPE_CHECKING:
    import lloki.align.config
    from lloki.align import Alignment


@keywords
def align_slices(
    adatas: AnnData | Sequence[AnnData],
    *,
    reference: str | None = None,
    use_rep: str = keys.JOINT,
    slice_key: str = keys.SLICE,
    slices: Sequence[str] | None = None,
    stack: bool = False,
    reach: int = 2,
    use_ambiguous: bool = False,
    z: float | str | None = None,
    nonrigid: float | None = None,
    key_added: str = keys.ALIGNED,
    **options: Unpack[lloki.align.config.AlignOptions],
) -> Alignment:
    """Align slices by rotation and translation, found from their joint embedding.

    Parameters
    ----------
    adatas
        All slices in one AnnData, as :func:`lloki.integrate` returns, or one AnnData each.
    reference
        Name of the slice that stays in place; default the first.
    use_rep
        ``obsm`` key of the joint embedding.
    slice_key
        ``obs`` column that names the slices, as squidpy's ``library_key``. AnnData of a list that lack it are
        named slice1, slice2, …
    slices
        Names of the slices to align, in order; default all.
    stack
        Whether they are a series of sections, in order: neighbors are aligned with each other, and all poses
        fitted to these pairs together. Otherwise each is aligned with the reference.
    reach
        In a stack, the number of following sections that each is aligned with.
    use_ambiguous
        Whether sections of a stack that no other pair connects may be placed by ambiguous pairs. One wrong
        pair misplaces all sections beyond it; without them, such sections are not placed.
    z
        Third coordinate to write: a distance between sections, in order, or an ``obs`` column. Without it,
        a third column of ``obsm["spatial"]`` is kept.
    nonrigid
        Maximum displacement, in the unit of ``obsm["spatial"]``, by which slices may be deformed after the
        rigid step; default none. Not for a stack.
    key_added
        ``obsm`` key of the aligned positions, and prefix of the ``obs`` columns.
    options
        Fields of :class:`lloki.align.AlignConfig`, such as ``allow_reflection=True``, ``scale=0.325`` or
        ``seed=1``.

    Returns
    -------
    Alignment
        ``.table()`` has one row per pair; ``.results`` the full results. Written into ``adatas``:

        ``obsm["spatial_aligned"]``
            (n, 2 or 3) positions in the frame and unit of the reference. NaN for slices whose alignment
            failed, and those that were not aligned.
        ``obs["spatial_aligned_in_overlap"]``
            Whether a cell is where the reference has tissue. In a stack, sections that were not aligned with
            the reference itself count as inside.
        ``obs["spatial_aligned_match"]``, ``obs["spatial_aligned_match_confidence"]``
            Name of the matched cell of the reference, if any. Not for a stack.
        ``uns["lloki"]["align_slices"]``
            Parameters, version, and as JSON the transforms with their inverses, verdicts and alternatives.

    Raises
    ------
    InputError
        If an embedding, positions or a slice is absent, or positions are not finite.
    ConfigError
        If an option is unknown or out of its range, or there are fewer than two slices.

    Warns
    -----
    LlokiWarning
        For every alignment whose verdict is not *aligned*, with the reason; and if units seem to differ.

    Notes
    -----
    Slices of a run whose genes do not go together as in its reference (``uns["lloki"]["unlike_reference"]``)
    are at most *ambiguous*, as are slices without a common gene.
    Time and memory are those of :func:`lloki.align.align`, times the number of pairs.
    """
    from lloki.align import AlignConfig
    from lloki.tl import _aligned

    config = AlignConfig.from_dict(options)
    sections = read_sections(adatas, use_rep=use_rep, slice_key=slice_key, slices=slices)
    alignment = _aligned.align_sections(
        sections,
        reference=reference,
        stack=stack,
        reach=reach,
        use_ambiguous=use_ambiguous,
        nonrigid=nonrigid,
        config=config,
    )
    asked = {
        "use_rep": use_rep,
        "stack": stack,
        "reach": reach,
        "use_ambiguous": use_ambiguous,
        "nonrigid": nonrigid,
    }
    _aligned.write_sections(
        sections, alignment, z=z, parameters=config.to_dict() | asked, key_added=key_added
    )
    _aligned.warn_of_verdicts(alignment)
    return alignment
