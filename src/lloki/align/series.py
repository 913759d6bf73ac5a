"""A series of sections into one frame: align pairs of them, then fit all poses."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lloki._progress import Advance
from lloki.align.config import AlignConfig
from lloki.align.pairwise import align
from lloki.align.result import AlignResult
from lloki.align.rigid import Rigid
from lloki.align.stack import Link, Pair, synchronize
from lloki.errors import ConfigError

Doubles = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class StackResult:
    """Sections in one frame.

    Attributes
    ----------
    transforms
        Each section's own frame to the reference's; None for a section that no alignment connects to it.
    moved
        (n_i, 2) cells of each section in that frame; NaN where there is no transform.
    pairs
        (first, second) → the alignment of the second on the first, on their own.
    used
        The pairs that the poses were fitted to.
    disagreement
        Pair → how far its own transform is from what the poses say, root mean square over cells. Large where
        a pair is contradicted by others.
    """

    transforms: tuple[Rigid | None, ...]
    moved: tuple[Doubles, ...]
    pairs: Mapping[Pair, AlignResult]
    used: tuple[Pair, ...]
    disagreement: Mapping[Pair, float]


def common_genes(first: Collection[str] | None, second: Collection[str] | None) -> int | None:
    """Count the genes that two sections measured; None if that is unknown of one."""
    return None if first is None or second is None else len(set(first) & set(second))


def align_stack(
    embeddings: Sequence[ArrayLike],
    positions: Sequence[ArrayLike],
    *,
    reference: int = 0,
    reach: int = 2,
    use_ambiguous: bool = False,
    panels: Sequence[Collection[str] | None] | None = None,
    doubts: Sequence[str] | None = None,
    config: AlignConfig | None = None,
    threads: int | None = None,
    advance: Advance | None = None,
) -> StackResult:
    """Bring sections, in the order in which they were cut, into the frame of one of them.

    Parameters
    ----------
    embeddings, positions
        (n_i, d) and (n_i, 2) of each section, as for :func:`lloki.align.align`.
    reference
        The section whose frame is the common one.
    reach
        Sections are aligned with as many that follow them. 1 makes a chain, in which errors add up; with 2,
        every section is held from two sides.
    use_ambiguous
        Whether sections that nothing else connects may hang on pairs whose verdict is *ambiguous*. One wrong
        pair puts all sections beyond it wrong; without them, such sections have no place.
    panels
        Genes that each section measured, ``None`` where that is unknown; pairs without a common one are at
        most *ambiguous*.
    doubts
        For each section, why its embedding has no ground to stand on, or ``""``; pairs with such a section
        are at most *ambiguous*.
    config, threads
        As for :func:`lloki.align.align`.
    advance
        Called with numbers of pairs done.

    Raises
    ------
    ConfigError
        If there are fewer than two sections, or no such reference, or ``reach`` is below 1.
    InputError
        As for :func:`lloki.align.align`.

    Notes
    -----
    Pairs whose verdict is *failed* are left out. Time grows with sections x reach.
    """
    n = len(embeddings)
    if n < 2 or len(positions) != n:
        raise ConfigError(
            f"a stack needs two sections or more, got {n} embeddings, {len(positions)} positions"
        )
    if reach < 1:
        raise ConfigError(f"reach must be at least 1, got {reach}")
    if not 0 <= reference < n:
        raise ConfigError(f"there is no section {reference}: there are {n}")
    pairs: dict[Pair, AlignResult] = {}
    for i in range(n):
        for j in range(i + 1, min(i + reach, n - 1) + 1):
            pairs[i, j] = align(
                embeddings[i],
                positions[i],
                embeddings[j],
                positions[j],
                shared_genes=None if panels is None else common_genes(panels[i], panels[j]),
                doubt="" if doubts is None else doubts[i] or doubts[j],
                config=config,
                threads=threads,
            )
            if advance is not None:
                advance(1)
    links = {
        pair: Link(r.transform, r.precision.distance, r.verdict.word == "ambiguous")
        for pair, r in pairs.items()
        if r.verdict.word == "aligned" or (use_ambiguous and r.verdict.word == "ambiguous")
    }
    flat = [np.asarray(xy, np.float64)[:, :2] for xy in positions]
    stack = synchronize(flat, links, reference=reference)
    moved = tuple(
        np.full_like(xy, np.nan) if t is None else t.apply(xy) for t, xy in zip(stack.transforms, flat)
    )
    return StackResult(stack.transforms, moved, pairs, stack.used, stack.disagreement)
