"""Groups of cells that lie on one another: fields of view in local pixels, sections of one file."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from lloki import keys
from lloki.io._stacked import not_stacked, stacked
from lloki.io.units import widest

_GROUPS = 100  # groups looked at, spread over all
_ON = 0.5  # part of the smaller box inside the other that means one on another
_MOST = 0.8  # share of the pairs of groups for which this holds where positions are local
_FEW = 0.3  # and where they are not
_SAME = 0.98  # correlation within groups of local and true positions
_FIELD = re.compile(r"(.*[_.\s])?(fov|fovs|field|field_of_view|tile|imaging_round_position)([_.\s].*)?", re.I)


def overlap(positions: NDArray, groups: NDArray[np.int64]) -> float:
    """Share of the pairs of groups whose bounding boxes lie on one another.

    Parameters
    ----------
    positions
        (n, 2 or 3).
    groups
        (n,) codes, -1 for none. Groups of fewer than three cells are left out.
    """
    order = np.argsort(groups, kind="stable")
    codes, starts, sizes = np.unique(groups[order], return_index=True, return_counts=True)
    chosen = np.flatnonzero((sizes >= 3) & (codes >= 0))
    chosen = chosen[:: max(1, len(chosen) // _GROUPS)]
    if len(chosen) < 2:
        return 0.0
    boxes = [positions[order[s : s + n], :2] for s, n in zip(starts[chosen], sizes[chosen])]
    low, high = (np.stack([f(box, axis=0) for box in boxes]) for f in (np.min, np.max))
    both = np.maximum(np.minimum(high[:, None], high) - np.maximum(low[:, None], low), 0.0).prod(axis=2)
    area = np.maximum((high - low).prod(axis=1), np.finfo(float).tiny)
    inside = both / np.minimum(area[:, None], area)
    return float((inside[np.triu_indices(len(chosen), 1)] > _ON).mean())


def codes_of(column: pd.Series) -> NDArray[np.int64] | None:
    """(n,) codes of a column that can name groups of cells; ``None`` for measurements and ids."""
    kind = column.dtype
    if pd.api.types.is_float_dtype(kind) and not (column.dropna() % 1 == 0).all():
        return None
    try:
        codes, values = pd.factorize(column)
    except TypeError:  # lists and the like
        return None
    return np.asarray(codes, np.int64) if 2 <= len(values) <= max(2, len(column) // 5) else None


def on_one_another(positions: NDArray, groups: NDArray[np.int64]) -> bool:
    """Whether most groups lie on one another."""
    return overlap(positions, groups) >= _MOST


def local_positions(
    adata: AnnData, positions: NDArray, rows: NDArray, sections: pd.Series | None, ignored: list[str]
) -> tuple[str, str] | None:
    """Find a column whose groups have positions of their own, and where the true positions are.

    Parameters
    ----------
    adata
        The input.
    positions
        (N, 2 or 3) of all its cells.
    rows
        Those of one section.
    sections
        Column that names sections, where the file holds several in these rows: the same field of view of
        two sections is not one group.
    ignored
        Gets columns that are called a field of view and evidently name no places.

    Returns
    -------
    tuple or None
        Column and slot with true positions. Cell types lie on one another too: a column is only named where
        other positions follow these within its groups and take the groups apart, or, with an empty slot,
        where cells of different groups are nearer than cells can be (:func:`lloki.io._stacked.stacked`), or
        it is called a field of view and cells do not evidently keep apart from those of other groups too
        (:func:`lloki.io._stacked.not_stacked`).
    """
    xy, obs = widest(positions[rows]), adata.obs.iloc[rows]
    truths = [(slot, widest(values[rows])) for slot, values in _positions(adata)]
    named: tuple[str, str] | None = None
    nearest, most = named, 0.0
    for name in obs.columns:
        codes = codes_of(obs[name]) if np.ndim(obs[name]) == 1 else None
        if codes is None or not on_one_another(xy, codes):
            continue
        for slot, truth in truths:
            known = np.isfinite(truth).all(axis=1)
            if known.mean() < 0.9 or overlap(truth[known], codes[known]) > _FEW:
                continue
            a, b = xy[known], truth[known]
            if _follows(a, b, codes[known]) and not _same_frame(a, b):
                return str(name), slot
        if named is None and _FIELD.fullmatch(str(name)) and codes.max() >= 3:
            if sections is not None:
                codes = pd.factorize(pd.Series(codes).astype(str) + " " + sections.astype(str).to_numpy())[0]
            if on_one_another(xy, codes):
                if not_stacked(xy, codes):
                    ignored.append(str(name))
                else:
                    named = (str(name), "")
        more = stacked(xy, codes, str(name))
        if more > most:  # a subset of cells that were stacked is stacked too, but less so
            nearest, most = (str(name), ""), more
    return named or nearest


def _follows(local: NDArray, truth: NDArray, codes: NDArray[np.int64]) -> bool:
    """Whether positions are the others shifted by group: scale, direction and order of axes do not matter."""
    a, b = (_centered(values[:, :2], codes) for values in (local, truth))
    norm = np.linalg.norm(a, axis=0)[:, None] * np.linalg.norm(b, axis=0)
    r = np.abs(a.T @ b) / np.maximum(norm, np.finfo(float).tiny)
    return bool((r.max(axis=1) > _SAME).all())


def _same_frame(a: NDArray, b: NDArray) -> bool:
    """Whether one affine map takes all positions to the others: a tilted section, for one, is not local."""
    a, b = (values[:, :2] - values[:, :2].mean(axis=0) for values in (a, b))
    rest = b - a @ np.linalg.lstsq(a, b, rcond=None)[0]
    return bool((rest**2).sum() <= 0.05 * (b**2).sum())


def _centered(values: NDArray, codes: NDArray[np.int64]) -> NDArray:
    frame = pd.DataFrame(values)
    return (frame - frame.groupby(codes).transform("mean")).to_numpy()


def _positions(adata: AnnData) -> Iterator[tuple[str, NDArray]]:
    """Other slots that may hold positions of all cells: obsm, and pairs of obs columns x and y."""
    for name, values in adata.obsm.items():
        if name != keys.SPATIAL and np.ndim(values) == 2 and np.shape(values)[1] in (2, 3):
            try:
                yield f"obsm['{name}']", np.asarray(values, float)
            except (TypeError, ValueError):
                continue
    names = {str(name): name for name in adata.obs.columns}
    for name in names:
        for x, y in (("x", "y"), ("X", "Y")):
            for at in (match.start() for match in re.finditer(x, name)):
                other = name[:at] + y + name[at + 1 :]
                pair = adata.obs[[names[name], names[other]]] if other in names else None
                if pair is not None and all(pd.api.types.is_numeric_dtype(t) for t in pair.dtypes):
                    yield f"obs['{name}'] and obs['{other}']", pair.to_numpy(float, na_value=np.nan)
