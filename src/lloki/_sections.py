"""The slices in a user's AnnData, as alignment reads them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from lloki import keys
from lloki.errors import InputError

Doubles = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Section:
    """Some rows of an AnnData that are one slice.

    Attributes
    ----------
    name
        Of the slice.
    own
        The user's AnnData.
    rows
        (n,) its rows.
    embedding
        (n, d).
    xy
        (n, 2 or 3).
    """

    name: str
    own: AnnData
    rows: NDArray[np.int64]
    embedding: NDArray[np.floating]
    xy: Doubles


def read_sections(
    adatas: AnnData | Sequence[AnnData], *, key: str, slice_key: str, slices: Sequence[str] | None
) -> list[Section]:
    """Find the slices: of one AnnData by a column, of several each as a whole.

    Raises
    ------
    InputError
        If an embedding, the positions or a slice that was asked for is absent.
    """
    found: list[Section] = []
    if isinstance(adatas, AnnData):
        if slice_key not in adatas.obs:
            raise InputError(
                "the column is absent",
                slot=f"obs[{slice_key!r}]",
                mend="Set slice_key to the column that names the slices, or pass a list of AnnData.",
            )
        names = adatas.obs[slice_key].astype(str).to_numpy()
        for name in dict.fromkeys(names):
            found.append(_section(name, adatas, np.flatnonzero(names == name), key))
    else:
        for i, adata in enumerate(adatas):
            known = adata.obs[slice_key].astype(str).unique() if slice_key in adata.obs else []
            name = str(known[0]) if len(known) == 1 else f"slice{i + 1}"
            found.append(_section(name, adata, np.arange(adata.n_obs), key))
    by_name = {s.name: s for s in found}
    if len(by_name) < len(found):
        raise InputError("two slices have one name", slot=f"obs[{slice_key!r}]", mend="Give each its own.")
    for name in slices or ():
        if name not in by_name:
            raise InputError(f"there is no slice {name!r}", mend=f"There are: {', '.join(by_name)}.")
    return found if slices is None else [by_name[name] for name in slices]


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
                raise InputError("the column is absent", where=s.name, slot=f"obs[{z!r}]", mend="Set z.")
            values = pd.to_numeric(s.own.obs[z].iloc[s.rows].astype(object), errors="coerce").to_numpy(float)
            if not np.isfinite(values).all():
                raise InputError(
                    "holds values that are no numbers", where=s.name, slot=f"obs[{z!r}]", mend="Mend it."
                )
            columns.append(values)
        return columns
    return [i * float(z) for i in range(len(sections))]


def _section(name: str, adata: AnnData, rows: NDArray[np.int64], key: str) -> Section:
    for slot in (key, keys.SPATIAL):
        if slot not in adata.obsm:
            raise InputError(
                "is absent",
                where=name,
                slot=f"obsm[{slot!r}]",
                mend=f"There are: {', '.join(adata.obsm) or 'none'}."
                + (" Integrate the slices first, or set key." if slot == key else ""),
            )
    xy = np.asarray(adata.obsm[keys.SPATIAL], np.float64)[rows]
    embedding = np.asarray(adata.obsm[key])[rows]
    lost = int((~np.isfinite(xy)).any(1).sum())
    if lost:
        raise InputError(
            f"{lost} of {len(rows)} cells have a position that is NaN or infinite",
            where=name,
            slot=f"obsm[{keys.SPATIAL!r}]",
            mend="Leave these cells out, or give them positions.",
        )
    return Section(name, adata, rows, embedding, xy)
