"""Slices with an embedding and positions, for alignment, gene programs and domains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from lloki._parts import Part, named, read_parts
from lloki.errors import InputError
from lloki.graph import in_plane


@dataclass(frozen=True, eq=False)
class Section(Part):
    """A slice with an embedding and positions.

    Attributes
    ----------
    values
        (n, d) ``obsm[use_rep]``.
    xy
        (n, 2 or 3); the third of a flat section is across its plane, whichever axis that is.
    """

    values: NDArray[np.floating]
    xy: NDArray[np.float64]


def read_sections(
    adatas: AnnData | Sequence[AnnData], *, use_rep: str, slice_key: str, slices: Sequence[str] | None = None
) -> list[Section]:
    """Read the slices, all or those named, with their embedding and positions.

    Raises
    ------
    InputError
        If an embedding, positions or a named slice is absent, or they hold NaN or infinity.
    """
    parts = named(read_parts(adatas, slice_key=slice_key), slices)
    return [Section(p.name, p.own, p.rows, p.embedding(use_rep), _positions(p)) for p in parts]


def _positions(part: Part) -> NDArray[np.float64]:
    """(n, 2 or 3): of a flat section in three coordinates, those in its plane first."""
    own = part.positions()
    section = in_plane(own)
    return own if section is None else section


def heights(sections: Sequence[Section], z: float | str | None) -> list[NDArray | float] | None:
    """Return the third coordinate of each section's cells, or None where there is none.

    Parameters
    ----------
    z
        Distance between sections, in order; or an ``obs`` column; or None, for a third column of the
        positions.

    Raises
    ------
    InputError
        If there is no such column, or it holds values that are not numbers.
    """
    if z is None:
        if any(s.xy.shape[1] == 3 for s in sections):
            return [s.xy[:, 2] if s.xy.shape[1] == 3 else np.nan for s in sections]
        return None
    if isinstance(z, str):
        columns = []
        for s in sections:
            if z not in s.own.obs:
                raise InputError("the column is absent", where=s.name, slot=f"obs[{z!r}]", hint="Set z.")
            values = pd.to_numeric(s.own.obs[z].iloc[s.rows].astype(object), errors="coerce").to_numpy(float)
            if not np.isfinite(values).all():
                raise InputError(
                    "holds values that are not numbers",
                    where=s.name,
                    slot=f"obs[{z!r}]",
                    hint="Correct them.",
                )
            columns.append(values)
        return columns
    return [i * float(z) for i in range(len(sections))]
