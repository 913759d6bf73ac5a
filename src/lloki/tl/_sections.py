"""Slices with an embedding and positions, as alignment, programs and domains read them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from lloki.errors import InputError
from lloki.tl._parts import Part, named, read_parts


@dataclass(frozen=True, eq=False)
class Section(Part):
    """A slice with what lies under a key, and where its cells lie.

    Attributes
    ----------
    values
        (n, d) ``obsm[key]``.
    xy
        (n, 2 or 3).
    """

    values: NDArray[np.floating]
    xy: NDArray[np.float64]


def read_sections(
    adatas: AnnData | Sequence[AnnData], *, key: str, slice_key: str, slices: Sequence[str] | None = None
) -> list[Section]:
    """Find the slices, all or those named, with their values and positions.

    Raises
    ------
    InputError
        If values, positions or a slice that was asked for are absent, or hold NaN or infinity.
    """
    parts = named(read_parts(adatas, slice_key=slice_key), slices)
    return [Section(p.name, p.own, p.rows, p.embedding(key), p.positions()) for p in parts]


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
        If there is no such column, or it holds other things than numbers.
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
                    "holds values that are no numbers", where=s.name, slot=f"obs[{z!r}]", hint="Fix it."
                )
            columns.append(values)
        return columns
    return [i * float(z) for i in range(len(sections))]
