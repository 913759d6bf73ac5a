"""What figures read from a user's AnnData, and the colors they write there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import sparse

from lloki import keys
from lloki._names import did_you_mean
from lloki.analysis import UNKNOWN
from lloki.errors import ConfigError, InputError
from lloki.io.units import symbol
from lloki.io.units import unit_of as unit_stated
from lloki.pl._coloring import NOT_GIVEN, Coloring, Scale, Shade, categories, default_colors
from lloki.pl._palette import COLOR_MAP, OTHER, Palette, check_color_map, chosen_colors

if TYPE_CHECKING:
    import anndata as ad
    from numpy.typing import NDArray


def shade(
    adata: ad.AnnData,
    color: str,
    *,
    groups: str | Sequence[str] | None = None,
    palette: Palette | None = None,
    layer: str | None = None,
    slice_key: str = keys.SLICE,
) -> Shade:
    """Color all cells by an ``obs`` column or a gene.

    Raises
    ------
    InputError
        If there is neither, or a group that the column does not have.
    ConfigError
        If ``groups`` or ``palette`` do not fit numbers.
    """
    if color not in adata.obs and color not in adata.var_names:
        hint = did_you_mean(color, [*map(str, adata.obs), *near_names(color, adata.var_names)])
        raise InputError(f"{color!r} is neither a column of obs nor a gene", hint=hint)
    if color in adata.obs:
        values = adata.obs[color]
        if not (pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)):
            return _categories(adata, color, groups, palette)
        numbers, label = values.to_numpy(float), ""
    else:
        numbers, label = expression(adata, color, layer=layer, slice_key=slice_key)
    if groups is not None:
        raise ConfigError(f"groups= chooses categories, and {color!r} holds numbers.")
    if palette is not None:
        check_color_map(palette)
    return Scale.of(numbers, label, color_map=palette if isinstance(palette, str) else COLOR_MAP)


def category_shade(adata: ad.AnnData, column: str, *, missing: str = NOT_GIVEN) -> Coloring:
    """Color an ``obs`` column as categories, whatever it holds; ``uns`` is read and not written.

    Raises
    ------
    InputError
        If it is absent.
    """
    if column not in adata.obs:
        raise InputError(
            "the column is absent",
            slot=obs_slot(column),
            hint=f"There are: {', '.join(map(str, adata.obs))}.",
        )
    return Coloring.of(adata.obs[column], missing=missing, colors=_colors(adata, column, None))


def _colors(adata: ad.AnnData, column: str, palette: Palette | None) -> dict[str, str]:
    """Category → color: those asked for, those of ``uns``, or the default ones."""
    names = categories(adata.obs[column])
    kept = [str(c) for c in adata.uns.get(f"{column}_colors", ())]
    if palette is not None:
        return chosen_colors(names, palette)
    return chosen_colors(names, kept) if len(kept) >= len(names) > 0 else default_colors(adata.obs[column])


def _categories(
    adata: ad.AnnData, column: str, groups: str | Sequence[str] | None, palette: Palette | None
) -> Coloring:
    values, colors = adata.obs[column], _colors(adata, column, palette)
    names, slot = categories(values), f"{column}_colors"
    if isinstance(values.dtype, pd.CategoricalDtype) and not adata.is_view:
        gray = {c: OTHER for c in names if c == UNKNOWN or c not in colors}
        adata.uns[slot] = np.array([(colors | gray)[c] for c in names])
    coloring = Coloring.of(values, colors=colors)
    if groups is None:
        return coloring
    chosen = [groups] if isinstance(groups, str) else list(groups)
    for group in chosen:
        if group not in names:
            raise InputError(
                f"there is no category {group!r}", slot=obs_slot(column), hint=did_you_mean(group, names)
            )
    return coloring.only(values, chosen)


def expression(adata: ad.AnnData, gene: str, *, layer: str | None, slice_key: str) -> tuple[NDArray, str]:
    """(n,) values of a gene, NaN for cells of slices that did not measure it, and what they are.

    Raises
    ------
    InputError
        If no slice measured it, or counts are absent.
    """
    found, label = expressions(adata, [gene], layer=layer, slice_key=slice_key)
    values = next(iter(found))
    if not np.isfinite(values).any():
        hint = "Choose a gene with counts, or estimate it with lloki.tl.impute."
        raise InputError(f"no slice here measured {gene!r}", slot="var_names", hint=hint)
    return values, label


def expressions(
    adata: ad.AnnData, genes: Sequence[str], *, layer: str | None, slice_key: str
) -> tuple[Iterable[NDArray], str]:
    """As `expression`, of several genes, one after another; NaN everywhere for one that nobody measured."""
    if not genes:
        return [], ""
    from lloki._parts import read_parts
    from lloki.fp import log_normalize

    counted = layer is None and _holds_counts(adata)
    found = []
    for part in read_parts(slices_of(adata, slice_key), slice_key=slice_key, writes=False):
        counts, measured = part.expression(layer)
        at = {name: i for i, name in enumerate(measured)}
        here = [gene for gene in genes if gene in at]
        x = log_normalize(counts) if counted else counts
        columns = sparse.csc_matrix(x[:, [at[gene] for gene in here]])
        found.append((part.rows, {gene: i for i, gene in enumerate(here)}, columns))

    def of(gene: str) -> NDArray:
        values = np.full(adata.n_obs, np.nan)
        for rows, at, columns in found:
            if gene in at:
                values[rows] = columns[:, [at[gene]]].toarray().ravel()
        return values

    return map(of, genes), "log(1 + normalized counts)" if counted else layer or "X"


def has_values(shade: Shade, rows: NDArray) -> bool:
    """Whether any of these cells has a value, rather than none because the slice did not measure a gene."""
    return isinstance(shade, Coloring) or bool(np.isfinite(shade.values[rows]).any())


def _holds_counts(adata: ad.AnnData) -> bool:
    """Whether X holds whole numbers; a missing X is reported where it is read."""
    from lloki._parts import row_blocks

    blocks = [] if adata.X is None else row_blocks(adata.X)
    return all(np.all(x.data == np.rint(x.data)) for x in blocks)


def near_names(name: str, known: Sequence[str]) -> list[str]:
    """Few of the known names: those that differ from the name by case or little else."""
    import difflib

    lower = {str(g).lower(): str(g) for g in known}
    return [lower[g] for g in difflib.get_close_matches(name.lower(), lower, n=3)]


def slices_of(adata: ad.AnnData, slice_key: str) -> ad.AnnData | list[ad.AnnData]:
    """Return the AnnData, as a list of one where no column names slices."""
    return adata if slice_key in adata.obs else [adata]


def by_slice(adata: ad.AnnData, slice_key: str) -> dict[str, NDArray]:
    """Slice → its rows; all rows as one where no column names slices."""
    if slice_key not in adata.obs:
        return {"": np.arange(adata.n_obs)}
    codes, names = pd.factorize(adata.obs[slice_key].astype(str), use_na_sentinel=False)
    rows = np.split(np.argsort(codes, kind="stable"), np.cumsum(np.bincount(codes))[:-1])
    return dict(zip(map(str, names), rows))


def chosen_slices(
    adata: ad.AnnData, slices: str | Sequence[str] | None, slice_key: str
) -> dict[str, NDArray]:
    """Slice → its rows, of those named, or of all.

    Raises
    ------
    InputError
        If there is no such slice, or no column names slices and one is asked for.
    """
    rows = by_slice(adata, slice_key)
    if slices is None:
        return rows
    if slice_key not in adata.obs:
        hint = "Set slice_key, or leave slice out."
        raise InputError("the column is absent", slot=obs_slot(slice_key), hint=hint)
    names = [slices] if isinstance(slices, str) else list(slices)
    for name in names:
        if name not in rows:
            raise InputError(
                f"no cell of slice {name!r}", slot=obs_slot(slice_key), hint=did_you_mean(name, rows)
            )
    return {name: rows[name] for name in names}


def obsm(adata: ad.AnnData, key: str) -> NDArray:
    """Return ``obsm[key]``.

    Raises
    ------
    InputError
        If it is absent.
    """
    if key not in adata.obsm:
        raise InputError(
            "the key is absent", slot=f"obsm[{key!r}]", hint=f"There are: {', '.join(adata.obsm)}."
        )
    return np.asarray(adata.obsm[key])


def in_space(adata: ad.AnnData, slice_key: str, key: str = keys.SPATIAL) -> NDArray:
    """Return positions, those of a flat section in its plane first, whichever axis is flat."""
    from lloki.graph import in_plane

    xy = obsm(adata, key)
    if xy.shape[1] < 3:
        return xy
    xy = xy.astype(float)
    for rows in by_slice(adata, slice_key).values():
        section = in_plane(xy[rows])
        xy[rows] = xy[rows] if section is None else section
    return xy


def unit_of(adata: ad.AnnData, slice_name: str) -> str:
    """Name the unit of a slice's positions, such as ``"µm"``; ``""`` where nobody stated it."""
    about = adata.uns.get(keys.UNS, {})
    known, units = list(about.get("slices", [])), list(about.get("units", []))
    if slice_name not in known or len(units) != len(known):
        return symbol(unit_stated(adata))  # a single file states it for all of its cells
    return symbol(str(units[known.index(slice_name)]))


def units(adata: ad.AnnData, slices: Iterable[str], unit: str | None) -> dict[str, str]:
    """Name the unit of each slice: the one given for all, or else its own."""
    return {name: unit_of(adata, name) if unit is None else unit for name in slices}


def column(adata: ad.AnnData, name: str, *, hint: str) -> pd.Series:
    """Return an ``obs`` column.

    Raises
    ------
    InputError
        If it is absent.
    """
    if name not in adata.obs:
        raise InputError("the column is absent", slot=obs_slot(name), hint=hint)
    return adata.obs[name]


def obs_slot(key: str) -> str:
    """Name a column in a message."""
    return f"obs[{key!r}]"


def colors_of(color: str | Sequence[str], size: float | None) -> list[str]:
    """Return what a figure is colored by, one panel each.

    Raises
    ------
    ConfigError
        If there is nothing to color by, or ``size`` is not above 0.
    """
    colors = [color] if isinstance(color, str) else list(color)
    if not colors:
        raise ConfigError("color is an empty list: name a column of obs or a gene.")
    if size is not None and not size > 0:
        raise ConfigError(f"size must be above 0, got {size!r}")
    return colors
